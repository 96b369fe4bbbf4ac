"""Search without segments. Each client reads the texts of all entries once, then new ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NoReturn, TypeVar

from lakebed.catalog.pairs.core import PairStore
from lakebed.catalog.pairs.records import Records
from lakebed.catalog.search_rows import SearchReading, SegmentRow, SegmentState, Waiting
from lakebed.errors import CatalogError
from lakebed.model import VersionRow

T = TypeVar("T")
_AGAIN = 50_000
"""The number of changes after which clients read all texts again, and forget ended versions."""


class PairReading:
    """The rows that a search reads, all of one moment."""

    def __init__(self, records: Records, now: int) -> None:
        self.state = _state(records)
        self.now = now
        self._rows = {row.version: row for row in records.entries()}

    def waiting(self) -> Sequence[int]:
        """Return all versions: no segment holds any."""
        return list(self._rows)

    def ended(self) -> Sequence[tuple[int, int]]:
        """Return nothing: no segment holds an ended version."""
        return ()

    def versions(self, versions: Sequence[int]) -> Sequence[VersionRow]:
        """Return the existing rows of these versions."""
        found = (self._rows.get(version) for version in versions)
        return [VersionRow(row, None, None) for row in found if row is not None]


class Unindexed(PairStore):
    """The calls for search in a catalog without segments. `Searchable` describes them."""

    def search(self, look: Callable[[SearchReading], T]) -> T:
        return self._reading(lambda records: look(PairReading(records, self.now())))

    def segments(self) -> Sequence[SegmentRow]:
        return ()

    def segment_bytes(self, segment_id: str) -> bytes | None:
        del segment_id
        return None

    def segment_ends(self, ids: Sequence[str]) -> Mapping[str, bytes]:
        del ids
        return {}

    def segments_now(self) -> tuple[SegmentState, Sequence[SegmentRow]]:
        return self._reading(_state), ()

    def ended(self) -> Sequence[tuple[int, int]]:
        return ()

    def count_waiting(self, cap: int) -> int:
        """Return 0: waiting versions are searched, but get no segment."""
        del cap
        return 0

    def next_waiting(self, limit: int) -> Waiting:
        """Return no versions, so that no client builds a segment."""
        del limit
        state, counter = self._reading(lambda r: (_state(r), r.counter("version")))
        return Waiting(state, (), None, (), (), counter)

    def get_versions(self, versions: Sequence[int]) -> Sequence[VersionRow]:
        return self.search(lambda reading: reading.versions(versions))

    def add_segment(self, *_: object, **__: object) -> NoReturn:
        raise CatalogError("this catalog cannot hold segments of the search")

    def replace_segments(self, *_: object, **__: object) -> NoReturn:
        raise CatalogError("this catalog cannot hold segments of the search")

    def kept_versions(self, versions: Sequence[int]) -> set[int]:
        del versions
        return set()

    def unheld_versions(self, held: Iterable[int]) -> Sequence[int]:
        del held
        return ()


def _state(records: Records) -> SegmentState:
    return SegmentState(0, records.counter("version") // _AGAIN, 0)
