"""What the lake asks of a storage, and how to open one."""

# No `annotations` from __future__ here: a NamedTuple compiles each that is text, at each start.

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, Protocol, runtime_checkable

from lakebed.errors import ConfigurationError, LakebedError
from lakebed.objects.places import Site, check_uri, is_local, local_path, unwrap
from lakebed.paths import absolute

if TYPE_CHECKING:
    from lakebed.objects.cloud import CloudStore


class StoredFile(NamedTuple):
    """A file under the storage root: its path, size in bytes, time of writing (microseconds)."""

    path: str
    byte_size: int
    modified: int


class Range(NamedTuple):
    """A part of a file: `length` bytes from `offset`, or all from there."""

    path: str
    offset: int = 0
    length: int | None = None


ReadResult = bytes | FileNotFoundError | LakebedError
"""What reading one of many ranges gave: the bytes, or the error."""


class ObjectStore(Protocol):
    """Immutable files under one root. Paths are relative, use `/`, and are made by Lakebed alone.

    A file is visible under its path only when all of it is durable. Every method raises
    StorageError when the storage fails; reading a file that is not there raises FileNotFoundError,
    so that the caller can tell "gone" from "failing".
    """

    def uri(self, path: str) -> str:
        """The full URI of a path."""
        ...

    def site(self) -> Site:
        """What the root is, however it was written. ConfigurationError if that cannot be told."""
        ...

    def write(self, path: str, data: bytes) -> None:
        """Write a new file durably."""
        ...

    def open_write(self, path: str) -> AbstractContextManager[BinaryIO]:
        """Write a file in pieces; it appears when the block ends without an error.

        Over one that is there already: others see the old one or the new one whole, and a failure
        leaves the old one. (Objects and packs never are; a publication is.)
        """
        ...

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        """Read a file or `length` bytes of it from `offset`."""
        ...

    def read_many(self, ranges: Sequence[Range]) -> list[ReadResult]:
        """Read many ranges, side by side where that is faster; what cannot be read is given as its
        error."""
        ...

    def size(self, path: str) -> int:
        """The size of a file in bytes."""
        ...

    def delete(self, paths: Iterable[str]) -> None:
        """Delete files; one that is not there is no error."""
        ...

    def list(self, prefix: str) -> Iterator[StoredFile]:
        """All files whose path begins with the folder `prefix` (`objects`, `packs`, or ""
        for the root)."""
        ...

    def abandon_uploads(self, before: int) -> int:
        """Give up the unfinished uploads that began before a time (microseconds), as a killed
        writer leaves them; how many there were."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


@runtime_checkable
class Signer(Protocol):
    """A store that can let others read: a URL which works for so many seconds.

    Raises ConfigurationError if its credentials cannot sign.
    """

    def sign(self, path: str, seconds: int) -> str: ...


def read_each(store: ObjectStore, ranges: Sequence[Range]) -> list[ReadResult]:
    """Read many ranges one after another."""

    def attempt(wanted: Range) -> ReadResult:
        try:
            return store.read(*wanted)
        except (FileNotFoundError, LakebedError) as error:
            return error

    return [attempt(wanted) for wanted in ranges]


def parse_place(field: str, place: object) -> tuple[str, dict[str, object]]:
    """The URI or absolute path of a place that a caller names, and options of its filesystem.

    ConfigurationError, naming the field, unless it is a path, a URI, or a mapping with `uri`; and
    for what some would take for the one, some for the other (see `local_path`).
    """
    options: dict[str, object] = {}
    if isinstance(place, Mapping):
        options = {str(name): value for name, value in place.items() if name != "uri"}
        place = place.get("uri")
    if not isinstance(place, (str, os.PathLike)) or not os.fspath(place):
        raise ConfigurationError(
            f"{field}: expected a path, a URI such as s3://bucket/prefix, or a mapping with 'uri'"
        )
    uri = os.fspath(place)
    if not isinstance(uri, str):
        raise ConfigurationError(f"{field}: expected a path of text, not of bytes")
    try:
        path = local_path(uri)
        if path is None:
            check_uri(uri)
    except ConfigurationError as error:
        raise ConfigurationError(f"{field}: {error}") from None
    if path is not None and "://" not in uri:
        uri = absolute(os.path.expanduser(path))
    return uri, options


def open_store(uri: str, options: Mapping[str, object] | None = None) -> ObjectStore:
    """Open the storage at a local path or a URI of any protocol that fsspec knows.

    `options` go to the fsspec filesystem; a local folder takes none, and one that a bucket's
    filesystem does not take is a ConfigurationError.
    """
    path = local_path(uri)
    if path is not None:
        if options:
            raise ConfigurationError(
                f"storage: a local folder takes no options, got {', '.join(map(repr, options))}"
            )
        return _open_folder(path)
    protocol = uri.partition("://")[0]
    from lakebed.objects.options import unknown_options

    for name, problem in unknown_options(uri, options or ()).items():
        raise ConfigurationError(f"storage.{name}: {problem}")
    if cloud := cloud_class(protocol):
        return cloud(uri, options or {})
    from lakebed.objects.remote import FsspecStore

    store = FsspecStore(uri, options or {})
    filesystem, root = unwrap(store.filesystem, store.root)
    # What fsspec calls by another name is written as safely as any folder.
    return _open_folder(root) if is_local(filesystem) else store


def _open_folder(path: str) -> ObjectStore:
    from lakebed.objects.local import LocalStore

    return LocalStore(path)


def cloud_class(protocol: str) -> "type[CloudStore] | None":
    """The store of a service that has one of its own."""
    if protocol in ("s3", "s3a"):
        from lakebed.objects.s3 import S3Store

        return S3Store
    if protocol in ("gs", "gcs"):
        from lakebed.objects.gcs import GCSStore

        return GCSStore
    if protocol in ("az", "abfs", "abfss"):
        from lakebed.objects.azure import AzureStore

        return AzureStore
    return None
