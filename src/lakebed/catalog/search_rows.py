"""The records that pass between a catalog and the code that searches and builds segments."""

# No `annotations` from __future__ here: a NamedTuple compiles each that is text, at each start.

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from lakebed.model import Upload, VersionRow

GONE = 0
"""The end of a version that no moment sees."""
PURGED = -1
"""The end of a version that a purge has removed, until no segment holds it."""


class SegmentRow(NamedTuple):
    """A segment as the catalog names it: the hash and size of its bytes. Without `uri`, the bytes
    are in the catalog. Without a hash, the segment has no bytes and holds no documents."""

    id: str
    content_hash: bytes | None
    byte_size: int
    documents: int
    uri: str | None


class SegmentState(NamedTuple):
    """Tells whether a client's segments are those of the lake. `changed` and `purged` grow with
    each change of segments and each purge, `indexed` with each segment built from waiting
    versions."""

    changed: int
    indexed: int
    purged: int


class NewSegment(NamedTuple):
    """A segment to record. `ends`: pairs of 8-byte little-endian integers: a version that another
    segment holds, and the version that ended it."""

    row: SegmentRow
    inline_value: bytes | None
    ends: bytes
    upload: Upload | None


class Waiting(NamedTuple):
    """Versions that no segment holds, and what must go into the next segment with them. `counter`:
    the catalog's newest version at that time."""

    state: SegmentState
    versions: Sequence[int]
    upto: int | None
    batches: Sequence[int]
    ended: Sequence[tuple[int, int]]
    counter: int


class SearchReading(Protocol):
    """What a search reads from the catalog, all at one moment."""

    @property
    def state(self) -> SegmentState:
        """Return a value that shows whether anything has changed."""
        ...

    @property
    def now(self) -> int:
        """Return the time at which expiry is judged."""
        ...

    def waiting(self) -> Sequence[int]:
        """Return the versions that no segment holds and that are visible, or would be if they had
        not expired."""
        ...

    def ended(self) -> Sequence[tuple[int, int]]:
        """Return the versions in segments that have ended since, each with the version that ended
        it, or GONE or PURGED."""
        ...

    def versions(self, versions: Sequence[int]) -> Sequence[VersionRow]:
        """Return the existing rows of these versions, in any order."""
        ...
