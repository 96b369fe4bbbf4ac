"""The metadata index, with which filters read few entries that do not match.

A store does not touch it: one term a field would make a small store a third slower. A large batch
brings it up to date at its end, and so does `maintain`. A filter that finds many entries waiting
for it takes in some. What waits always counts as a candidate, so answers are fresh in any case.
Terms of versions that have ended find no entry. A store notes such a version, and whoever takes
entries in drops the terms of twice as many, so the index does not outgrow its entries. All of this
rests on versions becoming visible in their order, as with one writer at a time, or on a queue, as
on Postgres.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from lakebed.catalog.statements.executor import Executor, Params, Row, Transaction
from lakebed.errors import CatalogError, LakebedError, ValidationError
from lakebed.values.json import decode_text

if TYPE_CHECKING:
    from lakebed.filters import Alternative, Filter

BATCH = 20_000
"""Entries that may wait for the index before a batch takes them in: a filter reads them in some
tens of milliseconds."""
FEW = 1000
"""Entries that may wait without a filter taking any in: it reads them in a millisecond or two."""
MAX_CANDIDATES = 5000
"""Beyond it, a query that wants all matches would rather read all entries."""
_CHUNK = 2000
_ENDED = 500  # versions whose terms are dropped in one transaction
_TERMS, _TERMS_IN_TEXT = 10_000, 300  # that are dropped in one statement
_ALL = 2**62
_COLUMNS = ("path", "value", "version")


class Narrowing:
    """A condition for the WHERE of a scan, with its parameters."""

    __slots__ = ("params", "sql")

    def __init__(self, sql: str = "", params: Params | None = None) -> None:
        self.sql = sql
        self.params: Params = params or {}


class Ranges(NamedTuple):
    """One alternative of a filter: SQL for the versions that have its terms, and its parameters."""

    sql: str
    params: Params


class MetadataIndex:
    """Finds candidates for filters in one catalog."""

    def __init__(self, executor: Executor, queries: Mapping[str, str]) -> None:
        self._executor = executor
        self._queries = queries
        self._stored = 0  # by batches, since they last looked at what waits

    def ways(self, metadata_filter: Filter) -> list[Ranges]:
        """Return the alternatives that together find every entry that matches, or none if the index
        cannot help."""
        return [self._way(alternative) for alternative in metadata_filter.narrow()]

    def _way(self, alternative: Alternative) -> Ranges:
        from lakebed.filters import OVERFLOW

        terms = [*alternative, (OVERFLOW[0], OVERFLOW[1], OVERFLOW[1])]
        params, part = dict[str, object](), self._queries["index_range"]
        for number, (path, low, high) in enumerate(terms):
            params |= {f"path{number}": path, f"from{number}": low, f"to{number}": high}
        parts = (part.replace("{n}", str(number)) for number in range(len(terms)))
        return Ranges(" UNION ALL ".join(parts), params)

    def unmarked(self, metadata_filter: Filter) -> tuple[str, Params] | None:
        """Return the query that leaves out what the text of its metadata rules out, and its
        parameters."""
        marks = metadata_filter.fails
        if not marks:
            return None
        mark = self._queries["has_mark"]
        marked = " OR ".join(mark.replace("{n}", str(number)) for number in range(len(marks)))
        params = {f"mark{number}": text for number, text in enumerate(marks)}
        sql = self._queries["list_unmarked"].replace("{marked}", marked)
        return sql, {**params, "brace": "{", "backslash": "\\"}

    def sql(self, name: str, way: Ranges | None = None) -> str:
        """Return a query with what waits for the index, and a way into it, filled in."""
        sql = self._queries[name].replace("{waiting}", self._queries["waiting_metadata"])
        return sql.replace("{ranges}", way.sql) if way else sql

    def narrow(self, metadata_filter: Filter) -> Narrowing:
        """Return a condition that leaves out entries which cannot match. It is empty if none is
        worth it."""
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
        # Nothing reaches the limit: what has come since it was counted is within it.
        return Narrowing(self.sql("narrowing", best), {**best.params, "cap": _ALL})

    def take_some(self) -> None:
        """Take in a little of what waits, so that later filters need not read it. If another writer
        is at work, or the catalog cannot be written, do nothing."""
        with suppress(LakebedError):
            if self._take_in(patient=False):
                self.tidy(lambda: False, most=2 * _CHUNK, patient=False)

    def follow(self, stored: int) -> None:
        """Take in what waits, if it is more than a filter should read. Called after a batch of that
        many entries, which has happened whatever comes of this."""
        self._stored += stored
        if self._stored < _CHUNK:  # small batches do not count what waits, each for itself
            return
        self._stored = 0
        with suppress(LakebedError):
            ((waiting,),) = self._executor.fetch(self.sql("count_waiting_metadata"), {"cap": BATCH})
            if waiting >= BATCH:
                self.catch_up(lambda: False)

    def catch_up(self, is_over: Callable[[], bool]) -> None:
        """Take in what waits, in short transactions, until `is_over`."""
        while not is_over() and self._take_in():
            self.tidy(is_over, most=2 * _CHUNK)

    def _take_in(self, *, patient: bool = True) -> bool:
        """Index some of the entries that wait, in one transaction. Return False if there were
        none."""
        try:
            return self._take(patient, surely_new=True)
        except (CatalogError, ValidationError):
            # Rows of the index may be there: of versions that a database drew, forgot when it was
            # restored from a backup, and drew again.
            return self._take(patient, surely_new=False)

    def _take(self, patient: bool, *, surely_new: bool) -> bool:
        from lakebed.filters import index_terms

        queries = self._queries

        def index(tx: Transaction) -> bool:
            if not self._lock(tx, patient=patient):
                return False
            ((value,),) = tx.all(queries["get_setting"], {"name": "metadata_indexed"})
            rows = tx.all(queries["metadata_tail"], {"indexed": int(value), "page": _CHUNK})
            if not rows:
                return False
            terms = [
                (path, value, version)
                for version, metadata in rows
                if metadata != "{}"
                for path, value in index_terms(decode_text(metadata))
            ]
            terms.sort()  # as they lie in the table, so that each of its pages is written once
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
        """Drop the terms of versions that have ended, which would count as candidates for ever: a
        few in each transaction, until `is_over`, or `most` of them."""
        left = _ALL if most is None else most
        while left > 0 and not is_over():
            found = self._drop_some(min(left, _ENDED), patient)
            left -= found
            if found < _ENDED:
                return

    def _drop_some(self, limit: int, patient: bool) -> int:
        """Drop the terms of some versions that have ended, and return of how many."""
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
        """Keep others from filling the index or dropping terms, where a write transaction does not
        do that. Return False if others are at it and this call does not wait."""
        sql = self._queries.get("lock_metadata_index")
        wait = "" if patient else "SKIP LOCKED"
        return sql is None or bool(tx.all(sql.replace("{wait}", wait), {}))

    def forget(self, tx: Transaction, rows: Sequence[Row]) -> None:
        """Drop the terms of these versions, which are gone. Their metadata is given."""
        from lakebed.filters import index_terms

        queries = self._queries
        terms = [
            (path, value, version)
            for version, metadata in rows
            for path, value in index_terms(decode_text(metadata))
        ]
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
        """Return rows of the index as the text of a query with hexadecimal digits, and its
        parameters."""
        params, part = dict[str, object](), self._queries["metadata_term"]
        for number, (path, value, version) in enumerate(terms):
            params[f"path{number}"] = path.encode().hex()
            params[f"value{number}"] = value.hex()
            params[f"version{number}"] = version
        rows = (part.replace("{n}", str(number)) for number in range(len(terms)))
        return " UNION ALL ".join(rows), params
