"""The interface between a lake and its storage."""

# No `from __future__ import annotations`: a NamedTuple compiles annotations that are text, at each
# start.

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import BinaryIO, NamedTuple, Protocol, runtime_checkable

from lakebed.errors import LakebedError
from lakebed.objects.places import Site


class StoredFile(NamedTuple):
    """A file under the storage root: its path, its size in bytes, and when it was written
    (microseconds since the epoch)."""

    path: str
    byte_size: int
    modified: int


class Range(NamedTuple):
    """A part of a file: `length` bytes from `offset`, or everything from there."""

    path: str
    offset: int = 0
    length: int | None = None


ReadResult = bytes | FileNotFoundError | LakebedError
"""The result of reading one of many ranges: the bytes, or the error."""


class ObjectStore(Protocol):
    """Immutable files under one root. Paths are relative, use `/`, and are made only by Lakebed.

    A file is visible under its path only when all of it is durable. Every method raises
    StorageError when the storage fails. Reading a missing file raises FileNotFoundError, so that
    the caller can tell "missing" from "failing".
    """

    def uri(self, path: str) -> str:
        """Return the full URI of a path."""
        ...

    def site(self) -> Site:
        """Return the identity of the root, which does not depend on how it was written. Raises
        ConfigurationError if it cannot be determined."""
        ...

    def write(self, path: str, data: bytes) -> None:
        """Write a new file durably."""
        ...

    def open_write(self, path: str) -> AbstractContextManager[BinaryIO]:
        """Write a file in pieces. It appears when the block ends without an error.

        If the file exists, others see either the complete old file or the complete new one, and a
        failure leaves the old one. Only publications replace files. Objects and packs never do.
        """
        ...

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        """Read a file, or `length` bytes of it from `offset`."""
        ...

    def read_many(self, ranges: Sequence[Range]) -> list[ReadResult]:
        """Read many ranges, side by side if that is faster. If a range cannot be read, its result
        is the error."""
        ...

    def size(self, path: str) -> int:
        """Return the size of a file in bytes."""
        ...

    def delete(self, paths: Iterable[str]) -> None:
        """Delete files. A missing file is not an error."""
        ...

    def list(self, prefix: str) -> Iterator[StoredFile]:
        """Yield all files in the folder `prefix` (`objects`, `packs`, or "" for the root)."""
        ...

    def abandon_uploads(self, before: int) -> int:
        """Abort unfinished uploads that began before a time (microseconds since the epoch), such as
        those of a killed writer. Returns their number."""
        ...

    def close(self) -> None:
        """Close connections."""
        ...


@runtime_checkable
class Signer(Protocol):
    """A store that can sign URLs. With such a URL, others can read a file for some seconds.

    `sign` raises ConfigurationError if the store's credentials cannot sign.
    """

    def sign(self, path: str, seconds: int) -> str: ...


@runtime_checkable
class NewWriter(Protocol):
    """A store that can, in one step, write a file unless it exists."""

    def write_new(self, path: str, data: bytes) -> bool:
        """Write a file durably unless one exists at this path. Returns whether it was written."""
        ...


@runtime_checkable
class GivesUp(Protocol):
    """A store that repeats failing requests, and can be told for how long."""

    def give_up_after(self, seconds: float) -> None:
        """Repeat failing requests for at most this many seconds. Wait for the first answer of the
        service for as long."""
        ...


def read_each(store: ObjectStore, ranges: Sequence[Range]) -> list[ReadResult]:
    """Read many ranges one after another."""

    def attempt(wanted: Range) -> ReadResult:
        try:
            return store.read(*wanted)
        except (FileNotFoundError, LakebedError) as error:
            return error

    return [attempt(wanted) for wanted in ranges]
