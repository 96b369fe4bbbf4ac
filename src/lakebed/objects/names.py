"""Names of objects under the storage root."""

from __future__ import annotations

import os
import re
from functools import cache

from lakebed.errors import CorruptionError

_SUFFIX = {"json": "json", "bytes": "bin", "parquet": "parquet", "segment": "segment"}


def object_path(content_hash: bytes, format: str) -> str:
    """A path for an object that is used once: the hash, and a suffix that no upload shares.

    The suffix makes a late delete of an old upload harmless to a new one of the same content.
    """
    name = content_hash.hex()
    return f"objects/{name[:2]}/{name}-{os.urandom(8).hex()}.{_SUFFIX[format]}"


def hash_of(path: str) -> bytes | None:
    """The content hash in the path of an object; None if it is no such path."""
    try:
        return bytes.fromhex(path.rpartition("/")[2].partition("-")[0])
    except ValueError:
        return None


def pack_path() -> str:
    """A path for a pack, used once."""
    return f"packs/{os.urandom(16).hex()}.parquet"


def temporary_path(path: str) -> str:
    """Where the bytes of `path` wait until all are there; of its own for each write, since what a
    killed process left must not stop the next one."""
    folder, _, name = path.rpartition("/")
    return f"{folder}/.{name}.{os.urandom(4).hex()}.tmp"


def upload_of(path: str) -> str:
    """The path that bytes at a temporary path are to have; any other path is its own."""
    folder, _, name = path.rpartition("/")
    if not (name.startswith(".") and name.endswith(".tmp")):
        return path
    return f"{folder}/{name[1:].rpartition('.tmp')[0].rpartition('.')[0]}"


def is_ours(path: str) -> bool:
    """Whether a lake's objects and packs, the doctor's file, or what is being written of one lie
    in such a place with such an ending. Whatever else is beside them is somebody else's."""
    return _form().fullmatch(upload_of(path)) is not None


@cache
def _form() -> re.Pattern[str]:
    return re.compile(
        r"objects/[^/]+/[^/]+\.(json|bin|parquet|segment)"
        r"|packs/[^/]+\.parquet"
        r"|objects/[0-9a-f]{16}\.probe"
    )


def inside(path: str) -> str:
    """The path, which came from a catalog. CorruptionError if it leads out of the storage."""
    if ".." in path and ".." in path.split("/"):
        raise CorruptionError(f"the catalog names {path!r}, which is outside the storage")
    return path
