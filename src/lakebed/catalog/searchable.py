"""What the lake asks of a catalog for its search: the rows that name segments of the index, and
what they do not hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from lakebed.catalog.search_rows import NewSegment, SegmentRow, SegmentState, Waiting
    from lakebed.model import VersionRow


class Searchable(Protocol):
    """The calls of a catalog on segments."""

    def segments(self) -> Sequence[SegmentRow]:
        """Return the segments."""
        ...

    def segment_bytes(self, segment_id: str) -> bytes | None:
        """Return the bytes of a segment that is kept in the catalog."""
        ...

    def segment_ends(self, ids: Sequence[str]) -> Mapping[str, bytes]:
        """Return what had ended when these segments were written, by their ids (see `NewSegment`).
        Segments that are gone are left out."""
        ...

    def segments_now(self) -> tuple[SegmentState, Sequence[SegmentRow]]:
        """Return the segments, and their state at the same moment."""
        ...

    def ended(self) -> Sequence[tuple[int, int]]:
        """Return what has ended since (see `SearchReading`)."""
        ...

    def count_waiting(self, cap: int) -> int:
        """Return how many versions wait for a segment. Counting may stop at `cap`."""
        ...

    def next_waiting(self, limit: int) -> Waiting:
        """Return the next versions that wait for a segment, about `limit` of them."""
        ...

    def get_versions(self, versions: Sequence[int]) -> Sequence[VersionRow]:
        """Return the rows of these versions, current or in the history, in any order."""
        ...

    def add_segment(
        self,
        new: NewSegment | None,
        waiting: Waiting,
        standing: Sequence[int],
        queue: Sequence[int],
        *,
        patient: bool = True,
    ) -> bool:
        """Name a segment of versions that waited. If another client was faster, return False, and
        the upload becomes trash.

        `new`: the segment, or None if none of the versions exists any more. `standing`: those of
        its versions that were current when they were read. `queue`: those of `waiting` that it does
        not hold and that wait on.
        """
        ...

    def replace_segments(
        self,
        old: Sequence[SegmentRow],
        new: NewSegment | None,
        state: SegmentState,
        *,
        settled: Sequence[int] = (),
        queue: Sequence[int] = (),
        at_once: bool = False,
        patient: bool = True,
    ) -> bool:
        """Name one segment in place of others. If one of these is gone, or something was purged
        since `state`, return False, and the upload becomes trash.

        `settled`: versions whose end no longer matters. `queue`: versions that wait again. With
        `at_once` the old files get no grace period.
        """
        ...

    def kept_versions(self, versions: Sequence[int]) -> set[int]:
        """Return those of these versions that the history still has."""
        ...

    def unheld_versions(self, held: Iterable[int]) -> Sequence[int]:
        """Return the versions, current or in the history, that neither wait nor are among
        `held`."""
        ...
