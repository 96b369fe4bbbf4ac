"""What the lake asks of a storage."""

# No `annotations` from __future__ here: a NamedTuple compiles each that is text, at each start.

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import BinaryIO, NamedTuple, Protocol, runtime_checkable

from lakebed.errors import LakebedError
from lakebed.objects.places import Site


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
