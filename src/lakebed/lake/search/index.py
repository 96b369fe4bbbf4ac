"""Searches a lake: its segments, and in memory what no segment holds yet."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lakebed.catalog.protocol import Catalog, CatalogReads
from lakebed.catalog.search_rows import PURGED, SearchReading, SegmentRow
from lakebed.errors import ConfigurationError, LockTimeoutError, StorageError
from lakebed.lake.search.building import SegmentBuilding, documents
from lakebed.lake.search.indexed_text import ReadContents, TextReader, is_stored
from lakebed.lake.search.open_segments import OpenSegments
from lakebed.lake.search.options import SearchOptions
from lakebed.lake.search.segment_files import SegmentFiles
from lakebed.lake.search.tail import Tail
from lakebed.lake.search.view import Loaded, as_ends, visible_versions
from lakebed.model import EntryRow, Moment, Progress, VersionRow
from lakebed.objects.store import ObjectStore
from lakebed.paths import cache_folder
from lakebed.search import engine
from lakebed.search.building import Document, SegmentBuilder
from lakebed.search.engine import Found, Query
from lakebed.search.ranking import Source
from lakebed.search.segment import Segment

if TYPE_CHECKING:
    from lakebed.search.embedders import Embedder

_ENDED = 4096  # up to so many ends are read by each search; more are stored with their segment
_AT_HAND = 64  # up to so many new versions are read in the search's own transaction
_PAGE = 4000
_PATIENCE = 8  # rounds; if writers are faster in all of them, the transaction itself reads


class Answer(NamedTuple):
    """What a search found: rows with the parts of their scores, the number of matches, and the
    number of entries that were judged by their metadata alone."""

    rows: Sequence[tuple[EntryRow, Found]]
    total: int
    unread: int


class _Asked(NamedTuple):
    """A question, how to search for it, and the vectors of the texts into which it was split."""

    question: str
    query: Query
    vectors: dict[str, NDArray[np.float32]]

    def of(self, sources: Sequence[Source]) -> Query | str:
        """Return the query for these sources, or a text whose vector is missing."""
        text, query = engine.heed_speakers(self.query, self.question, sources)
        if query.mode == "text":
            return query
        vector = self.vectors.get(text)
        return text if vector is None else query._replace(vector=vector)


class _Behind(NamedTuple):
    """The versions that are not in memory yet, and the number of versions that wait for a
    segment."""

    unknown: Sequence[int]
    waiting: int
    ended: int


class SearchIndex:
    """Searches the present and the past of one lake."""

    def __init__(
        self,
        catalog: Catalog,
        objects: ObjectStore | None,
        read: ReadContents,
        files: SegmentFiles,
        *,
        embedder: Embedder | None = None,
        read_only: bool = False,
    ) -> None:
        self._catalog = catalog
        self._read = read
        self._files = files
        self._embedder = embedder
        self._read_only = read_only
        self._building = SegmentBuilding(catalog, objects, embedder)
        self.segments = OpenSegments(catalog, files, self._building, read_only=read_only)
        self._stuck: set[int] = set()
        self.pid = os.getpid()

    @property
    def embedder(self) -> Embedder | None:
        """Return what makes vectors of texts, or None if the lake was opened without an
        embedder."""
        return self._embedder

    def search(
        self,
        reads: CatalogReads,
        moment: Moment | None,
        question: str,
        query: Query,
        offset: int,
        progress: Progress | None = None,
    ) -> Answer:
        """Return the matches of a query, as `reads` sees the present or the moment."""
        reader = TextReader(self._read)
        asked = _Asked(question, query, {})
        if query.mode != "text":
            self._embed_all(reader)
        unread: dict[int, Document] = {}
        builds, again = not self._read_only, self.segments.incomplete
        for attempt in count():
            look = partial(
                self._look, asked, offset, moment, unread, builds, attempt > _PATIENCE, again
            )
            found = reads.search(look)
            if isinstance(found, Answer):
                return found
            if isinstance(found, str):
                assert self._embedder is not None
                asked.vectors[found] = self._embedder.embed_query(found)
                continue
            if found is None:
                again = False
                self.segments.load(*self._catalog.segments_now())
                continue
            if builds:
                builds = False
                if self._is_worth_it(found) and self._build_some(reader, progress):
                    continue
            self._learn(found.unknown, reader, unread)
        raise AssertionError

    # One attempt

    def _look(
        self,
        asked: _Asked,
        offset: int,
        moment: Moment | None,
        unread: dict[int, Document],
        builds: bool,
        patient: bool,
        again: bool,
        reading: SearchReading,
    ) -> Answer | _Behind | str | None:
        """Try once. Returns an answer, the versions that must be read first, a text whose vector is
        needed, or None if the segments have changed."""
        views = self.segments.views
        if views is None or views.loaded.state != reading.state or again:
            return None
        tail = self.segments.tail
        waiting = [*reading.waiting(), *self._missing_versions(reading, moment)]
        ended = reading.ended()
        unknown = [v for v in waiting if v not in tail.known and v not in unread]
        behind = _Behind(unknown, len(waiting), len(ended))
        if builds and self._is_worth_it(behind):
            return behind
        if unknown and not self._learn_at_hand(reading, unknown, tail, unread, patient):
            return behind
        sources = views.sources(as_ends(ended), moment, reading.now)
        versions = np.array(waiting, np.int64)
        learnt, known = tail.now(unread)
        parts, missing = [*learnt], 0
        if still := [document for v, document in unread.items() if v not in known]:
            builder = SegmentBuilder(self._embedder.name if self._embedder else None)
            builder.add(still)
            parts.append(Segment(memoryview(builder.data())))
            source = visible_versions(parts[-1], versions, reading.now)
            missing = len(engine.scope(asked.query, source, source.visible))
        sources += [visible_versions(segment, versions, reading.now) for segment in parts]
        query = asked.of(sources)
        if isinstance(query, str):
            return query
        result = engine.run(query, sources)
        shown = result.found[offset:]
        rows = {v.row.version: v.row for v in reading.versions([hit.version for hit in shown])}
        return Answer([(rows[hit.version], hit) for hit in shown], result.total, missing)

    def _missing_versions(self, reading: SearchReading, moment: Moment | None) -> list[int]:
        """Return the visible versions of unreadable segments."""
        if not self.segments.missing:
            return []
        rows = reading.versions(sorted(self.segments.missing))
        if moment is None:
            return [version.row.version for version in rows if version.end_version is None]
        return [
            row.version
            for row, end, _ in rows
            if row.version <= moment.version and (end is None or end > moment.version)
        ]

    def _learn_at_hand(
        self,
        reading: SearchReading,
        unknown: Sequence[int],
        tail: Tail,
        unread: dict[int, Document],
        patient: bool,
    ) -> bool:
        """Take in a few new versions in the same transaction, if none of them is in the storage."""
        if len(unknown) > _AT_HAND and not patient:
            return False
        rows = reading.versions(unknown)
        if self._embedder is not None or (any(is_stored(v.row) for v in rows) and not patient):
            return False
        read = zip(rows, TextReader(self._read).texts([v.row for v in rows]), strict=True)
        found = list(read)
        if any(text.unread for _, text in found) and not patient:
            return False
        bad = {v.row.version for v, text in found if text.unread}
        taken = documents(found, None)
        tail.add([document for document in taken if document.version not in bad], None)
        unread.update((d.version, d) for d in taken if d.version in bad)
        return True

    # Catching up

    def _is_worth_it(self, behind: _Behind) -> bool:
        return behind.waiting - len(self._stuck) > Tail.LIMIT or behind.ended > _ENDED

    def _embed_all(self, reader: TextReader) -> None:
        """Add vectors to the segments that clients without an embedder built."""
        if self._read_only:
            return
        loaded = self.segments.now() if self.segments.views is None else self.segments.views.loaded
        if not any(map(self._building.lacks_vectors, loaded.segments)):
            return
        for _ in loaded.rows:
            loaded = self.segments.now()
            ended = as_ends(self._catalog.ended())
            if not loaded.whole or not self._building.embed(loaded, ended, reader):
                return

    def _build_some(self, reader: TextReader, progress: Progress | None) -> bool:
        """Build segments until nothing waits or building fails. Returns whether one was built."""
        try:
            built = self.build(reader, patient=False, progress=progress)
            self.merge(patient=False)
        except (LockTimeoutError, StorageError):
            return False
        return built > 0

    def build_waiting(self) -> None:
        """Build segments of all waiting versions, unless another writer is busy."""
        reader = TextReader(self._read)
        self.build(reader, patient=False)
        self.merge(patient=False)

    def build(self, reader: TextReader, *, patient: bool, progress: Progress | None = None) -> int:
        """Build segments of all waiting versions. Returns the number of entries in them."""
        done = 0
        total = self._catalog.count_waiting(2**31 - 1) if progress else None
        while not reader.exhausted:
            loaded = self.segments.now()
            if not loaded.whole:
                break
            built = self._building.build(reader, loaded, patient=patient)
            if built is None:  # another client was faster, or there is nothing to do
                break
            self._stuck = built.left
            done += built.documents
            if not built.documents:
                break
            if progress:
                progress(done, total)
        return done

    def merge(self, *, patient: bool, is_over: Callable[[], bool] = lambda: False) -> None:
        """Merge segments until none is left to merge."""
        while not is_over():
            loaded = self.segments.now()
            ended = as_ends(self._catalog.ended())
            if not loaded.whole or not self._building.merge(loaded, ended, patient=patient):
                return

    def tidy(self, is_over: Callable[[], bool], progress: Progress | None = None) -> None:
        """Do the upkeep: build, merge, and remove what was purged from the segments."""
        reader = TextReader(self._read, thorough=True, is_over=is_over)
        self.build(reader, patient=True, progress=progress)
        self.merge(patient=True, is_over=is_over)
        if self.has_purged():
            self.forget("", "", thorough=True)

    def has_purged(self) -> bool:
        """Return whether a purge is running, or was interrupted before it had cleaned the
        segments."""
        ended = self._catalog.ended()
        return any(end == PURGED for _, end in ended)

    def forget(self, low: str, high: str, *, thorough: bool = False) -> bool:
        """Remove all words of keys with `low <= key < high`, and of earlier purges, from all
        segments. Returns whether that succeeded. `thorough`: also remove everything that nobody can
        see."""
        for _ in range(_PATIENCE):
            loaded = self.segments.now()
            ended = as_ends(self._catalog.ended())
            if not loaded.whole:
                return False
            if self._building.forget(loaded, ended, low, high, thorough=thorough):
                self.segments.empty_tail()
                return self.segments.now().whole  # deletes the copies of the old segments
        return False

    def check(self, *, repair: bool) -> Iterator[tuple[SegmentRow, str, bool]]:
        """Give the segments with wrong bytes: what is wrong, and whether the segment was dropped,
        so that its versions wait for another."""
        for row in self._catalog.segments():
            if row.content_hash is None or (error := self._files.check(row)) is None:
                continue
            # Unless it was merged since then.
            if any(row.id == other.id for other in self._catalog.segments()):
                yield row, error, repair and not self.segments.incomplete and self._drop(row)

    def _drop(self, damaged: SegmentRow) -> bool:
        loaded = self.segments.now()
        others = [
            (row, segment, ends)
            for row, segment, ends in zip(loaded.rows, loaded.segments, loaded.ends, strict=True)
            if row.id != damaged.id
        ]
        if len(others) == len(loaded.rows):  # it was dropped when it could not be opened
            return True
        rows, segments, ends = zip(*others, strict=True) if others else ((), (), ())
        held = [version for segment in segments for version in segment.versions.tolist()]
        rest = Loaded(loaded.state, rows, segments, ends)
        return self._building.drop(rest, [damaged], held)

    def _learn(
        self, unknown: Sequence[int], reader: TextReader, unread: dict[int, Document]
    ) -> None:
        """Take in versions. For this search, those that cannot be read are taken in with their
        metadata."""
        name = self._embedder.name if self._embedder else None
        for start in range(0, len(unknown), _PAGE):
            rows: Sequence[VersionRow] = self._catalog.get_versions(unknown[start : start + _PAGE])
            read = list(zip(rows, reader.texts([v.row for v in rows]), strict=True))
            found = documents(read, self._embedder)
            bad = {text.row.version for _, text in read if text.unread}
            unread.update((d.version, d) for d in found if d.version in bad)
            good = [d for d in found if d.version not in bad]
            if good:
                self.segments.tail.add(good, name)


def open_index(
    catalog: Catalog,
    objects: ObjectStore | None,
    read: ReadContents,
    options: SearchOptions,
    lake_id: str,
    *,
    read_only: bool,
) -> SearchIndex:
    """Open the search of a lake, as its client has configured it."""
    embedder = None
    if options.embedder is not None:
        from lakebed.search.embedders import load_embedder  # heavy

        embedder = load_embedder(options.embedder)
        known = catalog.remember("embedder", embedder.name, keep=not read_only)
        if known != embedder.name:
            raise ConfigurationError(
                f"embedder is {embedder.name!r}, but the vectors of the lake were made by "
                f"{known!r}: open the lake with that embedder, or without one"
            )
    files = SegmentFiles(catalog, objects, cache_folder(options.cache), lake_id)
    return SearchIndex(catalog, objects, read, files, embedder=embedder, read_only=read_only)
