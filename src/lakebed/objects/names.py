"""Names of objects under the storage root."""

from __future__ import annotations

import os
import re
from functools import cache

from lakebed.errors import CorruptionError

_SUFFIX = {"json": "json", "bytes": "bin", "parquet": "parquet", "segment": "segment"}
_FORMAT = {suffix: format for format, suffix in _SUFFIX.items()}


def object_path(content_hash: bytes, format: str) -> str:
    """Return a new path for an object: its hash, and a suffix that is unique to this upload.

    Because of the suffix, a late delete of an old upload cannot hit a new one of the same content.
    """
    name = content_hash.hex()
    return f"objects/{name[:2]}/{name}-{os.urandom(8).hex()}.{_SUFFIX[format]}"


def hash_of(path: str) -> bytes | None:
    """Return the content hash in the path of an object, or None if it is not such a path."""
    try:
        return bytes.fromhex(path.rpartition("/")[2].partition("-")[0])
    except ValueError:
        return None


def format_of(path: str) -> str | None:
    """Return the format that the ending of an object's path means, or None for another ending."""
    return _FORMAT.get(path.rpartition(".")[2])


def pack_path() -> str:
    """Return a new path for a pack."""
    return f"packs/{os.urandom(16).hex()}.parquet"


def temporary_path(path: str) -> str:
    """Return a temporary path for the bytes of `path`. Each write gets its own, so that a file that
    a killed process left does not stop the next write."""
    folder, _, name = path.rpartition("/")
    return f"{folder}/.{name}.{os.urandom(4).hex()}.tmp"


def upload_of(path: str) -> str:
    """Return the final path of a temporary path. Other paths are returned unchanged."""
    folder, slash, name = path.rpartition("/")
    if not (name.startswith(".") and name.endswith(".tmp")):
        return path
    return f"{folder}{slash}{name[1:].rpartition('.tmp')[0].rpartition('.')[0]}"


def is_ours(path: str) -> bool:
    """Return whether a path belongs to an object, a pack or the doctor's file of a lake, complete
    or being written. All other files belong to somebody else."""
    return _form().fullmatch(upload_of(path)) is not None


@cache
def _form() -> re.Pattern[str]:
    return re.compile(
        r"objects/[^/]+/[^/]+\.(json|bin|parquet|segment)"
        r"|packs/[^/]+\.parquet"
        r"|objects/[0-9a-f]{16}\.probe"
    )


def inside(path: str) -> str:
    """Return a path from a catalog. Raises CorruptionError if it leads out of the storage."""
    if ".." in path and ".." in path.split("/"):
        raise CorruptionError(f"the catalog names {path!r}, which is outside the storage")
    return path
