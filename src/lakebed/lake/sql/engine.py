"""Run queries over a lake.

The relations that a query names are loaded from the catalog. DuckDB does the rest.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import duckdb

from lakebed.catalog.protocol import Catalog
from lakebed.duckdb import relations
from lakebed.duckdb.conditions import bounds, columns_read, row_limit
from lakebed.duckdb.filesystem import Grant
from lakebed.duckdb.limits import check
from lakebed.duckdb.result import QueryResult
from lakebed.duckdb.session import QuerySettings, Session
from lakebed.duckdb.statement import Call, Statement, parse, unjudged
from lakebed.errors import QueryError
from lakebed.lake.sql.row_cache import RowCache
from lakebed.lake.sql.rows import LoadedRows
from lakebed.lake.sql.values import bring_values
from lakebed.lake.sql.wanted import (
    HITS,
    Resolve,
    called,
    moments_of,
    named,
    question_of,
    want_of,
)
from lakebed.model import Moment

if TYPE_CHECKING:
    from lakebed.lake.contents.windows import ContentReader
    from lakebed.objects.store import ObjectStore

Search = Callable[[str, int], Iterable[tuple[str, float]]]
"""A function that returns the keys and scores of the best hits for a question."""
Params = Sequence[object] | Mapping[str, object] | None

_LOOK = 0.1  # seconds between two checks whether a waiting query was cancelled
_RELATION = {"entries_at": "entries"}


class _Used:
    """What a query holds until its result is closed."""

    def __init__(self) -> None:
        self.rows: list[LoadedRows] = []
        self.grants: list[Grant] = []
        self.left = False


class QueryEngine:
    """A DuckDB session over a lake, and the rows that are loaded in it. Safe to use from any
    thread."""

    def __init__(
        self,
        lake: ContentReader,
        catalog: Catalog,
        objects: ObjectStore | None,
        settings: QuerySettings,
        *,
        external: bool = False,
    ) -> None:
        self._lake = lake
        self._base = "" if objects is None else objects.uri("")
        self.session = Session(objects, settings, external_access=external)
        self._external = external
        self._loading = threading.RLock()
        self._leaving: deque[LoadedRows] = deque()
        self.cache = RowCache(catalog, self.session)
        self.pid = os.getpid()

    def close(self) -> None:
        """Close the session. Results that are still open raise QueryError from then on."""
        self.session.close()

    def run(
        self,
        text: str,
        params: Params,
        resolve: Resolve,
        search: Search,
        moment: Moment | None = None,
    ) -> QueryResult:
        """Return the result of a query over the lake now, or at a moment.

        `search` finds the hits of the query's searches. Raises QueryError if the query is refused,
        fails or takes too long.
        """
        connection = self.session.connect()
        used = _Used()

        def done() -> None:
            if not used.left:
                used.left = True
                self.session.release(connection)
                self._let_go(used)

        try:
            allowance = self.session.allowance()
            with allowance.spending(), self.session.errors():
                statement = self._parse(text, params, moment)
                self._prepare(connection, statement, params, resolve, moment, used)
                self._search(connection, statement, search)
            arguments = [] if params is None else [params]
            return QueryResult(
                self.session,
                connection,
                lambda: connection.execute(statement.text, *arguments),
                done,
                allowance,
                (lambda: connection.sql(statement.text, params=params)) if statement.tree else None,
            )
        except BaseException:
            done()
            raise

    def _let_go(self, used: _Used) -> None:
        """Release what a query used.

        This never waits. Garbage collection may call it in any thread, while another thread loads
        and waits for that thread.
        """
        for grant in used.grants:
            grant.release()
        self._leaving.extend(used.rows)
        if self._loading.acquire(blocking=False):
            try:
                self._release()
            finally:
                self._loading.release()

    def _release(self) -> None:
        while self._leaving:
            self._leaving.popleft().release()

    def _parse(self, text: str, params: Params, moment: object) -> Statement:
        if moment is None:
            tables, calls = relations.TABLES, relations.CALLS | {relations.SEARCH}
        else:  # the other relations are not part of a moment
            tables = frozenset({"entries", "documents"})
            calls = frozenset({relations.SEARCH})
        with closing(self.session.judge()) as judge:
            try:
                return parse(judge, text, params, tables, calls)
            except QueryError:
                if not self._external:
                    raise
        # DuckDB tells which relations a query needs, but not which another statement needs.
        return unjudged(text, tables, calls)

    def _prepare(
        self,
        connection: duckdb.DuckDBPyConnection,
        statement: Statement,
        params: Params,
        resolve: Resolve,
        moment: Moment | None,
        used: _Used,
    ) -> None:
        """Load the relations that the statement names, and define views of them."""
        tables = {
            name: want_of(
                name,
                (moment,),
                bounds(statement, named(name), params),
                columns_read(statement, named(name)),
                row_limit(statement, named(name), params),
            )
            for name in statement.tables
        }
        calls = {
            call: want_of(
                _RELATION.get(call.name, call.name),
                moments_of(call, resolve),
                bounds(statement, called(call.name), params),
                columns_read(statement, called(call.name)),
            )
            for call in statement.calls
            if call.name != relations.SEARCH
        }
        with self.loading():
            loaded = self.cache.load([*tables.values(), *calls.values()])
            for rows in loaded.values():
                rows.hold()
                used.rows.append(rows)
            for name, wanted in tables.items():
                rows = loaded[wanted]
                view = self.view(rows, used.grants, values="value" in wanted.columns)
                connection.execute(f"CREATE TEMP VIEW {name} AS {view}")
            for name in {call.name for call in calls}:
                same = {c: loaded[w] for c, w in calls.items() if c.name == name}
                connection.execute(self._macro(name, same))

    def _search(
        self, connection: duckdb.DuckDBPyConnection, statement: Statement, search: Search
    ) -> None:
        """Store the hits of the query's searches in a table, and define the function that reads
        it."""
        calls = [call for call in statement.calls if call.name == relations.SEARCH]
        if not calls:
            return
        connection.execute(
            "CREATE TEMP TABLE lakebed_hits "
            "(question VARCHAR, wanted BIGINT, place BIGINT, key VARCHAR, score DOUBLE)"
        )
        for call in calls:
            question, wanted = question_of(call)
            rows = [
                (question, wanted, place, key, score)
                for place, (key, score) in enumerate(search(question, wanted), 1)
            ]
            if rows:
                connection.executemany("INSERT INTO lakebed_hits VALUES (?, ?, ?, ?, ?)", rows)
        select = (
            "SELECT key, score FROM lakebed_hits WHERE question = a AND wanted = {} ORDER BY place"
        )
        connection.execute(
            f"CREATE TEMP MACRO {relations.SEARCH}"
            f"(a) AS TABLE ({select.format(HITS)}), (a, b) AS TABLE ({select.format('b')})"
        )

    @contextmanager
    def loading(self) -> Iterator[None]:
        """Let one thread at a time load. A waiting thread can be interrupted. Errors of DuckDB
        become QueryError."""
        while not self._loading.acquire(timeout=_LOOK):
            check()
        try:
            self._release()
            with self.session.errors():
                yield
        finally:
            self._loading.release()

    def view(self, rows: LoadedRows, grants: list[Grant], *, values: bool) -> str:
        """Return the SELECT through which a query sees loaded rows.

        It reads packs by the grant that is added to `grants`. Without `values`, reading the value
        of a document is an error.
        """
        if rows.relation != "documents":
            return relations.select(rows.relation, rows.columns, rows.table, self._base)
        if not values:
            shown = relations.shown("documents", rows.columns, self._base)
            value = relations.unread("value", "JSON")
            return f"SELECT {shown}, {value} FROM {rows.table} WHERE {relations.DOCUMENT}"
        where = bring_values(self.session, rows, self._lake)
        packs = None
        if where.packs:
            assert self.session.files is not None
            grants.append(self.session.files.grant(where.packs))
            packs = grants[-1].address
        return relations.documents(
            rows.table,
            rows.columns,
            self._base,
            fetched=where.fetched,
            packs=packs,
            stride=where.stride,
        )

    def _macro(self, name: str, loaded: Mapping[Call, LoadedRows]) -> str:
        """Return the table function of that name, with an overload for each call in the query."""
        by_arity = dict[int, list[str]]()
        for call, rows in loaded.items():
            conditions = [
                _is_argument(parameter, value)
                for parameter, value in zip("ab", call.arguments, strict=False)
            ]
            select = relations.select(rows.relation, rows.columns, rows.table, self._base)
            by_arity.setdefault(len(call.arguments), []).append(
                f"{select} WHERE {' AND '.join(conditions)}"
            )
        overloads = [
            f"({', '.join('ab'[:arity])}) AS TABLE ({' UNION ALL '.join(selects)})"
            for arity, selects in by_arity.items()
        ]
        return f"CREATE TEMP MACRO {name}{', '.join(overloads)}"


def _is_argument(parameter: str, value: object) -> str:
    """Return the condition that a parameter of a macro has a value. '5' is a name, 5 a version."""
    if value is None:
        return f"{parameter} IS NULL"
    other = "=" if isinstance(value, str) else "!="
    return (
        f"CAST({parameter} AS VARCHAR) = {relations.literal(str(value))} "
        f"AND typeof({parameter}) {other} 'VARCHAR'"
    )
