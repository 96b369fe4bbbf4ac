"""Queries over a lake: what one names is loaded from the catalog, and DuckDB does the rest."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, NamedTuple

import duckdb

from lakebed.catalog.protocol import Catalog
from lakebed.catalog.scan import CatalogScan, Scan
from lakebed.duckdb import relations
from lakebed.duckdb.conditions import Bounds, bounds, columns_read, row_limit
from lakebed.duckdb.filesystem import Grant
from lakebed.duckdb.limits import check
from lakebed.duckdb.result import QueryResult
from lakebed.duckdb.session import QuerySettings, Session
from lakebed.duckdb.statement import Call, Statement, parse, unjudged
from lakebed.errors import QueryError
from lakebed.lake.sql.delta import bring_up_to_date
from lakebed.lake.sql.rows import LoadedRows, copy_rows, load_changes, load_number, load_scan
from lakebed.lake.sql.values import bring_values
from lakebed.lake.sql.wanted import (
    HITS,
    Resolve,
    Wanted,
    called,
    is_renewable,
    moments_of,
    named,
    question_of,
    scan_of,
    want_of,
)
from lakebed.model import Moment

if TYPE_CHECKING:
    from lakebed.lake.entries.windows import ContentReader
    from lakebed.objects.store import ObjectStore

Search = Callable[[str, int], Iterable[tuple[str, float]]]
"""Gives the keys and scores of the best hits for a question."""
Params = Sequence[object] | Mapping[str, object] | None

_KEPT_ROWS = 5_000_000
_KEPT = 100  # of what is kept: a table each, however few rows it has
_LOOK = 0.1  # seconds between two looks whether the one who waits may go on waiting
_RELATION = {"entries_at": "entries"}


class _Kept(NamedTuple):
    """Loaded rows that later queries may use, as they are or brought up to date."""

    rows: LoadedRows
    state: object
    moved: object


class _Used:
    """What a query holds until its result is closed."""

    def __init__(self) -> None:
        self.rows: list[LoadedRows] = []
        self.grants: list[Grant] = []
        self.left = False


class QueryEngine:
    """One DuckDB session over a lake, and the rows that are loaded in it. Safe from any thread."""

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
        self._catalog = catalog
        self._objects = objects
        self._base = "" if self._objects is None else self._objects.uri("")
        self.session = Session(self._objects, settings, external_access=external)
        self._external = external
        self._loading = threading.RLock()
        self._leaving: deque[LoadedRows] = deque()
        self._kept: dict[Wanted, _Kept] = {}
        self.pid = os.getpid()

    def close(self) -> None:
        """Close the session; results that are open raise from then on."""
        self.session.close()

    def run(
        self,
        text: str,
        params: Params,
        resolve: Resolve,
        search: Search,
        moment: Moment | None = None,
    ) -> QueryResult:
        """The result of a query over the lake now, or at a moment, of which `search` gives hits."""
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
            )
        except BaseException:
            done()
            raise

    def _let_go(self, used: _Used) -> None:
        """What a query used is used no more. Never waits: garbage collection may call it in any
        thread, while another loads and waits for that thread."""
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
        else:  # the others are no part of a moment
            tables = frozenset({"entries", "documents"})
            calls = frozenset({relations.SEARCH})
        with closing(self.session.judge()) as judge:
            try:
                return parse(judge, text, params, tables, calls)
            except QueryError:
                if not self._external:
                    raise
        # Only what is a query was looked through, for what it needs.
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
        """Load what the statement names, and let the connection see it."""
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
            loaded = self.load([*tables.values(), *calls.values()])
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
        """Make the hits of the searches in a query a table, and the function that reads it."""
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
        """One thread at a time loads; who waits can leave. Errors of DuckDB are QueryErrors."""
        while not self._loading.acquire(timeout=_LOOK):
            check()
        try:
            self._release()
            with self.session.errors():
                yield
        finally:
            self._loading.release()

    def load(self, wanted: Sequence[Wanted]) -> dict[Wanted, LoadedRows]:
        """The rows of relations, all from one transaction of the catalog, or kept from an earlier
        one that saw the same. Hold them before you let others load."""
        if not wanted:
            return {}
        scans = {want: scan_of(want) for want in wanted if want.relation != "changes"}
        found = dict[Wanted, LoadedRows]()
        try:
            with self._catalog.scan(list(scans.values())) as scan:
                self._forget_stale(scan)
                for want in dict.fromkeys(wanted):
                    found[want] = self._find(scan, want) or self._load(scan, want, scans.get(want))
        except BaseException:
            for rows in found.values():  # those that are not kept go
                rows.hold()
                rows.release()
            raise
        self._make_room(found)
        return found

    def _find(self, scan: CatalogScan, want: Wanted) -> LoadedRows | None:
        """Rows that are kept and right, or can be made so."""
        same = [other for other in self._kept if want.is_served_by(other)]
        wider = list[Wanted]()
        if want.relation != "documents":  # whose values would all be read
            whole = want._replace(bounds=Bounds(), limit=None)
            wider = [other for other in self._kept if whole.is_served_by(other)]
        for other in (*same, *wider):
            if _is_current(scan, other, self._kept[other]):
                return self._kept[other].rows
        # A number is counted sooner than rows are brought up to date.
        renewed = (self._renew(scan, other) for other in same if want.columns)
        return next(filter(None, renewed), None)

    def _renew(self, scan: CatalogScan, want: Wanted) -> LoadedRows | None:
        """The rows that are kept, brought up to date; None if it takes longer than to load them."""
        kept = self._kept[want]
        del self._kept[want]
        try:
            with self.session.errors():
                return self._renewed(scan, want, kept.rows)
        finally:
            kept.rows.release()

    def _renewed(self, scan: CatalogScan, want: Wanted, rows: LoadedRows) -> LoadedRows | None:
        changes = want.moments == (None,)
        own = copy_rows(rows) if changes and rows.is_shared else rows
        own.hold()
        try:
            if changes:
                if not bring_up_to_date(scan, own):
                    return None
            else:
                for moment in want.moments:
                    assert moment is not None
                    scan.check(moment)
            self._keep(want, _Kept(own, scan.state, scan.moved))
        finally:
            own.release()
        return own

    def _load(self, scan: CatalogScan, want: Wanted, how: Scan | None) -> LoadedRows:
        with self.session.errors():
            if how is None:
                a, b = want.moments
                assert a is not None
                changed = scan.diff(a, b, want.bounds.low, want.bounds.high)
                rows = load_changes(self.session, changed, want.columns)
            elif not want.columns:  # and not kept: nothing tells when some of them expire
                return load_number(self.session, scan.total(how.moment), want.relation)
            else:
                rows = load_scan(self.session, scan, how, want.relation, want.columns)
        is_present = None in want.moments
        # What has not changed yet does so when it expires, and no row of a difference tells when.
        lasts = not (how is None and is_present)
        if lasts and (scan.state is not None or is_renewable(want)):
            self._keep(want, _Kept(rows, scan.state, scan.moved))
        return rows

    def _keep(self, want: Wanted, kept: _Kept) -> None:
        kept.rows.hold()
        self._kept[want] = kept

    def _make_room(self, found: Mapping[Wanted, LoadedRows]) -> None:
        """Keep no more rows than there is room for, and none that others have more columns of;
        those that were just found stay."""
        used = list(found.values())
        for want, kept in list(self._kept.items()):
            others = (other for other in self._kept if other != want)
            if kept.rows not in used and any(map(want.is_served_by, others)):
                del self._kept[want]
                kept.rows.release()
        count = sum(kept.rows.count for kept in self._kept.values())
        for want, kept in list(self._kept.items()):
            is_much = count > _KEPT_ROWS or len(self._kept) > _KEPT
            if is_much and kept.rows not in used:
                count -= kept.rows.count
                del self._kept[want]
                kept.rows.release()

    def _forget_stale(self, scan: CatalogScan) -> None:
        for want, kept in list(self._kept.items()):
            lasts = kept.moved == scan.moved and is_renewable(want)
            if not lasts and not _is_current(scan, want, kept):
                del self._kept[want]
                kept.rows.release()

    def view(self, rows: LoadedRows, grants: list[Grant], *, values: bool) -> str:
        """What a query sees of loaded rows, as a SELECT. It reads packs by the grant that is added
        to `grants`. Without `values`, reading the value of a document is an error."""
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
        """The table function of that name, as the calls in the query need it."""
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


def _is_current(scan: CatalogScan, want: Wanted, kept: _Kept) -> bool:
    """Whether rows are still right: the catalog's state is the same and, of those of the present,
    none has expired."""
    if scan.state is None or kept.state != scan.state:
        return False
    if None not in want.moments:
        return True
    expiry, read_at = kept.rows.next_expiry, kept.rows.read_at
    # By a clock that was set back, what had expired is there again.
    return read_at <= scan.now and (expiry is None or expiry > scan.now)


def _is_argument(parameter: str, value: object) -> str:
    """The condition that a parameter of a macro has a value; '5' is a name, 5 a version."""
    if value is None:
        return f"{parameter} IS NULL"
    other = "=" if isinstance(value, str) else "!="
    return (
        f"CAST({parameter} AS VARCHAR) = {relations.literal(str(value))} "
        f"AND typeof({parameter}) {other} 'VARCHAR'"
    )
