"""The text index: which entries it holds, and bringing it up to date.

A store does not touch it. It catches up on its tail, the entries above the version that it reaches,
when a search comes; what it then still lacks the search evaluates itself. Versions are never used
again, so what it holds of entries that are gone finds no entry. Like the metadata index this rests
on versions becoming visible in their order. Measurements: docs/design/search.md.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from lakebed.catalog.executors.base import Executor, Params, Row, Transaction
from lakebed.catalog.protocol import LAST_KEY, TEXT_COUNTERS
from lakebed.catalog.text_reading import Document, TextReader
from lakebed.errors import LockTimeoutError, StorageError
from lakebed.model import EntryRow

LAST_VERSION = 2**62
MAX_TAIL = 16
"""Inline entries in the tail that a search evaluates rather than write to the catalog."""
_PAGE_ROWS = 1000
_PAGE_BYTES = 8 * 1024 * 1024
_PAUSE = 0.001
_ROWS_PER_TRY = 50  # waiting a millisecond is worth as much work
_FEW = 1000  # stale documents that are never worth a rebuild

Fetch = Callable[[str, Params], Sequence[Row]]


class Reach(NamedTuple):
    """The version up to which the index reaches, the documents and tokens that it holds, and how
    many entries it passed over because they could not be read."""

    indexed: int
    rows: int
    tokens: int
    unread: int


class Source(NamedTuple):
    """A range of versions in a table, of entries that the index may lack."""

    table: str
    condition: str
    after: int
    upto: int


class Scope(NamedTuple):
    """The entries that a search looks at: keys from `low` to below `high`, up to a version, alive
    at a time."""

    low: str = ""
    high: str = LAST_KEY
    version: int = LAST_VERSION
    now: int = 0


class TextIndex:
    """The text index of one catalog."""

    def __init__(self, executor: Executor, queries: Mapping[str, str]) -> None:
        self._executor = executor
        self._queries = queries

    def reach(self, fetch: Fetch) -> Reach:
        """How far the index reaches."""
        ((indexed, rows, tokens, unread),) = fetch(self._queries["text_counters"], {})
        return Reach(int(indexed), int(rows), int(tokens), int(unread))

    def lacks(self, reach: Reach, moment: int | None = None) -> Iterator[Source]:
        """Where entries are that the index lacks: now, or as of an earlier version."""
        if reach.unread:
            yield self._unread(reach)
        yield self._tail(reach, LAST_VERSION if moment is None else moment)
        if moment is not None:
            yield Source(self._queries["history_table"], self._queries["is_seen"], 0, moment)

    def _tail(self, reach: Reach, upto: int = LAST_VERSION) -> Source:
        return Source(self._queries["entry_table"], "", reach.indexed, upto)

    def _unread(self, reach: Reach) -> Source:
        table, condition = self._queries["entry_table"], self._queries["is_unread"]
        return Source(table, condition, 0, reach.indexed)

    def pages(self, fetch: Fetch, source: Source, scope: Scope) -> Iterator[list[EntryRow]]:
        """The entries of a source in version order, in pages of bounded size, none of them empty.

        Without a transaction around both statements a page may lack what was overwritten in
        between: that has a later version by now.
        """
        rows = _fill(self._queries["text_rows"], source)
        after = source.after
        while sizes := self._sizes(fetch, source._replace(after=after), scope, _PAGE_ROWS):
            last = _last_of_page(sizes)
            bounds = {**scope._asdict(), "after": after, "upto": last}
            if page := [EntryRow._make(row) for row in fetch(rows, bounds)]:
                yield page
            after = last

    def _sizes(self, fetch: Fetch, source: Source, scope: Scope, limit: int) -> Sequence[Row]:
        """Version, size and whether it lies in the storage, of the first entries of a source."""
        bounds = {"after": source.after, "upto": source.upto, "page": limit}
        return fetch(_fill(self._queries["text_sizes"], source), {**scope._asdict(), **bounds})

    def is_behind(self, fetch: Fetch, reach: Reach) -> bool:
        """Whether catching up beats evaluating what the index lacks."""
        tail = self._sizes(fetch, self._tail(reach), Scope(), MAX_TAIL + 1)
        return reach.unread > 0 or len(tail) > MAX_TAIL or any(stored for _, _, stored in tail)

    def catch_up(self, reader: TextReader, *, patient: bool = False) -> None:
        """Index the tail, a page in a transaction, and what could not be read before.

        Values are read while nothing is locked. Another writer at work, or a catalog that cannot be
        written, is no reason to fail: what is left is for the search to evaluate.
        """
        try:
            while self._next_page(reader, patient):
                pass
            self._retry_unread(reader)
        except (LockTimeoutError, StorageError):
            return

    def _next_page(self, reader: TextReader, patient: bool) -> bool:
        """Index one page of the tail; whether there may be more."""
        reach = self.reach(self._executor.fetch)
        page = next(self.pages(self._executor.fetch, self._tail(reach), Scope()), None)
        if page is None:
            return False
        documents = list(reader.documents(page))

        def add(tx: Transaction) -> None:
            now = self.reach(tx.all)
            if now.indexed == reach.indexed:  # nobody else was faster
                # Those that a purge has removed since they were read must not come back.
                bounds = {"after": reach.indexed, "upto": page[-1].version}
                there = {version for (version,) in tx.all(self._queries["text_versions"], bounds)}
                self._add(tx, now, [d for d in documents if d.row.version in there])
                params = {"name": "text_indexed", "value": page[-1].version}
                tx.run(self._queries["set_meta"], params)

        self._write(add, patient, len(documents))
        return not reader.exhausted

    def _retry_unread(self, reader: TextReader) -> None:
        """Index what can be read by now of what could not be read before."""
        reach = self.reach(self._executor.fetch)
        if not reach.unread:
            return
        self._spread()
        for page in self.pages(self._executor.fetch, self._unread(reach), Scope()):
            if reader.exhausted:
                return
            if found := [document for document in reader.documents(page) if not document.unread]:
                self._write(partial(self._settle, found), False, len(found))

    def _spread(self) -> None:
        """Where batches queue what is unread as a whole, take it apart."""
        if "spread_unread" in self._queries:
            while True:
                with self._executor.write(patient=False) as tx:
                    if not tx.run(self._queries["spread_unread"], {}):
                        return

    def _settle(self, documents: Sequence[Document], tx: Transaction) -> None:
        """Add what nobody else has added since."""
        settle = self._queries["settle_unread"]
        mine = [d for d in documents if tx.run(settle, {"version": d.row.version})]
        if mine:  # else nothing is locked, and the counters would be written over another's
            self._add(tx, self.reach(tx.all), mine)

    def _write(self, work: Callable[[Transaction], None], patient: bool, rows: int) -> None:
        """Do the work in a write transaction, trying the lock for as long as the work is worth."""
        for _ in range(rows // _ROWS_PER_TRY):
            try:
                with self._executor.write(patient=patient) as tx:
                    return work(tx)
            except LockTimeoutError:
                time.sleep(_PAUSE)
        with self._executor.write(patient=patient) as tx:
            return work(tx)

    def _add(self, tx: Transaction, reach: Reach, documents: Sequence[Document]) -> None:
        read = [document for document in documents if not document.unread]
        unread = [{"version": item.row.version} for item in documents if item.unread]
        if "add_text" in self._queries:
            texts = [{"version": d.row.version, "tokens": " ".join(d.tokens)} for d in read]
            tx.many(self._queries["add_text"], texts)
        else:  # the index is a table of words
            tx.many(self._queries["add_word"], _words(read))
        tx.many(self._queries["add_unread"], unread)
        tokens = reach.tokens + sum(len(document.tokens) for document in read)
        for name, value in (("text_rows", reach.rows + len(read)), ("text_tokens", tokens)):
            tx.run(self._queries["set_meta"], {"name": name, "value": value})

    def tidy(self, reader: TextReader) -> None:
        """Catch up; build the index anew once most of it belongs to entries that are gone."""
        self.catch_up(reader, patient=True)
        with self._executor.write() as tx:
            reach = self.reach(tx.all)
            ((live,),) = tx.all(self._queries["count_indexed"], {"indexed": reach.indexed})
            stale = reach.rows - live > max(live, _FEW)
            if stale:
                self.clear(tx)
            else:
                tx.run(self._queries["drop_stale_unread"], {})
        if stale and not reader.exhausted:
            self.catch_up(reader, patient=True)

    def clear(self, tx: Transaction) -> None:
        """Forget everything; the next search or maintenance builds the index anew."""
        tx.run(self._queries["clear_text"], {})
        tx.run(self._queries["clear_unread"], {})
        for name in TEXT_COUNTERS:
            tx.run(self._queries["set_meta"], {"name": name, "value": 0})


def _words(documents: Iterable[Document]) -> Iterator[Params]:
    """How often each word is in each document."""
    for document in documents:
        length, version = len(document.tokens), document.row.version
        for word, count in Counter(document.tokens).items():
            yield {"word": word, "version": version, "count": count, "length": length}


def _fill(sql: str, source: Source) -> str:
    return sql.replace("{source}", source.table).replace("{condition}", source.condition)


def _last_of_page(sizes: Sequence[Row]) -> int:
    """The last version of a page that begins with these versions and sizes."""
    last, room = sizes[0][0], _PAGE_BYTES
    for version, size, _ in sizes:
        room -= size
        if room < 0:
            break
        last = version
    return int(last)
