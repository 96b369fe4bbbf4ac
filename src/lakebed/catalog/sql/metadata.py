"""The metadata index. With it, filters read few entries that do not match.

A store does not touch the index. One term for each field would make a small store a third slower.
Instead, a large batch brings the index up to date at its end, and so does `maintain`. A filter that
finds many entries waiting for the index adds some of them. Waiting entries are always candidates,
so answers are never out of date.

The terms of ended versions find no entry. A store notes such a version. Whoever adds entries to the
index drops the terms of twice as many ended versions, so the index does not outgrow the entries.

All of this needs versions that become visible in order, which one writer at a time ensures. On
Postgres, a queue takes the place of that order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from lakebed.catalog.sql.shapes import BARE, Shapes
from lakebed.catalog.statements.executor import Executor, Params, Row, Transaction
from lakebed.errors import CatalogError, LakebedError, ValidationError
from lakebed.values.json import decode_text

if TYPE_CHECKING:
    from lakebed.filters import Alternative, Fields, Filter

BATCH = 20_000
"""The number of waiting entries from which on a batch adds them to the index. A filter reads so
many in some tens of milliseconds."""
FEW = 1000
"""The number of waiting entries up to which a filter adds none. It reads so many in a millisecond
or two."""
MAX_CANDIDATES = 5000
"""The number of candidates from which on a query for all matches reads all entries instead."""
_CHUNK = 2000
_ENDED = 500  # ended versions whose terms one transaction drops
_TERMS, _TERMS_IN_TEXT = 10_000, 300  # terms that one statement drops
_ALL = 2**62
_COLUMNS = ("path", "value", "version")


class Narrowing:
    """A condition for the WHERE clause of a scan, with its parameters."""

    __slots__ = ("params", "sql")

    def __init__(self, sql: str = "", params: Params | None = None) -> None:
        self.sql = sql
        self.params: Params = params or {}


class Ranges(NamedTuple):
    """One alternative of a filter: SQL for the versions with its terms, and parameters."""

    sql: str
    params: Params


class MetadataIndex:
    """Finds the candidates of filters in one catalog."""

    def __init__(self, executor: Executor, queries: Mapping[str, str]) -> None:
        self._executor = executor
        self._queries = queries
        self._shapes = Shapes(queries)
        self._stored = 0  # entries stored by batches since the last check for waiting ones

    def ways(self, metadata_filter: Filter) -> list[Ranges]:
        """Return alternatives that each find every match, or none if the index cannot help."""
        found = self._shapes.resolve(metadata_filter.narrow(), self._executor.fetch)
        return [self._way(alternative, bare=bare) for alternative, bare in found]

    def _way(self, alternative: Alternative, *, bare: bool) -> Ranges:
        from lakebed.filters import OVERFLOW

        terms = [*alternative, (OVERFLOW[0], OVERFLOW[1], OVERFLOW[1])]
        params, part = dict[str, object](), self._queries["index_range"]
        for number, (path, low, high) in enumerate(terms):
            params |= {f"path{number}": path, f"from{number}": low, f"to{number}": high}
        parts = [part.replace("{n}", str(number)) for number in range(len(terms))]
        return Ranges(" UNION ALL ".join([*parts, self._queries[BARE]] if bare else parts), params)

    def unmarked(self, metadata_filter: Filter) -> tuple[str, Params] | None:
        """Return the query for entries that the text of their metadata does not rule out.

        Its parameters come with it.
        """
        marks = metadata_filter.fails
        if not marks:
            return None
        mark = self._queries["has_mark"]
        marked = " OR ".join(mark.replace("{n}", str(number)) for number in range(len(marks)))
        params = {f"mark{number}": text for number, text in enumerate(marks)}
        sql = self._queries["list_unmarked"].replace("{marked}", marked)
        return sql, {**params, "brace": "{", "backslash": "\\"}

    def sql(self, name: str, way: Ranges | None = None) -> str:
        """Return a query with the waiting entries and a way into the index filled in."""
        sql = self._queries[name].replace("{waiting}", self._queries["waiting_metadata"])
        return sql.replace("{ranges}", way.sql) if way else sql

    def narrow(self, metadata_filter: Filter) -> Narrowing:
        """Return a condition that leaves out entries that cannot match.

        It is empty if no condition would save time.
        """
        best, fewest, waiting = None, MAX_CANDIDATES, 0
        for way in self.ways(metadata_filter):
            sql = self.sql("count_candidates", way)
            ((count, waiting),) = self._executor.fetch(sql, {**way.params, "cap": fewest})
            if count + waiting < fewest:
                best, fewest = way, count + waiting
        if waiting >= FEW:
            self.take_some()
        if best is None:
            return Narrowing()
        # The limit has a margin for entries that came after the count, so it cuts off nothing.
        return Narrowing(self.sql("narrowing", best), {**best.params, "cap": _ALL})

    def take_some(self) -> None:
        """Add some waiting entries to the index, so that later filters need not read them.

        Does nothing if another client writes, or if the catalog cannot be written.
        """
        with suppress(LakebedError):
            if self._take_in(patient=False):
                self.tidy(lambda: False, most=2 * _CHUNK, patient=False)

    def follow(self, stored: int) -> None:
        """Add the waiting entries to the index, if they are more than a filter should read.

        Called after a batch of `stored` entries. The batch is committed, so this raises no error.
        """
        self._stored += stored
        if self._stored < _CHUNK:  # not every small batch counts the waiting entries
            return
        self._stored = 0
        with suppress(LakebedError):
            ((waiting,),) = self._executor.fetch(self.sql("count_waiting_metadata"), {"cap": BATCH})
            if waiting >= BATCH:
                self.catch_up(lambda: False)

    def catch_up(self, is_over: Callable[[], bool]) -> None:
        """Add the waiting entries to the index, in short transactions, until `is_over`."""
        while not is_over() and self._take_in():
            self.tidy(is_over, most=2 * _CHUNK)

    def _take_in(self, *, patient: bool = True) -> bool:
        """Add some waiting entries to the index in one transaction. Return False if there were
        none."""
        try:
            return self._take(patient, surely_new=True)
        except (CatalogError, ValidationError):
            # The index may already have rows of these versions. A database that was restored from a
            # backup draws the same versions again.
            return self._take(patient, surely_new=False)

    def _take(self, patient: bool, *, surely_new: bool) -> bool:
        queries = self._queries

        def index(tx: Transaction) -> bool:
            if not self._lock(tx, patient=patient):
                return False
            ((value,),) = tx.all(queries["get_setting"], {"name": "metadata_indexed"})
            rows = tx.all(queries["metadata_tail"], {"indexed": int(value), "page": _CHUNK})
            if not rows:
                return False
            terms, shapes = self._terms(rows)
            self._shapes.define(tx, shapes, len(rows))
            terms.sort()  # in the order of the table, so that each page is written once
            if surely_new:
                tx.copy(queries["metadata_table"], _COLUMNS, terms)
            else:
                rows_of = (dict(zip(_COLUMNS, term, strict=True)) for term in terms)
                tx.many(queries["add_metadata_term"], rows_of)
            tx.run(queries["set_meta"], {"name": "metadata_indexed", "value": rows[-1][0]})
            return True

        return self._executor.transact(index, patient=patient)

    def tidy(
        self, is_over: Callable[[], bool], *, most: int | None = None, patient: bool = True
    ) -> None:
        """Drop the terms of ended versions, which would remain candidates for ever.

        Each transaction drops a few, until `is_over`, or until `most` are dropped.
        """
        left = _ALL if most is None else most
        while left > 0 and not is_over():
            found = self._drop_some(min(left, _ENDED), patient)
            left -= found
            if found < _ENDED:
                return

    def _drop_some(self, limit: int, patient: bool) -> int:
        """Drop the terms of some ended versions. Return the number of versions."""
        queries = self._queries

        def drop(tx: Transaction) -> int:
            if not self._lock(tx, patient=patient):
                return 0
            taken = "take_ended_metadata" in queries
            name = "take_ended_metadata" if taken else "ended_metadata"
            rows = tx.all(queries[name], {"page": limit})
            self.forget(tx, [(version, metadata) for _, version, metadata in rows])
            if rows and not taken:
                notes = [{"key": key, "version": version} for key, version, _ in rows]
                tx.many(queries["delete_ended_metadata"], notes)
            return len(rows)

        return self._executor.transact(drop, patient=patient)

    def _lock(self, tx: Transaction, *, patient: bool) -> bool:
        """Keep other clients from changing the index, if a write transaction does not do that by
        itself.

        Returns False if another client is changing it and this call is not `patient`.
        """
        sql = self._queries.get("lock_metadata_index")
        wait = "" if patient else "SKIP LOCKED"
        return sql is None or bool(tx.all(sql.replace("{wait}", wait), {}))

    def forget(self, tx: Transaction, rows: Sequence[Row]) -> None:
        """Drop the terms of versions that are gone. `rows` holds their metadata."""
        terms, shapes = self._terms(rows)
        self._drop(tx, terms)
        self._shapes.undefine(tx, shapes)

    def _terms(self, rows: Sequence[Row]) -> tuple[list[tuple[str, bytes, int]], Counter[Fields]]:
        """Return rows of the index for versions with their metadata, and the shapes of these."""
        from lakebed.filters import index_terms

        described = [(version, metadata) for version, metadata in rows if metadata != "{}"]
        terms = [index_terms(decode_text(metadata)) for _, metadata in described]
        shapes = self._shapes.add_terms(terms)
        versions = (version for version, _ in described)
        return [
            (path, value, version)
            for version, found in zip(versions, terms, strict=True)
            for path, value in found
        ], shapes

    def _drop(self, tx: Transaction, terms: Sequence[tuple[str, bytes, int]]) -> None:
        queries = self._queries
        sql = queries.get("drop_metadata_terms")
        if sql is None:
            rows_of = (dict(zip(_COLUMNS, term, strict=True)) for term in terms)
            tx.many(queries["drop_metadata_term"], rows_of)
            return
        size = _TERMS if "metadata_term" not in queries else _TERMS_IN_TEXT
        for start in range(0, len(terms), size):
            some = terms[start : start + size]
            if "metadata_term" in queries:
                text, params = self._term_rows(some)
                tx.run(sql.replace("{terms}", text), params)
            else:
                columns = map(list, zip(*some, strict=True))
                tx.run(sql, dict(zip(("paths", "values", "versions"), columns, strict=True)))

    def _term_rows(self, terms: Sequence[tuple[str, bytes, int]]) -> tuple[str, Params]:
        """Return rows of the index as the text of a query, and its parameters.

        The terms are in hexadecimal digits.
        """
        params, part = dict[str, object](), self._queries["metadata_term"]
        for number, (path, value, version) in enumerate(terms):
            params[f"path{number}"] = path.encode().hex()
            params[f"value{number}"] = value.hex()
            params[f"version{number}"] = version
        rows = (part.replace("{n}", str(number)) for number in range(len(terms)))
        return " UNION ALL ".join(rows), params
