"""Whole relations of a catalog as Arrow, all from one transaction: what a query engine reads."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, runtime_checkable

from lakebed.catalog.protocol import LAST_KEY
from lakebed.catalog.sql.metadata import Narrowing
from lakebed.catalog.statements.executor import Params, Row, Transaction
from lakebed.model import DiffRow, Moment

if TYPE_CHECKING:
    import pyarrow as pa

    from lakebed.catalog.sql.catalog import SQLCatalog
    from lakebed.filters import Filter

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

Column = tuple[str, Literal["text", "number", "bytes", "time"]]
ENTRY_COLUMNS: tuple[Column, ...] = (
    ("key", "text"),
    ("version", "number"),
    ("object_id", "number"),
    ("metadata", "text"),
    ("expires_at", "time"),
    ("created_at", "time"),
    ("updated_at", "time"),
    ("content_hash", "bytes"),
    ("format", "text"),
    ("byte_size", "number"),
    ("inline_value", "bytes"),
    ("uri", "text"),
    ("pack_id", "number"),
    ("position", "text"),
)
"""What a scan of entries gives. `pack_id` refers to the packs. An object that lies in neither
a file nor a pack lies inline, whether its value was asked for or not."""
VERSIONS: tuple[Column, ...] = (("version", "number"),)
COLUMNS: Mapping[str, tuple[Column, ...]] = {
    "entries": ENTRY_COLUMNS,
    "history": (*ENTRY_COLUMNS, ("end_version", "number"), ("ended_at", "time")),
    "objects": (
        ("content_hash", "bytes"),
        ("format", "text"),
        ("byte_size", "number"),
        ("uri", "text"),
        ("pack_id", "number"),
        ("position", "text"),
        ("created_at", "time"),
    ),
    "packs": (("id", "number"), ("uri", "text"), ("objects", "number")),
    "snapshots": (
        ("id", "text"),
        ("name", "text"),
        ("version", "number"),
        ("message", "text"),
        ("author", "text"),
        ("created_at", "time"),
        ("purged_at", "time"),
    ),
}


class Scan(NamedTuple):
    """Rows that a query wants.

    `moment`: entries as of it, None for now. `metadata_filter`: entries that cannot match may be
    left out. `values`: with the inline values of JSON entries. `above`: only those entries of now
    that have a higher version.
    """

    relation: Literal["entries", "history", "objects", "packs", "snapshots"]
    low: str = ""
    high: str = LAST_KEY
    moment: Moment | None = None
    metadata_filter: Filter | None = None
    values: bool = False
    above: int | None = None


class CatalogScan(Protocol):
    """A transaction of a catalog in which all rows are of one state.

    `now` is its time. `state` is the same for two transactions only if they see the same rows; None
    where the catalog cannot tell. `moved` is the same while no object was moved and nothing purged:
    what changes without a version.
    """

    @property
    def now(self) -> int: ...

    @property
    def state(self) -> object: ...

    @property
    def moved(self) -> object: ...

    def check(self, moment: Moment) -> None:
        """NotFoundError for a moment that is gone."""
        ...

    def standing(self, last: int) -> int | None:
        """How many entries of versions up to `last` there are, expired ones apart; None where
        others may come to be seen among them later."""
        ...

    def count(self, first: int, last: int) -> int:
        """How many of those entries have a version from `first` to `last`."""
        ...

    def holds(self, version: int, key: str, updated_at: int) -> bool:
        """Whether an entry of this version is there, and is this one."""
        ...

    def versions(self, first: int, last: int) -> Iterator[pa.RecordBatch]:
        """The versions of those entries, as the column `version`."""
        ...

    def rows(self, scan: Scan) -> Iterator[pa.RecordBatch]:
        """The rows, with the columns of `COLUMNS`. NotFoundError for a moment that is gone."""
        ...

    def diff(self, a: Moment, b: Moment | None, low: str, high: str) -> Iterator[DiffRow]:
        """The keys that differ between two moments (None is now)."""
        ...


@runtime_checkable
class ArrowTransaction(Protocol):
    """A transaction that knows a faster way to Arrow than row by row, and what tells its state."""

    def batches(self, sql: str, params: Params, schema: pa.Schema) -> Iterator[pa.RecordBatch]: ...

    def state(self) -> object: ...


def schema_of(columns: Sequence[Column]) -> pa.Schema:
    """The Arrow schema of columns: string, int64, binary, timestamp[us, UTC]."""
    import pyarrow as pa

    types = {
        "text": pa.string(),
        "number": pa.int64(),
        "bytes": pa.binary(),
        "time": pa.timestamp("us", "UTC"),
    }
    return pa.schema([(name, types[kind]) for name, kind in columns])


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


@contextmanager
def open_scan(catalog: SQLCatalog, wanted: Sequence[Scan]) -> Iterator[CatalogScan]:
    """The scan of a SQL catalog; see `Catalog.scan`."""
    # The index may have to catch up, which is a write of its own.
    narrowings = {
        scan: catalog._index.narrow(scan.metadata_filter) for scan in wanted if scan.metadata_filter
    }
    with catalog._executor.read() as tx:
        yield _SQLScan(catalog, tx, narrowings)


class _SQLScan:
    def __init__(
        self, catalog: SQLCatalog, tx: Transaction, narrowings: Mapping[Scan, Narrowing]
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
