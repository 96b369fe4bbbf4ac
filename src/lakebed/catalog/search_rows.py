"""What passes between a catalog and those who search and build segments."""

# No `annotations` from __future__ here: a NamedTuple compiles each that is text, at each start.

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from lakebed.model import Upload, VersionRow

GONE = 0
"""The end of a version that no moment sees."""
PURGED = -1
"""The end of a version that a purge has removed, until no segment holds it."""


class SegmentRow(NamedTuple):
    """A segment as the catalog names it: the hash and size of its bytes, which lie in the catalog
    if there is no `uri`. Without a hash it has no bytes and holds no documents."""

    id: str
    content_hash: bytes | None
    byte_size: int
    documents: int
    uri: str | None


class SegmentState(NamedTuple):
    """What tells whether a client's segments are those of the lake: `changed` and `purged` grow
    with each change of segments and each purge, `indexed` with each segment built of what waited.
    """

    changed: int
    indexed: int
    purged: int


class NewSegment(NamedTuple):
    """A segment to be named. `ends`: pairs of 8-byte integers, native order little endian: a
    version that another segment holds, and the version that ended it."""

    row: SegmentRow
    inline_value: bytes | None
    ends: bytes
    upload: Upload | None


class Waiting(NamedTuple):
    """Versions that no segment holds, some of them or all, and what goes with them into the next
    one. `counter`: the catalog's newest version by then."""

    state: SegmentState
    versions: Sequence[int]
    upto: int | None
    batches: Sequence[int]
    ended: Sequence[tuple[int, int]]
    counter: int


class SearchReading(Protocol):
    """What a search reads of the catalog, all of one moment."""

    @property
    def state(self) -> SegmentState:
        """Whether anything has changed."""
        ...

    @property
    def now(self) -> int:
        """The time at which expiry is judged."""
        ...

    def waiting(self) -> Sequence[int]:
        """The versions that no segment holds and that are visible, but for their expiry."""
        ...

    def ended(self) -> Sequence[tuple[int, int]]:
        """Versions in segments that have ended since, and by which version, or GONE or PURGED."""
        ...

    def versions(self, versions: Sequence[int]) -> Sequence[VersionRow]:
        """The rows of these versions that are there, in any order."""
        ...
