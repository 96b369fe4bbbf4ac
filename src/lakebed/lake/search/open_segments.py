"""The segments of a lake that a process has opened, and the tail beside them."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from lakebed.catalog.protocol import Catalog
from lakebed.catalog.search_rows import SegmentRow, SegmentState
from lakebed.errors import LockTimeoutError, StorageError
from lakebed.lake.search.building import SegmentBuilding
from lakebed.lake.search.segment_files import DamagedSegmentError, SegmentFiles
from lakebed.lake.search.tail import Tail
from lakebed.lake.search.view import Loaded, Views, apply_ends, as_ends
from lakebed.search.building import SegmentBuilder
from lakebed.search.format import UnreadableSegmentError
from lakebed.search.segment import Segment


class OpenSegments:
    """Keeps the segments of the catalog's last known state open."""

    def __init__(
        self,
        catalog: Catalog,
        files: SegmentFiles,
        building: SegmentBuilding,
        *,
        read_only: bool,
    ) -> None:
        self._catalog = catalog
        self._files = files
        self._building = building
        self._read_only = read_only
        self._lock = threading.RLock()
        self._blobs: dict[str, bytes] = {}
        self.views: Views | None = None
        self.tail = Tail()
        self.missing: frozenset[int] = frozenset()
        """The versions whose segments cannot be read."""
        self.incomplete = False
        """Whether segments were not opened, because the storage did not answer."""

    def empty_tail(self) -> None:
        """Forget what no segment holds: the next search reads it anew."""
        with self._lock:
            self.tail = Tail()

    def now(self) -> Loaded:
        """Return the present segments, opened."""
        while True:
            state, rows = self._catalog.segments_now()
            views = self.views
            if views is not None and views.loaded.state == state and views.loaded.whole:
                return views.loaded
            if self.load(state, rows):
                assert self.views is not None
                return self.views.loaded

    def load(self, state: SegmentState, found: Sequence[SegmentRow]) -> bool:
        """Open segments. Returns False if the segments have changed meanwhile."""
        with self._lock:
            known = {}
            if self.views is not None:
                loaded = self.views.loaded
                known = {
                    row.id: (segment, ends)
                    for row, segment, ends in zip(
                        loaded.rows, loaded.segments, loaded.ends, strict=True
                    )
                }
            opened, damaged = list[tuple[SegmentRow, Segment]](), list[SegmentRow]()
            self.incomplete = False
            for row in found:
                if self.incomplete and row.id not in known:  # the storage does not answer
                    continue
                try:
                    opened.append((row, known[row.id][0] if row.id in known else self._open(row)))
                except (DamagedSegmentError, UnreadableSegmentError):
                    damaged.append(row)
                except StorageError:
                    self.incomplete = True
                except FileNotFoundError:
                    if not self._catalog.segment_ends([row.id]):
                        return False
                    damaged.append(row)
            new = [row.id for row in found if row.id not in self._blobs]
            blobs = {**self._blobs, **(self._catalog.segment_ends(new) if new else {})}
            if any(row.id not in blobs for row in found):
                return False
            self._blobs = {row.id: blobs[row.id] for row in found}
            segments = [segment for _, segment in opened]
            ends = as_ends(b"".join(self._blobs.values()))
            applied = apply_ends(segments, [segment.ends for segment in segments], ends)
            rows = [row for row, _ in opened]
            whole = len(rows) == len(found)
            self.views = Views(Loaded(state, rows, segments, applied, whole))
            self.tail = self._still_waiting()
            self.missing = frozenset()
            if not whole and self._make_up_for(damaged):
                return False
            self._files.forget_others(list(found))
        return True

    def _open(self, row: SegmentRow) -> Segment:
        if row.content_hash is None:
            return Segment(memoryview(SegmentBuilder().data()))
        return self._files.open(row)

    def _still_waiting(self) -> Tail:
        """Keep the tail while it is small. Versions that have a segment now are masked in any
        case."""
        return self.tail if len(self.tail.known) <= Tail.LIMIT else Tail()

    def _make_up_for(self, damaged: Sequence[SegmentRow]) -> bool:
        """Drop unreadable segments, so that their versions wait again, and log it. If that fails,
        or the storage fails, their versions are searched in memory."""
        assert self.views is not None
        loaded = self.views.loaded
        held = [version for segment in loaded.segments for version in segment.versions.tolist()]
        if damaged and not self._read_only and not self.incomplete:
            try:
                self._building.drop(loaded, damaged, held)
                return True  # even if nothing was dropped: the catalog's state has changed then
            except (LockTimeoutError, StorageError):
                pass
        self.missing = frozenset(self._catalog.unheld_versions(held))
        return False
