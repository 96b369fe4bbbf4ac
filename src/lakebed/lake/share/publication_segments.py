"""The search index of a publication: segments with exactly its entries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from lakebed.lake.search.building import documents
from lakebed.lake.search.index import SearchIndex
from lakebed.lake.search.indexed_text import TextReader
from lakebed.model import EntryRow, VersionRow
from lakebed.objects.store import ObjectStore
from lakebed.search.building import SegmentBuilder
from lakebed.search.segment import MAX_DOCUMENTS, MAX_POSTINGS, NEVER, Segment
from lakebed.search.selecting import select
from lakebed.values.hash import digest

_PAGE = 4000
_MOST = MAX_DOCUMENTS // 2
"""The most documents of a segment that is built or merged. It limits the memory that this takes."""


class PublicationSegments:
    """Collects the entries of a publication, and writes segments of them.

    An entry that is in a segment of the lake is copied from there. Only other entries are analysed.
    """

    def __init__(self, index: SearchIndex, target: ObjectStore, publication: str) -> None:
        self._target = target
        self._publication = publication
        self._embedder = index.embedder
        wanted = None if self._embedder is None else self._embedder.name
        # If there is an embedder, entries of segments without vectors are analysed again.
        self._known = [
            segment
            for segment in index.segments.now().segments
            if wanted in (None, segment.header.embedder)
        ]
        self._kept = [np.zeros(len(segment), np.bool_) for segment in self._known]
        self._new = self._builder()
        self._names: list[str] = []
        self.byte_size = 0

    def hashes(self) -> dict[str, str]:
        """Return the hashes of the files, by their names beside the manifest."""
        return {f"{name}.segment": name for name in self._names}

    @property
    def count(self) -> int:
        """The number of segments that were written."""
        return len(self._names)

    def add(self, rows: Sequence[EntryRow], contents: Sequence[bytes]) -> None:
        """Add entries, with their contents in the same order."""
        versions = np.array([row.version for row in rows], np.int64)
        left = np.arange(len(rows))
        for segment, kept in zip(self._known, self._kept, strict=True):
            places, found = segment.find_versions(versions[left])
            kept[found] = True
            left = np.delete(left, places)
        for start in range(0, len(left), _PAGE):
            some = left[start : start + _PAGE]
            self._analyse({rows[place].key: (rows[place], contents[place]) for place in some})

    def _analyse(self, contents: Mapping[str, tuple[EntryRow, bytes]]) -> None:
        rows = [row for row, _ in contents.values()]
        if self._new.is_full or len(self._new) + len(rows) > _MOST:
            self._write(self._new.data())
            self._new = self._builder()
        reader = TextReader(lambda some: (contents[row.key] for row in some))
        texts = zip((VersionRow(row, None, None) for row in rows), reader.texts(rows), strict=True)
        self._new.add(documents(list(texts), self._embedder))

    def finish(self) -> None:
        """Write the entries that were added but not written yet."""
        parts = [pair for pair in zip(self._known, self._kept, strict=True) if pair[1].any()]
        if len(self._new):
            rest = Segment(memoryview(self._new.data()))
            parts.append((rest, np.ones(len(rest), np.bool_)))
        for group in _grouped(parts):
            self._write(_joined(group))

    def _write(self, data: bytes) -> None:
        name = digest(data).hex()
        with self._target.open_write(f"{self._publication}/{name}.segment") as file:
            file.write(data)
        self._names.append(name)
        self.byte_size += len(data)

    def _builder(self) -> SegmentBuilder:
        return SegmentBuilder(self._embedder.name if self._embedder else None)


_Part = tuple[Segment, NDArray[np.bool_]]


def _grouped(parts: Sequence[_Part]) -> Iterator[list[_Part]]:
    """Yield groups of parts that are merged into one segment."""
    group, documents, postings = list[_Part](), 0, 0
    for segment, kept in parts:
        size = int(np.count_nonzero(kept))
        words = len(segment.words.documents)
        if group and (
            documents + size > _MOST
            or postings + words > MAX_POSTINGS
            or segment.header.embedder != group[0][0].header.embedder
        ):
            yield group
            group, documents, postings = [], 0, 0
        group.append((segment, kept))
        documents += size
        postings += words
    if group:
        yield group


def _joined(group: Sequence[_Part]) -> bytes:
    """Return one segment with the kept documents. None of them has ended."""
    if len(group) == 1:
        ((segment, kept),) = group
        return select(segment, kept, _never(segment))
    builder = SegmentBuilder(group[0][0].header.embedder)
    for segment, kept in group:
        builder.take(segment, kept, _never(segment))
    return builder.data()


def _never(segment: Segment) -> NDArray[np.int64]:
    return np.full(len(segment), NEVER, np.int64)
