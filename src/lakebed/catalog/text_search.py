"""Searching: what the text index finds, and what it lacks evaluated with the same analyser."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import cache, partial
from typing import TYPE_CHECKING, NamedTuple

from lakebed.catalog.executors.base import Executor, Transaction
from lakebed.catalog.metadata_index import MetadataIndex, Narrowing
from lakebed.catalog.protocol import ReadValues, TextMatches, TextQuery
from lakebed.catalog.queries import in_lists
from lakebed.catalog.ranking import WordCounts, count_words, scores
from lakebed.catalog.text_index import LAST_VERSION, Reach, Scope, TextIndex
from lakebed.catalog.text_reading import TextReader, is_stored
from lakebed.model import EntryRow, Moment
from lakebed.values.json import decode_text

if TYPE_CHECKING:
    from lakebed.filters import Filter

_CHUNK_BYTES = 8 * 1024 * 1024


class _Hit(NamedTuple):
    score: float
    key: str
    version: int


class _Indexed(NamedTuple):
    """What the index found: the best hits, the rows of those that may be asked for, and how many
    match."""

    hits: Sequence[_Hit]
    rows: Mapping[int, EntryRow]
    total: int
    frequency: Sequence[int]


class _Lacking:
    """The entries that the index lacks: counted, or still to be read from the storage."""

    def __init__(self, words: Sequence[str], reader: TextReader) -> None:
        self._words = words
        self._reader = reader
        self.matching: list[tuple[EntryRow, WordCounts]] = []
        self.pending: list[EntryRow] = []
        self.unread = 0
        self._documents = 0
        self._tokens = 0

    def __len__(self) -> int:
        return len(self.matching) + len(self.pending)

    def take(self, rows: Iterable[EntryRow]) -> None:
        """Count what is at hand, put off what lies in the storage."""
        rows = list(rows)
        self.pending.extend(filter(is_stored, rows))
        self._count(row for row in rows if not is_stored(row))

    def read(self) -> None:
        """Count what was put off."""
        chunk, room = list[EntryRow](), _CHUNK_BYTES
        for row in self.pending:
            chunk.append(row)
            room -= row.byte_size
            if room < 0:
                self._count(chunk)
                chunk, room = [], _CHUNK_BYTES
        self._count(chunk)

    def _count(self, rows: Iterable[EntryRow]) -> None:
        for document in self._reader.documents(rows):
            counts = count_words(self._words, document.tokens)
            self.unread += document.unread
            if any(counts.counts):
                self.matching.append((document.row, counts))
            else:
                self._documents += 1
                self._tokens += counts.length

    def hits(self, reach: Reach, frequency: Sequence[int]) -> Iterator[tuple[_Hit, EntryRow]]:
        """The matching entries with their scores."""
        if self.matching:
            rows, matching = zip(*self.matching, strict=True)
            others, tokens = reach.rows + self._documents, reach.tokens + self._tokens
            for row, score in zip(rows, scores(matching, others, tokens, frequency), strict=True):
                yield _Hit(score, row.key, row.version), row


class TextSearch:
    """The searches of one catalog, of its present or of a moment."""

    def __init__(
        self, executor: Executor, queries: Mapping[str, str], metadata_index: MetadataIndex
    ) -> None:
        self._executor = executor
        self._queries = queries
        self._metadata_index = metadata_index
        self.index = TextIndex(executor, queries)

    def run(
        self,
        query: TextQuery,
        read: ReadValues,
        moment: Moment | None = None,
        check: Callable[[Transaction], None] | None = None,
    ) -> TextMatches:
        """The matches of a query now, or at a moment that `check` finds to be readable."""
        reader = TextReader(read)
        narrowing = Narrowing()
        if query.metadata_filter:
            narrowing = self._metadata_index.narrow(query.metadata_filter)
        look = partial(self._look, query, reader, narrowing, moment, check)
        matches = look(tolerant=False)
        if matches is None:
            self.index.catch_up(reader)
            matches = look(tolerant=True)
        assert matches is not None
        return matches

    def _look(
        self,
        query: TextQuery,
        reader: TextReader,
        narrowing: Narrowing,
        moment: Moment | None,
        check: Callable[[Transaction], None] | None,
        *,
        tolerant: bool,
    ) -> TextMatches | None:
        """The matches; None if the index should catch up first, unless `tolerant`."""
        lacking = _Lacking(query.words, reader)
        # One transaction, so that an entry which is replaced meanwhile is found before or after.
        with self._executor.read() as tx:
            if check:
                check(tx)
            reach = self.index.reach(tx.all)
            if not tolerant and self.index.is_behind(tx.all, reach):
                return None
            accepts = _accepting(query.metadata_filter)
            version, now = (moment.version, moment.time) if moment else (LAST_VERSION, tx.now())
            scope = Scope(query.low, query.high, version, now)
            for source in self.index.lacks(reach, moment and moment.version):
                for page in self.index.pages(tx.all, source, scope):
                    lacking.take(row for row in page if accepts(row.metadata))
            indexed = self._look_up(tx, query, scope, narrowing, accepts, len(lacking))
        lacking.read()
        return _merge(query, indexed, lacking, reach)

    def _look_up(
        self,
        tx: Transaction,
        query: TextQuery,
        scope: Scope,
        narrowing: Narrowing,
        accepts: Callable[[str], bool],
        others: int,
    ) -> _Indexed:
        """What the index finds; `others` more hits may come between those that it gives."""
        names, words = _match(query.words)
        params = {**scope._asdict(), **words, **narrowing.params}
        sql = self._queries["search_top"].replace("{narrowing}", narrowing.sql)
        sql = sql.replace("{words}", names)
        wanted, total = query.offset + query.limit, 0
        hits = list[_Hit]()
        with closing(tx.each(sql, params)) as found:
            for rank, key, version, metadata in found:
                if accepts(metadata):
                    total += 1
                    # Beyond those wanted only what is equal, since keys decide among these.
                    if len(hits) < wanted or (hits and hits[-1].score == -rank):
                        hits.append(_Hit(-rank, key, version))
                    elif not query.metadata_filter:
                        total = -1
                        break
        if total < 0:
            counting = self._queries["search_total"].replace("{words}", names)
            ((total,),) = tx.all(counting, params)
        hits = sorted(hits, key=_order)[:wanted]
        rows = dict[int, EntryRow]()
        shown = [hit.version for hit in hits[max(query.offset - others, 0) :]]
        for names, versions in in_lists(self._queries, shown):
            entries = tx.all(self._queries["get_versions"].replace("{versions}", names), versions)
            rows.update((row.version, row) for row in map(EntryRow._make, entries))
        frequency = []
        if others:
            for word in query.words:
                names, words = _match([word])
                counting = self._queries["text_frequency"].replace("{words}", names)
                ((count,),) = tx.all(counting, words)
                frequency.append(count)
        return _Indexed(hits, rows, total, frequency)


def _match(words: Sequence[str]) -> tuple[str, dict[str, object]]:
    """What an index is asked for: an expression `match`, or the names of a list of words."""
    params: dict[str, object] = {f"word{number}": word for number, word in enumerate(words)}
    names = ", ".join(f":{name}" for name in params)
    return names, params | {"match": " OR ".join(f'"{word}"' for word in words)}


def _merge(query: TextQuery, indexed: _Indexed, lacking: _Lacking, reach: Reach) -> TextMatches:
    rows, merged = dict(indexed.rows), list(indexed.hits)
    for hit, row in lacking.hits(reach, indexed.frequency):
        rows[hit.version] = row
        merged.append(hit)
    merged.sort(key=_order)
    shown = merged[query.offset : query.offset + query.limit]
    total = indexed.total + len(merged) - len(indexed.hits)
    return TextMatches([(rows[hit.version], hit.score) for hit in shown], total, lacking.unread)


def _order(hit: _Hit) -> tuple[float, str]:
    return -hit.score, hit.key


def _accepting(metadata_filter: Filter | None) -> Callable[[str], bool]:
    """Whether metadata, given as text, pass the filter; many entries have the same."""
    if metadata_filter is None:
        return lambda _: True
    matches = metadata_filter.matches

    @cache
    def accepts(metadata: str) -> bool:
        return matches(decode_text(metadata))

    return accepts
