"""Builds, merges and cleans segments, and records them in the catalog."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lakebed.catalog.protocol import Catalog, MissingContentError
from lakebed.catalog.search_rows import GONE, PURGED, NewSegment, SegmentRow, Waiting
from lakebed.errors import LakebedError, LockTimeoutError
from lakebed.lake.contents.uploading import LEASE_SECONDS, give_up
from lakebed.lake.search.indexed_text import IndexedText, TextReader, is_stored
from lakebed.lake.search.view import Ends, Loaded, apply_ends, as_ends
from lakebed.model import Upload, VersionRow
from lakebed.objects.names import object_path
from lakebed.objects.store import ObjectStore
from lakebed.search.building import Document, SegmentBuilder
from lakebed.search.segment import MAX_DOCUMENTS, NEVER, Segment
from lakebed.search.selecting import select
from lakebed.values.hash import digest

if TYPE_CHECKING:
    from lakebed.search.embedders import Embedder

_INLINE_DOCUMENTS = 16_384
"""Of a segment that is kept in the catalog: a few megabytes, which any database accepts."""
_PAGE_ROWS = 500  # more would live so long that the garbage collector searches all of memory
_STORED_ROWS = 16_000
"""Rows of a page whose contents are in the storage. A pack is in the order of its hashes, so each
page reads most of it."""
_PAGE_BYTES = 16 << 20
_FEW = 4  # a page is long if at least one in so many of its rows is stored
_SMALLEST = 256  # documents of a segment in the lowest tier; each tier has four times as many
_FAN = 4  # segments of one tier that are merged
_TRIES = 20  # to wait for the lock when nobody needs the result
_PAUSE = 0.005
_NO_ENDS: Ends = np.empty((0, 2), np.int64)


class Built(NamedTuple):
    """What a new segment has: the number of documents, and the versions whose text could not be
    read."""

    documents: int
    left: set[int]


class SegmentBuilding:
    """Builds the segments of one lake."""

    def __init__(
        self, catalog: Catalog, objects: ObjectStore | None, embedder: Embedder | None
    ) -> None:
        self._catalog = catalog
        self._objects = objects
        self._embedder = embedder
        self._limit = MAX_DOCUMENTS if objects is not None else _INLINE_DOCUMENTS

    # Building from waiting versions

    def build(self, reader: TextReader, loaded: Loaded, *, patient: bool) -> Built | None:
        """Build a segment from the next waiting versions.

        Returns None if there was nothing to do, or another client was faster.
        """
        waiting = self._catalog.next_waiting(self._limit)
        # Otherwise an ended version may be in a segment that was not loaded.
        if waiting.state != loaded.state:
            return None
        ends = _ends_of(waiting, loaded)
        if not waiting.versions and not len(ends):
            return None
        builder, standing, unread, left = self._take_in(waiting.versions, reader)
        built = Built(len(builder), unread)
        if not len(builder) and not len(ends) and set(waiting.versions) == unread:
            return built
        data = builder.data() if len(builder) else b""
        new = self._write(data, len(builder), ends) if data or len(ends) else None
        if self._commit(
            new,
            patient,
            lambda: self._catalog.add_segment(
                new, waiting, standing, sorted(unread | left), patient=patient
            ),
        ):
            return built
        return None

    def _take_in(
        self, versions: Sequence[int], reader: TextReader
    ) -> tuple[SegmentBuilder, list[int], set[int], set[int]]:
        """Return a builder with the documents, the versions that still stand, and the versions that
        must keep waiting because they cannot be read or do not fit."""
        builder = SegmentBuilder(self._embedder.name if self._embedder else None)
        standing, unread, left = list[int](), set[int](), set[int]()
        for rows in self._pages(versions):
            if builder.is_full or len(builder) + len(rows) > MAX_DOCUMENTS:
                left.update(version.row.version for version in rows)
                continue
            texts = list(reader.texts([version.row for version in rows]))
            unread.update(text.row.version for text in texts if text.unread)
            read = [pair for pair in zip(rows, texts, strict=True) if not pair[1].unread]
            builder.add(documents(read, self._embedder))
            standing += [version.row.version for version, _ in read if version.end_version is None]
        return builder, standing, unread, left

    def _pages(self, versions: Sequence[int]) -> Iterator[list[VersionRow]]:
        """Give the rows of versions, in pages of bounded size."""
        page, room, stored = list[VersionRow](), _PAGE_BYTES, 0
        for version in self._versions(versions):
            most = _STORED_ROWS if _FEW * stored > len(page) else _PAGE_ROWS
            if page and (version.row.byte_size > room or len(page) >= most):
                yield page
                page, room, stored = [], _PAGE_BYTES, 0
            page.append(version)
            room -= version.row.byte_size
            stored += is_stored(version.row)
        if page:
            yield page

    def _versions(self, versions: Sequence[int]) -> Iterator[VersionRow]:
        """Give the rows of those versions that still exist."""
        for start in range(0, len(versions), _PAGE_ROWS):
            yield from self._catalog.get_versions(versions[start : start + _PAGE_ROWS])

    # Building from other segments

    def merge(self, loaded: Loaded, ended: Ends, *, patient: bool) -> bool:
        """Merge some segments, or rewrite one of which most is gone. Returns whether there were
        any."""
        ends = apply_ends(loaded.segments, loaded.ends, ended)
        chosen = _choose(loaded, ends, self._limit)
        if not chosen:
            return False
        kept = [(ends[number] > GONE) & self._is_kept(loaded, ends, number) for number in chosen]
        return self._replace(loaded, chosen, kept, ends, ended, patient=patient)

    def _is_kept(self, loaded: Loaded, ends: Sequence[Ends], number: int) -> NDArray[np.bool_]:
        """Mark the documents that stand, or that are history which has not been removed."""
        stands: NDArray[np.bool_] = ends[number] == NEVER
        past = np.flatnonzero((ends[number] > GONE) & ~stands)
        versions = loaded.segments[number].versions[past]
        known = self._catalog.kept_versions(versions.tolist())
        stands[past] = [version in known for version in versions.tolist()]
        return stands

    def embed(self, loaded: Loaded, ended: Ends, reader: TextReader) -> bool:
        """Rewrite one segment that lacks vectors, with vectors. Returns whether there was one."""
        assert self._embedder is not None
        lacking = [n for n, segment in enumerate(loaded.segments) if self.lacks_vectors(segment)]
        if not lacking:
            return False
        number, segment = lacking[0], loaded.segments[lacking[0]]
        ends = apply_ends([segment], [loaded.ends[number]], ended)[0]
        standing = segment.versions[ends > GONE].tolist()
        builder, _, unread, left = self._take_in(standing, reader)
        old, others = [loaded.rows[number]], [s for s in loaded.segments if s is not segment]
        blob = _of_others(self._old_ends(old), others)
        new = self._write(builder.data() if len(builder) else b"", len(builder), blob)
        return self._commit(
            new,
            True,
            lambda: self._catalog.replace_segments(
                old, new, loaded.state, queue=sorted(unread | left)
            ),
        )

    def lacks_vectors(self, segment: Segment) -> bool:
        """Return whether a client without an embedder built the segment."""
        return (
            self._embedder is not None
            and len(segment) > 0
            and segment.header.embedder != self._embedder.name
        )

    def forget(
        self, loaded: Loaded, ended: Ends, low: str, high: str, *, thorough: bool = False
    ) -> bool:
        """Rewrite the segments that hold keys of the range, purged versions, or versions of a
        purged key. Returns False if another client changed the segments meanwhile.

        `thorough`: remove everything that nobody can see any more, whatever its key. This is needed
        after an interrupted purge, because the keys of its versions are known only if a segment
        holds them.
        """
        ends = apply_ends(loaded.segments, loaded.ends, ended)
        below, above = low.encode(), high.encode()
        keys = {
            key
            for segment, known in zip(loaded.segments, ends, strict=True)
            for document in np.flatnonzero(known == PURGED).tolist()
            if not below <= (key := segment.keys[document]) < above
        }
        for number, segment in enumerate(loaded.segments):
            ranges = [(key.decode(), key.decode() + "\x01") for key in keys]
            concerned = np.full(len(segment), thorough)
            for first, last in (segment.key_range(*each) for each in ((low, high), *ranges)):
                concerned[first:last] = True
            stays = ends[number] > GONE
            # What was stored under these keys later stays.
            doubtful = np.flatnonzero(concerned & stays)
            stays[doubtful] = self._exist(segment.versions[doubtful].tolist())
            if (concerned & ~stays).any() and not self._replace(
                loaded, [number], [stays], ends, ended, at_once=True
            ):
                return False
        settled = ended[ended[:, 1] == PURGED, 0].tolist()
        return not settled or self._catalog.replace_segments(
            [], None, loaded.state, settled=settled
        )

    def _exist(self, versions: Sequence[int]) -> list[bool]:
        """Tell for each version whether it stands or is history."""
        known = {version.row.version for version in self._versions(versions)}
        return [version in known for version in versions]

    def _replace(
        self,
        loaded: Loaded,
        chosen: Sequence[int],
        kept: Sequence[NDArray[np.bool_]],
        ends: Sequence[Ends],
        ended: Ends,
        *,
        patient: bool = True,
        at_once: bool = False,
    ) -> bool:
        """Replace some segments by one that holds what is kept of them."""
        documents = sum(int(np.count_nonzero(stays)) for stays in kept)
        data = self._join(loaded, chosen, kept, ends) if documents else b""
        old = [loaded.rows[number] for number in chosen]
        others = [s for n, s in enumerate(loaded.segments) if n not in set(chosen)]
        new = self._write(data, documents, _of_others(self._old_ends(old), others))
        settled = [
            int(version)
            for segment in (loaded.segments[number] for number in chosen)
            for version, end in ended[segment.find_versions(ended[:, 0])[0]]
            if end != PURGED
        ]
        return self._commit(
            new,
            patient,
            lambda: self._catalog.replace_segments(
                old, new, loaded.state, settled=settled, at_once=at_once, patient=patient
            ),
        )

    def _join(
        self,
        loaded: Loaded,
        chosen: Sequence[int],
        kept: Sequence[NDArray[np.bool_]],
        ends: Sequence[Ends],
    ) -> bytes:
        segments = [loaded.segments[number] for number in chosen]
        if len(segments) == 1:
            return select(segments[0], kept[0], ends[chosen[0]])
        builder = SegmentBuilder(self._embedder_of(segments))
        for number, segment, stays in zip(chosen, segments, kept, strict=True):
            builder.take(segment, stays, ends[number])
        return builder.data()

    def _embedder_of(self, segments: Sequence[Segment]) -> str | None:
        """Return the embedder of segments, or None unless all of them have vectors."""
        names = {segment.header.embedder for segment in segments if len(segment)}
        return names.pop() if len(names) == 1 else None

    def _old_ends(self, rows: Sequence[SegmentRow]) -> Ends:
        blobs = self._catalog.segment_ends([row.id for row in rows])
        return as_ends(b"".join(blobs.values()))

    def drop(self, loaded: Loaded, damaged: Sequence[SegmentRow], held: Sequence[int]) -> bool:
        """Drop unreadable segments. Their versions wait again."""
        queue = self._catalog.unheld_versions(held)
        ends = _of_others(self._old_ends(damaged), loaded.segments)
        new = self._write(b"", 0, ends) if len(ends) else None
        return self._catalog.replace_segments(damaged, new, loaded.state, queue=queue)

    # Recording in the catalog

    def _write(self, data: bytes, documents: int, ends: Ends) -> NewSegment:
        """Write the bytes of a segment, and return its row for the catalog."""
        number, pairs = os.urandom(16).hex(), ends.astype("<i8").tobytes()
        if not documents:
            return NewSegment(SegmentRow(number, None, 0, 0, None), None, pairs, None)
        content_hash = digest(data)
        row = SegmentRow(number, content_hash, len(data), documents, None)
        if self._objects is None:
            return NewSegment(row, data, pairs, None)
        path = object_path(content_hash, "segment")
        self._catalog.lease([path], LEASE_SECONDS)
        try:
            self._objects.write(path, data)
        except Exception:
            give_up(self._catalog, [path])
            raise
        return NewSegment(row._replace(uri=path), None, pairs, Upload(path, len(data)))

    def _commit(self, new: NewSegment | None, patient: bool, commit: Callable[[], bool]) -> bool:
        """Commit. A search does not wait long for another writer."""
        uploads = [] if new is None or new.upload is None else [new.upload.uri]
        for _ in range(1 if patient else _TRIES):
            try:
                return commit()
            except LockTimeoutError:
                if patient:
                    give_up(self._catalog, uploads)
                    raise
                time.sleep(_PAUSE)
            except MissingContentError:  # writing took longer than the lease
                return False
            except LakebedError:
                give_up(self._catalog, uploads)
                raise
        give_up(self._catalog, uploads)
        return False


def documents(
    read: Sequence[tuple[VersionRow, IndexedText]], embedder: Embedder | None
) -> list[Document]:
    """Return the documents of entries whose text has been read."""
    vectors = dict[bytes, NDArray[np.float32]]()
    if embedder is not None:
        texts = {version.row.content_hash: text.value_text for version, text in read}
        some = {content: text for content, text in texts.items() if text.strip()}
        if some:
            rows = embedder.embed_documents(list(some.values()))
            vectors = dict(zip(some, rows, strict=True))
    return [
        Document(
            row.key,
            row.version,
            version.end_version,
            row.expires_at,
            row.content_hash,
            text.metadata,
            text.text,
            text.speaker,
            vectors.get(row.content_hash),
            text.names,
        )
        for version, text in read
        for row in (version.row,)
    ]


def _ends_of(waiting: Waiting, loaded: Loaded) -> Ends:
    """Return the ends of documents that segments hold. (Purged versions wait for `forget`.)"""
    ended = as_ends([pair for pair in waiting.ended if pair[1] != PURGED])
    return _of_others(ended, loaded.segments)


def _of_others(ends: Ends, segments: Sequence[Segment]) -> Ends:
    """Return the ends of documents that these segments hold."""
    held = np.zeros(len(ends), np.bool_)
    for segment in segments:
        held[segment.find_versions(ends[:, 0])[0]] = True
    return ends[held]


def _choose(loaded: Loaded, ends: Sequence[Ends], limit: int) -> list[int]:
    """Return the numbers of the segments to write as one."""
    tiers: dict[int, list[int]] = {}
    for number, segment in enumerate(loaded.segments):
        live = int(np.count_nonzero(ends[number] > GONE))
        if len(segment) > _SMALLEST and live * 2 < len(segment):
            return [number]
        if live * 2 < limit:
            tier, size = 0, _SMALLEST
            while size < live:
                tier, size = tier + 1, size * _FAN
            tiers.setdefault(tier, []).append(number)
    for _, numbers in sorted(tiers.items()):
        if len(numbers) >= _FAN:
            chosen, room = list[int](), limit
            for number in numbers:
                room -= len(loaded.segments[number])
                if room < 0:
                    break
                chosen.append(number)
            if len(chosen) > 1:
                return chosen
    return []
