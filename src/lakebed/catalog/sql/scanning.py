"""Whole relations of a catalog as Arrow, all from one transaction: what a query engine reads."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from lakebed.catalog.scan import COLUMNS, VERSIONS, CatalogScan, Scan, schema_of
from lakebed.catalog.sql.metadata import MetadataIndex, Narrowing
from lakebed.catalog.statements.executor import Executor, Params, Row, Transaction
from lakebed.model import LAST_KEY, DiffRow, Moment

if TYPE_CHECKING:
    import pyarrow as pa

BATCH = 20_000
"""Rows that are brought to Arrow at once."""
_SCAN_COLUMNS = (
    'e."key", e."version", e."object_id", e."metadata", e."expires_at", e."created_at", '
    'e."updated_at", o."content_hash", o."format", o."byte_size", {value}, o."uri", o."pack_id", '
    'o."position"'
)
_VALUE = 'CASE WHEN o."format" = \'json\' THEN o."inline_value" END AS "inline_value"'
_NO_VALUE = 'NULL AS "inline_value"'
_KEYS = 'AND e."key" >= :low AND e."key" < :high'
_ABOVE = 'AND e."version" > :above'


@runtime_checkable
class ArrowTransaction(Protocol):
    """A transaction that knows a faster way to Arrow than row by row, and what tells its state."""

    def batches(self, sql: str, params: Params, schema: pa.Schema) -> Iterator[pa.RecordBatch]: ...

    def state(self) -> object: ...


def row_batches(rows: Generator[Row], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Rows as batches of bounded size."""
    with closing(rows):
        yield from chunk_batches(iter(lambda: list(islice(rows, BATCH)), []), schema)


def chunk_batches(chunks: Iterable[Sequence[Row]], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Lists of rows as a batch each."""
    import pyarrow as pa

    for chunk in chunks:
        columns = zip(*chunk, strict=True)
        arrays = [pa.array(c, field.type) for c, field in zip(columns, schema, strict=True)]
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)


class Scanned(Protocol):
    """What a scan asks of the catalog over SQL text."""

    _executor: Executor
    _queries: Mapping[str, str]
    _index: MetadataIndex

    def _check(self, tx: Transaction, moment: Moment) -> None: ...

    def diff_in(
        self, tx: Transaction, a: Moment, b: Moment | None, low: str, high: str
    ) -> Iterator[DiffRow]: ...


@contextmanager
def open_scan(catalog: Scanned, wanted: Sequence[Scan]) -> Iterator[CatalogScan]:
    """The scan of a SQL catalog; see `Catalog.scan`."""
    # The index may have to catch up, which is a write of its own.
    narrowings = {
        scan: catalog._index.narrow(scan.metadata_filter) for scan in wanted if scan.metadata_filter
    }
    with catalog._executor.read() as tx:
        yield _SQLScan(catalog, tx, narrowings)


class _SQLScan:
    def __init__(
        self, catalog: Scanned, tx: Transaction, narrowings: Mapping[Scan, Narrowing]
    ) -> None:
        self._catalog = catalog
        self._queries = catalog._queries
        self._tx = tx
        self._narrowings = narrowings
        # The transaction sees one state from its first read.
        ((self.moved,),) = tx.all(self._queries["get_setting"], {"name": "objects_moved"})
        self.now = tx.now()
        self.state = tx.state() if isinstance(tx, ArrowTransaction) else None

    def rows(self, scan: Scan) -> Iterator[pa.RecordBatch]:
        schema = schema_of(COLUMNS[scan.relation])
        params: dict[str, object] = {"low": scan.low, "high": scan.high, "now": self.now}
        name = {"snapshots": "list_snapshots"}.get(scan.relation, f"scan_{scan.relation}")
        if scan.moment:
            self.check(scan.moment)
            name = "scan_entries_at"
            params |= {"version": scan.moment.version, "now": scan.moment.time}
        narrowing = self._narrowings.get(scan, Narrowing())
        sql = self._queries[name].replace("{scan_columns}", _SCAN_COLUMNS)
        sql = sql.replace("{value}", _VALUE if scan.values else _NO_VALUE)
        if scan.above is not None:
            params["above"] = scan.above
        sql = sql.replace("{keys}", _condition(scan))
        sql = sql.replace("{narrowing}", narrowing.sql)
        params |= narrowing.params
        yield from self._batches(sql, params, schema)

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
    """Versions that came packed: eight bytes each, the most significant one first."""
    import numpy as np
    import pyarrow as pa

    versions = np.frombuffer(row[0], ">i8").astype(np.int64)
    return pa.RecordBatch.from_arrays([pa.array(versions)], schema=schema_of(VERSIONS))


def _condition(scan: Scan) -> str:
    """On the keys, unless every one is in the range: a server without statistics takes it for one
    that few satisfy, and would look up each object by itself."""
    if scan.above is not None:
        return _ABOVE
    return "" if scan.low == "" and scan.high >= LAST_KEY else _KEYS
