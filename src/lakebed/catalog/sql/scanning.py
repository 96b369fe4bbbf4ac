"""Gives whole relations of a catalog as Arrow, from one transaction, to a query engine."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from itertools import islice
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from lakebed.catalog.scan import (
    ENTRY_COLUMNS,
    OF_CONTENTS,
    VERSIONS,
    WITHOUT_VALUES,
    CatalogScan,
    Scan,
    schema_of,
)
from lakebed.catalog.sql.metadata import MetadataIndex, Narrowing
from lakebed.catalog.statements.executor import Executor, Params, Row, Transaction
from lakebed.model import LAST_KEY, DiffRow, Moment

if TYPE_CHECKING:
    import pyarrow as pa

BATCH = 20_000
"""The number of rows that are converted to Arrow at once."""
_OF_CONTENTS = {name: f'o."{name}"' for name, _ in ENTRY_COLUMNS if name in OF_CONTENTS} | {
    "inline_value": 'CASE WHEN o."format" = \'json\' THEN o."inline_value" END AS "inline_value"'
}
_KEYS = 'AND e."key" >= :low AND e."key" < :high'
_FORMAT = 'AND o."format" = :format'
_ABOVE = 'AND e."version" > :above'


@runtime_checkable
class ArrowTransaction(Protocol):
    """A transaction that gives Arrow faster than row by row, and that can tell its state."""

    def batches(self, sql: str, params: Params, schema: pa.Schema) -> Iterator[pa.RecordBatch]: ...

    def state(self) -> object: ...


def row_batches(rows: Generator[Row], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yield rows as Arrow batches of bounded size."""
    with closing(rows):
        yield from chunk_batches(iter(lambda: list(islice(rows, BATCH)), []), schema)


def chunk_batches(chunks: Iterable[Sequence[Row]], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yield an Arrow batch for each list of rows."""
    import pyarrow as pa

    for chunk in chunks:
        columns = zip(*chunk, strict=True)
        arrays = [pa.array(c, field.type) for c, field in zip(columns, schema, strict=True)]
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)


class Scanned(Protocol):
    """The calls of the catalog over SQL text that a scan uses."""

    _executor: Executor
    _queries: Mapping[str, str]
    _index: MetadataIndex

    def _check(self, tx: Transaction, moment: Moment) -> None: ...

    def diff_in(
        self, tx: Transaction, a: Moment, b: Moment | None, low: str, high: str
    ) -> Iterator[DiffRow]: ...


@contextmanager
def open_scan(catalog: Scanned, wanted: Sequence[Scan]) -> Iterator[CatalogScan]:
    """Open the scan of a SQL catalog. `Catalog.scan` describes it."""
    # The index may have to catch up, which takes a separate write transaction.
    narrowings = {
        scan: catalog._index.narrow(scan.metadata_filter) for scan in wanted if scan.metadata_filter
    }
    with catalog._executor.reading(lambda tx: _SQLScan(catalog, tx, narrowings)) as scan:
        try:
            yield scan
        finally:
            scan.close()


class _SQLScan:
    def __init__(
        self, catalog: Scanned, tx: Transaction, narrowings: Mapping[Scan, Narrowing]
    ) -> None:
        self._catalog = catalog
        self._queries = catalog._queries
        self._tx = tx
        self._narrowings = narrowings
        self._begun: list[Generator[pa.RecordBatch]] = []
        # The transaction sees one state from its first read on.
        ((self.moved,),) = tx.all(self._queries["get_setting"], {"name": "objects_moved"})
        self.now = tx.now()
        self.state = tx.state() if isinstance(tx, ArrowTransaction) else None

    def close(self) -> None:
        """Release unread rows.

        psycopg would wait for them at the rollback, and SQLite would warn about them when it is
        closed.
        """
        for rows in self._begun:
            with suppress(ValueError):  # DuckDB still reads them, in an abandoned thread
                rows.close()

    def rows(self, scan: Scan) -> Iterator[pa.RecordBatch]:
        rows = self._rows(scan)
        self._begun.append(rows)
        return rows

    def _rows(self, scan: Scan) -> Generator[pa.RecordBatch]:
        params: dict[str, object] = {"low": scan.low, "high": scan.high, "now": self.now}
        if scan.moment:
            self.check(scan.moment)
            params |= {"version": scan.moment.version, "now": scan.moment.time}
        if scan.limit is not None:
            params |= {"page": scan.limit, "format": scan.format}
        narrowing = self._narrowings.get(scan, Narrowing())
        sql = self._queries[_query(scan)].replace("{scan_columns}", _columns(scan))
        if scan.above is not None:
            params["above"] = scan.above
        sql = sql.replace("{keys}", _condition(scan))
        sql = sql.replace("{format}", "" if scan.format is None else _FORMAT)
        sql = sql.replace("{narrowing}", narrowing.sql)
        sql = sql.replace("{order}", self._queries.get("scan_order", "") if scan.ordered else "")
        params |= narrowing.params
        yield from self._batches(sql, params, scan.schema())

    def total(self, moment: Moment | None) -> int:
        params: dict[str, object] = {"now": self.now}
        sql = self._queries["count_all"]
        if moment is not None:
            self.check(moment)
            params = {"version": moment.version, "now": moment.time}
            sql = self._queries["count_all_at"]
        ((count,),) = self._tx.all(sql, params)
        return int(count)

    def _batches(self, sql: str, params: Params, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        if isinstance(self._tx, ArrowTransaction):
            yield from self._tx.batches(sql, params, schema)
        else:
            yield from row_batches(self._tx.each(sql, params), schema)

    def check(self, moment: Moment) -> None:
        self._catalog._check(self._tx, moment)

    def standing(self, last: int) -> int | None:
        params = {"last": last, "now": self.now}
        ((count,),) = self._tx.all(self._queries["count_standing"], params)
        return None if count is None else int(count)

    def count(self, first: int, last: int) -> int:
        params = {"first": first, "last": last, "now": self.now}
        ((count,),) = self._tx.all(self._queries["count_versions"], params)
        return int(count)

    def holds(self, version: int, key: str, updated_at: int) -> bool:
        found = self._tx.all(self._queries["entry_of_version"], {"version": version})
        return [tuple(row) for row in found] == [(key, updated_at)]

    def versions(self, first: int, last: int) -> Iterator[pa.RecordBatch]:
        params = {"first": first, "last": last, "now": self.now}
        packed = self._queries.get("scan_packed_versions")
        if packed is None:
            return self._batches(self._queries["scan_versions"], params, schema_of(VERSIONS))
        return map(_unpack, self._tx.all(packed, params))

    def diff(self, a: Moment, b: Moment | None, low: str, high: str) -> Iterator[DiffRow]:
        return self._catalog.diff_in(self._tx, a, b, low, high)


def _unpack(row: Row) -> pa.RecordBatch:
    """Return versions from their packed form: eight bytes each, the most significant byte first."""
    import numpy as np
    import pyarrow as pa

    versions = np.frombuffer(row[0], ">i8").astype(np.int64)
    return pa.RecordBatch.from_arrays([pa.array(versions)], schema=schema_of(VERSIONS))


def _query(scan: Scan) -> str:
    """Return the name of the query for the rows."""
    if scan.relation == "snapshots":
        return "list_snapshots"
    if scan.relation != "entries":
        return f"scan_{scan.relation}"
    if scan.limit is not None:
        return "scan_page"
    name = "scan_entries" if scan.columns & OF_CONTENTS else "scan_names"
    return name if scan.moment is None else f"{name}_at"


def _columns(scan: Scan) -> str:
    """Return the wanted columns of entries as SQL, or all columns of another relation."""
    wanted = scan.columns if scan.relation == "entries" else WITHOUT_VALUES
    columns = [
        _OF_CONTENTS.get(name, f'e."{name}"') if name in wanted else 'NULL AS "inline_value"'
        for name, _ in ENTRY_COLUMNS
        if name in wanted or scan.relation != "entries"
    ]
    return ", ".join(columns)


def _condition(scan: Scan) -> str:
    """Return the condition on the keys, or nothing if every key is in the range.

    A server without statistics would expect few rows to meet a condition, and would look up each
    object separately.
    """
    if scan.above is not None:
        return _ABOVE
    return "" if scan.low == "" and scan.high >= LAST_KEY else _KEYS
