"""Searching a lake: its segments, and in memory what no segment holds yet."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lakebed.catalog.protocol import Catalog, CatalogReads
from lakebed.catalog.search_rows import PURGED, SearchReading, SegmentRow, SegmentState
from lakebed.errors import ConfigurationError, LockTimeoutError, StorageError
from lakebed.lake.search.building import SegmentBuilding, documents
from lakebed.lake.search.indexed_text import ReadContents, TextReader, is_stored
from lakebed.lake.search.options import SearchOptions
from lakebed.lake.search.segment_files import DamagedSegmentError, SegmentFiles, cache_folder
from lakebed.lake.search.tail import Tail
from lakebed.lake.search.view import Loaded, Views, apply_ends, as_ends, visible_versions
from lakebed.model import EntryRow, Moment, Progress, VersionRow
from lakebed.objects.store import ObjectStore
from lakebed.search import engine
from lakebed.search.building import Document, SegmentBuilder
from lakebed.search.engine import Found, Query
from lakebed.search.format import UnreadableSegmentError
from lakebed.search.ranking import Source
from lakebed.search.segment import Segment

if TYPE_CHECKING:
    from lakebed.search.embedders import Embedder

_TAIL = 512
"""Versions without a segment that a search evaluates in memory rather than build one."""
_ENDED = 4096  # ends that a search reads each time rather than fold them into a row
_AT_HAND = 64  # new versions that are read in the transaction of the search
_PAGE = 4000
_PATIENCE = 8  # rounds in which writers may be faster, before what they stored is read under way


class Answer(NamedTuple):
    """What a search found: rows with what made their scores, how many match, and how many entries
    were judged by their metadata alone."""

    rows: Sequence[tuple[EntryRow, Found]]
    total: int
    unread: int


class _Asked(NamedTuple):
    """A question, how it is looked for, and the vectors of the texts that it was reduced to."""

    question: str
    query: Query
    vectors: dict[str, NDArray[np.float32]]

    def of(self, sources: Sequence[Source]) -> Query | str:
        """The query for these sources, or the text whose vector it lacks."""
        text, query = engine.heed_speakers(self.query, self.question, sources)
        if query.mode == "text":
            return query
        vector = self.vectors.get(text)
        return text if vector is None else query._replace(vector=vector)


class _Behind(NamedTuple):
    """These versions are not in memory, and so many wait for a segment."""

    unknown: Sequence[int]
    waiting: int
    ended: int


class SearchIndex:
    """The searches of one lake, of its present and its past."""

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
        self._lock = threading.RLock()
        self._views: Views | None = None
        self._missing: frozenset[int] = frozenset()
        self._incomplete = False  # the storage did not answer
        self._blobs: dict[str, bytes] = {}
        self._tail = Tail()
        self._stuck: set[int] = set()
        self.pid = os.getpid()

    @property
    def embedder(self) -> Embedder | None:
        """What makes vectors of texts, None if the lake was opened without."""
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
        """The matches of a query as `reads`, of the present or of the moment, sees them."""
        reader = TextReader(self._read)
        asked = _Asked(question, query, {})
        if query.mode != "text":
            self._embed_all(reader)
        unread: dict[int, Document] = {}
        builds, again = not self._read_only, self._incomplete
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
                self._load(*self._catalog.segments_now())
                continue
            if builds:
                builds = False
                if self._is_worth_it(found) and self._build_some(reader, progress):
                    continue
            self._learn(found.unknown, reader, unread)
        raise AssertionError

    # One look

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
        """One try: an answer, what has to be brought first, or a text whose vector is wanted; None
        if the segments are others by now."""
        views = self._views
        if views is None or views.loaded.state != reading.state or again:
            return None
        tail = self._tail
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
        """Those versions of unreadable segments that are visible."""
        if not self._missing:
            return []
        rows = reading.versions(sorted(self._missing))
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
        """Take in a few new versions in the same transaction, if none lies in the storage."""
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
        return behind.waiting - len(self._stuck) > _TAIL or behind.ended > _ENDED

    def _embed_all(self, reader: TextReader) -> None:
        """Give vectors to what clients without an embedder have built."""
        if self._read_only:
            return
        loaded = self.loaded() if self._views is None else self._views.loaded
        if not any(map(self._building.lacks_vectors, loaded.segments)):
            return
        for _ in loaded.rows:
            loaded = self.loaded()
            ended = as_ends(self._catalog.ended())
            if not loaded.whole or not self._building.embed(loaded, ended, reader):
                return

    def _build_some(self, reader: TextReader, progress: Progress | None) -> bool:
        """Build segments until nothing waits, unless that fails; whether one was built."""
        try:
            built = self.build(reader, patient=False, progress=progress)
            self.merge(patient=False)
        except (LockTimeoutError, StorageError):
            return False
        return built > 0

    def build_waiting(self) -> None:
        """Build segments of all that waits, if no other writer is in the way."""
        reader = TextReader(self._read)
        self.build(reader, patient=False)
        self.merge(patient=False)

    def build(self, reader: TextReader, *, patient: bool, progress: Progress | None = None) -> int:
        """Build segments of all that waits; of how many entries."""
        done = 0
        total = self._catalog.count_waiting(2**31 - 1) if progress else None
        while not reader.exhausted:
            loaded = self.loaded()
            if not loaded.whole:
                break
            built = self._building.build(reader, loaded, patient=patient)
            if built is None:  # somebody else was faster, or there is nothing to do
                break
            self._stuck = built.left
            done += built.documents
            if not built.documents:
                break
            if progress:
                progress(done, total)
        return done

    def merge(self, *, patient: bool, is_over: Callable[[], bool] = lambda: False) -> None:
        """Merge segments for as long as there are some to merge."""
        while not is_over():
            loaded = self.loaded()
            ended = as_ends(self._catalog.ended())
            if not loaded.whole or not self._building.merge(loaded, ended, patient=patient):
                return

    def tidy(self, is_over: Callable[[], bool], progress: Progress | None = None) -> None:
        """What upkeep does: build, merge, and leave nothing of what was purged."""
        reader = TextReader(self._read, thorough=True, is_over=is_over)
        self.build(reader, patient=True, progress=progress)
        self.merge(patient=True, is_over=is_over)
        if self.has_purged():
            self.forget("", "", thorough=True)

    def has_purged(self) -> bool:
        """Whether a purge is under way, or was interrupted before it had cleaned the segments."""
        ended = self._catalog.ended()
        return any(end == PURGED for _, end in ended)

    def forget(self, low: str, high: str, *, thorough: bool = False) -> bool:
        """Leave no word of keys from `low` to below `high` in any segment, nor of what was purged
        before; whether that succeeded. `thorough`: nor of anything that nobody sees."""
        for _ in range(_PATIENCE):
            loaded = self.loaded()
            ended = as_ends(self._catalog.ended())
            if not loaded.whole:
                return False
            if self._building.forget(loaded, ended, low, high, thorough=thorough):
                with self._lock:
                    self._tail = Tail()
                return self.loaded().whole  # which deletes the copies of the old ones
        return False

    def check(self, *, repair: bool) -> Iterator[tuple[SegmentRow, str, bool]]:
        """The segments whose bytes are not what they should be: what is wrong, and whether it was
        dropped, so that what it held waits for another."""
        for row in self._catalog.segments():
            if row.content_hash is None or (error := self._files.check(row)) is None:
                continue
            if any(row.id == other.id for other in self._catalog.segments()):  # not merged since
                yield row, error, repair and not self._incomplete and self._drop(row)

    def _drop(self, damaged: SegmentRow) -> bool:
        loaded = self.loaded()
        others = [
            (row, segment, ends)
            for row, segment, ends in zip(loaded.rows, loaded.segments, loaded.ends, strict=True)
            if row.id != damaged.id
        ]
        if len(others) == len(loaded.rows):  # dropped when it could not be opened
            return True
        rows, segments, ends = zip(*others, strict=True) if others else ((), (), ())
        held = [version for segment in segments for version in segment.versions.tolist()]
        rest = Loaded(loaded.state, rows, segments, ends)
        return self._building.drop(rest, [damaged], held)

    def loaded(self) -> Loaded:
        """The segments as they are now, opened."""
        while True:
            state, rows = self._catalog.segments_now()
            views = self._views
            if views is not None and views.loaded.state == state and views.loaded.whole:
                return views.loaded
            if self._load(state, rows):
                assert self._views is not None
                return self._views.loaded

    def _load(self, state: SegmentState, found: Sequence[SegmentRow]) -> bool:
        """Open segments; False if they are others by now."""
        with self._lock:
            known = {}
            if self._views is not None:
                loaded = self._views.loaded
                known = {
                    row.id: (segment, ends)
                    for row, segment, ends in zip(
                        loaded.rows, loaded.segments, loaded.ends, strict=True
                    )
                }
            opened, damaged = list[tuple[SegmentRow, Segment]](), list[SegmentRow]()
            self._incomplete = False
            for row in found:
                if self._incomplete and row.id not in known:  # the storage does not answer
                    continue
                try:
                    opened.append((row, known[row.id][0] if row.id in known else self._open(row)))
                except (DamagedSegmentError, UnreadableSegmentError):
                    damaged.append(row)
                except StorageError:
                    self._incomplete = True
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
            self._views = Views(Loaded(state, rows, segments, applied, whole))
            self._tail = self._still_waiting()
            self._missing = frozenset()
            if not whole and self._make_up_for(damaged):
                return False
            self._files.forget_others(list(found))
        return True

    def _open(self, row: SegmentRow) -> Segment:
        if row.content_hash is None:
            return Segment(memoryview(SegmentBuilder().data()))
        return self._files.open(row)

    def _still_waiting(self) -> Tail:
        """The tail goes on as long as it is small; what is in a segment now is masked anyway."""
        return self._tail if len(self._tail.known) <= _TAIL else Tail()

    def _make_up_for(self, damaged: Sequence[SegmentRow]) -> bool:
        """Drop segments that cannot be read, so that what they held waits again, and say so; where
        that fails, or the storage does, it is evaluated in memory."""
        assert self._views is not None
        loaded = self._views.loaded
        held = [version for segment in loaded.segments for version in segment.versions.tolist()]
        if damaged and not self._read_only and not self._incomplete:
            try:
                self._building.drop(loaded, damaged, held)
                return True  # even if it was not done: the catalog's state is another by then
            except (LockTimeoutError, StorageError):
                pass
        self._missing = frozenset(self._catalog.unheld_versions(held))
        return False

    def _learn(
        self, unknown: Sequence[int], reader: TextReader, unread: dict[int, Document]
    ) -> None:
        """Take in versions; those that cannot be read with their metadata, for this search."""
        name = self._embedder.name if self._embedder else None
        for start in range(0, len(unknown), _PAGE):
            rows: Sequence[VersionRow] = self._catalog.get_versions(unknown[start : start + _PAGE])
            read = list(zip(rows, reader.texts([v.row for v in rows]), strict=True))
            found = documents(read, self._embedder)
            bad = {text.row.version for _, text in read if text.unread}
            unread.update((d.version, d) for d in found if d.version in bad)
            good = [d for d in found if d.version not in bad]
            if good:
                self._tail.add(good, name)


def open_index(
    catalog: Catalog,
    objects: ObjectStore | None,
    read: ReadContents,
    options: SearchOptions,
    lake_id: str,
    *,
    read_only: bool,
) -> SearchIndex:
    """The searches of a lake, as its client has configured them."""
    embedder = None
    if options.embedder is not None:
        from lakebed.search.embedders import load_embedder  # heavy

        embedder = load_embedder(options.embedder)
        known = catalog.remember("embedder", embedder.name, keep=not read_only)
        if known != embedder.name:
            raise ConfigurationError(
                f"embedder is {embedder.name!r}, but the vectors of the lake were made by "
                f"{known!r}: open it with that one, or without"
            )
    files = SegmentFiles(catalog, objects, cache_folder(options.cache), lake_id)
    return SearchIndex(catalog, objects, read, files, embedder=embedder, read_only=read_only)
