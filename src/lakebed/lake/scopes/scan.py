"""What SQL reads in a scope: the rows of its keys, without the prefix."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from lakebed.catalog.scan import COLUMNS, CatalogScan, Scan, schema_of
from lakebed.lake.scopes.span import Span
from lakebed.model import DiffRow, Moment


def placed(scan: Scan, span: Span) -> Scan:
    """Translate a scan of a scope into a scan of the lake."""
    low, high = span.bounds(scan.low, scan.high)
    return scan._replace(low=low, high=high)


class ScopedScan:
    """A transaction of a catalog that shows only a scope."""

    def __init__(self, scan: CatalogScan, span: Span) -> None:
        self._scan = scan
        self._span = span
        # Always new: loaded rows serve while the lake's state stays the same, and are then loaded
        # again. An update from the last version would count versions of other scopes.
        self.moved: object = object()

    @property
    def now(self) -> int:
        return self._scan.now

    @property
    def state(self) -> object:
        return self._scan.state

    def check(self, moment: Moment) -> None:
        self._scan.check(moment)

    def standing(self, last: int) -> int | None:
        del last
        return None

    def count(self, first: int, last: int) -> int:
        raise AssertionError((first, last))

    def holds(self, version: int, key: str, updated_at: int) -> bool:
        return self._scan.holds(version, self._span.full(key), updated_at)

    def versions(self, first: int, last: int) -> Iterator[pa.RecordBatch]:
        raise AssertionError((first, last))

    def rows(self, scan: Scan) -> Iterator[pa.RecordBatch]:
        if scan.relation == "objects":
            return self._objects()
        if scan.relation == "packs":  # needed to find the packs of the entries; no query sees it
            return self._scan.rows(scan)
        column = "name" if scan.relation == "snapshots" else "key"
        where = scan if column == "name" else placed(scan, self._span)
        where = where._replace(columns=where.columns | {"key"})
        wanted = scan.schema().names
        rows = self._scan.rows(where)
        return (self._inside(batch, column, where.schema()).select(wanted) for batch in rows)

    def total(self, moment: Moment | None) -> int:
        scan = Scan("entries", moment=moment, columns=frozenset({"key"}))
        return sum(batch.num_rows for batch in self.rows(scan))

    def _objects(self) -> Iterator[pa.RecordBatch]:
        """Give the contents of the scope's entries, with the time at which each was first stored in
        the scope."""
        schema = schema_of(COLUMNS["objects"])
        scan = Scan("entries")
        entries = pa.Table.from_batches(self.rows(scan), scan.schema()).select(schema.names)
        rest = [n for n in schema.names if n not in ("content_hash", "format", "created_at")]
        wanted = [*((name, "first") for name in rest), ("created_at", "min")]
        found = entries.group_by(["content_hash", "format"], use_threads=False).aggregate(wanted)
        names = {"created_at": "created_at_min"} | {name: f"{name}_first" for name in rest}
        columns = [found.column(names.get(name, name)) for name in schema.names]
        return iter(pa.Table.from_arrays(columns, schema=schema).to_batches())

    def _inside(self, batch: pa.RecordBatch, column: str, schema: pa.Schema) -> pa.RecordBatch:
        """Keep only the rows of the scope, in case the catalog gave more."""
        names = batch.column(column)
        mask = pc.starts_with(names, self._span.prefix)
        batch = batch.filter(mask)
        at = schema.get_field_index(column)
        cut = pc.utf8_slice_codeunits(batch.column(column), len(self._span.prefix))
        columns = [cut if n == at else batch.column(n) for n in range(batch.num_columns)]
        return pa.RecordBatch.from_arrays(columns, schema=schema)

    def diff(self, a: Moment, b: Moment | None, low: str, high: str) -> Iterator[DiffRow]:
        return self._span.changed(self._scan.diff(a, b, *self._span.bounds(low, high)))
