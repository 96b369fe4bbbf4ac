"""What no segment holds yet, as small segments in memory."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence, Set
from typing import ClassVar

import numpy as np

from lakebed.search.building import Document, SegmentBuilder
from lakebed.search.segment import MAX_DOCUMENTS, Segment

_PARTS = 6  # so many small segments are joined into one


class Tail:
    """The versions that no segment holds, as small segments in memory. It only grows, until it
    starts again."""

    LIMIT: ClassVar[int] = 512
    """Up to so many versions are searched in memory; more get a segment."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.segments: list[Segment] = []
        self.known: set[int] = set()

    def add(self, found: Sequence[Document], embedder: str | None) -> None:
        """Take in documents, except those that another thread has taken in."""
        with self._lock:
            self._add([d for d in found if d.version not in self.known], embedder)

    def now(self, versions: Iterable[int]) -> tuple[Sequence[Segment], Set[int]]:
        """Return the segments, and which of some versions they hold."""
        with self._lock:
            return self.segments, self.known.intersection(versions)

    def _add(self, found: Sequence[Document], embedder: str | None) -> None:
        for start in range(0, len(found), MAX_DOCUMENTS):
            builder = SegmentBuilder(embedder)
            builder.add(found[start : start + MAX_DOCUMENTS])
            self.segments = [*self.segments, Segment(memoryview(builder.data()))]
        self.known.update(document.version for document in found)
        if len(self.segments) > _PARTS:
            self._join(embedder)

    def _join(self, embedder: str | None) -> None:
        """Join the smaller segments into one."""
        small = [segment for segment in self.segments if len(segment) < MAX_DOCUMENTS // _PARTS]
        others = [segment for segment in self.segments if len(segment) >= MAX_DOCUMENTS // _PARTS]
        builder = SegmentBuilder(embedder)
        for segment in small:
            builder.take(segment, np.ones(len(segment), np.bool_), segment.ends)
        self.segments = [*others, Segment(memoryview(builder.data()))]
