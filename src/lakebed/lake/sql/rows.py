"""Rows of the catalog as tables of a query session."""

from __future__ import annotations

from collections.abc import Iterator, Set
from itertools import count, islice
from typing import TYPE_CHECKING, NamedTuple

from lakebed.catalog.scan import COLUMNS, CatalogScan, Scan, schema_of
from lakebed.duckdb.limits import check
from lakebed.duckdb.relations import LOADED
from lakebed.duckdb.session import ROWS, Session
from lakebed.model import DiffRow

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa


_numbers = count()
_CHUNK = 10_000
_INSERTED_BYTES = 16 << 20
_MADE = {
    "metadata": "metadata::JSON",
    "uri": "coalesce(b.uri, p.uri)",
    "value": "decode(inline_value)::JSON",
}
"""How a loaded column is made from scanned columns, unless it is the same."""
_PACKED = "LEFT JOIN packs p ON p.id = b.pack_id"  # a small table with the names of the packs


class Values(NamedTuple):
    """Where the values of documents are, unless they are inline.

    `fetched`: the table of the values that were read one by one, or None. `packs`: the packs that
    queries read whole. `stride`: the distance between the places of one pack and of the next.
    """

    fetched: str | None
    packs: list[str]
    stride: int


class LoadedRows:
    """A table of a session. It is dropped when nobody holds it any more.

    `columns`: the loaded columns of the relation. They are empty if only the number of rows
    matters. The table is then a view of `number` rows. `count`: the number of rows. `next_expiry`:
    the earliest expiry among them, in microseconds. `packs`: how many objects each pack holds.
    `values`: where the values of documents are, once somebody has asked for them. `read_at`: the
    time at which the rows were read, in microseconds. `changed`: how many rows have come and gone
    since they were loaded. `added`: whether values of new rows must still be fetched.
    """

    def __init__(
        self, session: Session, relation: str, columns: Set[str], number: int | None = None
    ) -> None:
        self.session = session
        self.relation = relation
        self.columns = frozenset(columns)
        self._is_view = number is not None
        if number is None:
            self.table = new_table(session, self.definition)
        else:
            self.table = new_name()
            _execute(
                session, f"CREATE VIEW {self.table} AS SELECT 0 AS nothing FROM range({number})"
            )
        self.count = 0
        self.next_expiry: int | None = None
        self.packs: dict[int, int] = {}
        self.values: Values | None = None
        self.read_at = 0
        self.changed = 0
        self.added = False
        self._held = 0

    @property
    def definition(self) -> str:
        """The columns of the table, as SQL."""
        kinds = LOADED[self.relation].items()
        columns = [f"{name} {kind}" for name, kind in kinds if name in self.columns]
        return ", ".join(columns)

    @property
    def is_shared(self) -> bool:
        """Whether more than one holder has the table."""
        return self._held > 1

    def hold(self) -> None:
        """Keep the table until `release`."""
        self._held += 1

    def release(self) -> None:
        """Let the table go. The last holder drops it."""
        self._held -= 1
        if self._held == 0:
            drop(self.session, self.table, "VIEW" if self._is_view else "TABLE")
            if self.values is not None and self.values.fetched is not None:
                drop(self.session, self.values.fetched)


def copy_rows(rows: LoadedRows) -> LoadedRows:
    """Copy the rows into tables of their own, so that they can be changed while others read."""
    session = rows.session
    copy = LoadedRows(session, rows.relation, rows.columns)
    connection = session.connect()
    try:
        connection.execute(f"CREATE OR REPLACE TABLE {copy.table} AS FROM {rows.table}")
        copy.values = rows.values
        if rows.values is not None and rows.values.fetched is not None:
            fetched = f"{copy.table}_fetched"
            connection.execute(f"CREATE TABLE {fetched} AS FROM {rows.values.fetched}")
            copy.values = rows.values._replace(fetched=fetched)
    except BaseException:
        copy.values = None
        drop(session, copy.table)
        raise
    finally:
        session.release(connection)
    copy.count, copy.next_expiry, copy.packs = rows.count, rows.next_expiry, rows.packs
    copy.read_at, copy.changed, copy.added = rows.read_at, rows.changed, rows.added
    return copy


def new_name() -> str:
    """Return a new name for a table of loaded rows."""
    return f"memory.{ROWS}.r{next(_numbers)}"


def new_table(session: Session, columns: str) -> str:
    """Create an empty table in the session. Returns its name."""
    name = new_name()
    _execute(session, f"CREATE TABLE {name} ({columns})")
    return name


def drop(session: Session, table: str, kind: str = "TABLE") -> None:
    """Drop a table. A reader that has begun can finish."""
    if not session.closed:
        _execute(session, f"DROP {kind} IF EXISTS {table}")


def _execute(session: Session, sql: str) -> None:
    connection = session.connect()
    try:
        connection.execute(sql)
    finally:
        session.release(connection)


def load_number(session: Session, number: int, relation: str) -> LoadedRows:
    """Load a number of rows without columns."""
    rows = LoadedRows(session, relation, set(), number)
    rows.count = number
    return rows


def load_scan(
    session: Session, scan: CatalogScan, how: Scan, relation: str, columns: Set[str]
) -> LoadedRows:
    """Load the rows of a scan. `relation`: the relation whose rows they are."""
    rows = LoadedRows(session, relation, columns)
    connection = session.connect()
    try:
        rows.count = insert_scan(connection, scan, how, rows, rows.table)
        note_read(connection, scan, rows)
    except BaseException:
        session.release(connection)
        drop(session, rows.table)
        raise
    session.release(connection)
    return rows


def insert_scan(
    connection: duckdb.DuckDBPyConnection, scan: CatalogScan, how: Scan, rows: LoadedRows, into: str
) -> int:
    """Insert the rows of a scan into a table of loaded rows. Returns their number."""
    inserted = 0
    sql = f"INSERT INTO {into} {_insert(connection, scan, rows)}"
    for some in _together(scan.rows(how)):
        connection.register("batch", some)
        connection.execute(sql)
        connection.unregister("batch")
        inserted += some.num_rows
    return inserted


def note_read(connection: duckdb.DuckDBPyConnection, scan: CatalogScan, rows: LoadedRows) -> None:
    """Note the transaction from which the rows come."""
    rows.read_at = scan.now
    if "expires_at" in rows.columns:
        query = f"SELECT epoch_us(min(expires_at)) FROM {rows.table}"
        ((rows.next_expiry,),) = connection.execute(query).fetchall()


def _together(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Join batches into a few tables of bounded size. DuckDB inserts large tables four times as
    fast."""
    import pyarrow as pa

    some, size = list[pa.RecordBatch](), 0
    for batch in batches:
        check()
        some.append(batch)
        size += batch.nbytes
        if size >= _INSERTED_BYTES:
            yield pa.Table.from_batches(some)
            some, size = [], 0
    if some:
        yield pa.Table.from_batches(some)


def _insert(connection: duckdb.DuckDBPyConnection, scan: CatalogScan, rows: LoadedRows) -> str:
    """Return the SELECT that turns a batch into loaded rows."""
    relation = rows.relation
    if relation == "snapshots":
        return "SELECT * FROM batch"
    import pyarrow as pa

    packs = pa.Table.from_batches(scan.rows(Scan("packs")), schema_of(COLUMNS["packs"]))
    rows.packs = dict(zip(packs["id"].to_pylist(), packs["objects"].to_pylist(), strict=True))
    connection.register("packs", packs)
    columns = ", ".join(_MADE.get(name, name) for name in LOADED[relation] if name in rows.columns)
    return f"SELECT {columns} FROM batch b {_PACKED if 'uri' in rows.columns else ''}"


def load_changes(session: Session, changed: Iterator[DiffRow], columns: Set[str]) -> LoadedRows:
    """Load the rows of a difference."""
    from lakebed.lake.arrow.changes import changes_to_arrow

    rows = LoadedRows(session, "changes", columns)
    names = ", ".join(name for name in LOADED["changes"] if name in columns)
    connection = session.connect()
    try:
        while chunk := list(islice(changed, _CHUNK)):
            check()
            connection.register("batch", changes_to_arrow(chunk))
            # The column's type turns text into JSON.
            connection.execute(f"INSERT INTO {rows.table} SELECT {names} FROM batch")
            connection.unregister("batch")
            rows.count += len(chunk)
    finally:
        session.release(connection)
    return rows
