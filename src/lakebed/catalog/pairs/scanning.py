"""Gives whole relations as Arrow, for SQL and tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from typing import TYPE_CHECKING

from lakebed.catalog.pairs.core import PairStore
from lakebed.catalog.pairs.records import Records
from lakebed.catalog.rules import is_visible
from lakebed.catalog.scan import CatalogScan, Scan
from lakebed.errors import NotFoundError
from lakebed.model import DiffRow, EntryRow, Moment

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH = 20_000  # rows


class Scans(PairStore):
    """The call for SQL and tables. `Scannable` describes it."""

    def scan(self, wanted: Sequence[Scan]) -> AbstractContextManager[CatalogScan]:
        del wanted
        return nullcontext(self._reading(lambda records: _PairScan(records, self.now())))


class _PairScan:
    """The rows of one moment, read when the scan began."""

    def __init__(self, records: Records, now: int) -> None:
        self.now = now
        self.state: object = records.counter("changes")
        self.moved: object = object()  # loaded rows are never updated, only loaded again
        self._entries = [row for row in records.entries() if is_visible(row, now)]
        self._contents = list(records.contents())
        self._packs = records.packs()

    def rows(self, scan: Scan) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        rows, schema = self._rows(scan), scan.schema()
        while some := list(islice(rows, _BATCH)):
            columns = [pa.array([row[field.name] for row in some], field.type) for field in schema]
            yield pa.RecordBatch.from_arrays(columns, schema=schema)

    def _rows(self, scan: Scan) -> Iterator[dict[str, object]]:
        if scan.moment is not None:
            self.check(scan.moment)
        packs = {pack.uri: pack.id for pack in self._packs}
        if scan.relation == "entries":
            numbers = {stored.content.id: stored.number for stored in self._contents}
            for row in islice(self._chosen(scan), scan.limit):
                number = numbers.get((row.content_hash, row.format))
                inline = row.inline_value if row.format == "json" else None
                yield row._asdict() | _placed(row.uri, packs) | {
                    "object_id": number, "inline_value": inline
                }  # fmt: skip
        elif scan.relation == "objects":
            for _, _, content, created_at in self._contents:
                yield content._asdict() | _placed(content.uri, packs) | {"created_at": created_at}
        elif scan.relation == "packs":
            for pack in self._packs:
                yield {"id": pack.id, "uri": pack.uri, "objects": pack.live + pack.dead}

    def _chosen(self, scan: Scan) -> Iterator[EntryRow]:
        for row in self._entries:
            if (
                scan.low <= row.key < scan.high
                and (scan.above is None or row.version > scan.above)
                and (scan.format is None or row.format == scan.format)
            ):
                yield row

    def total(self, moment: Moment | None) -> int:
        if moment is not None:
            self.check(moment)
        return len(self._entries)

    def check(self, moment: Moment) -> None:
        raise NotFoundError(f"version {moment.version} is not kept: this catalog has no history")

    def standing(self, last: int) -> int | None:
        del last
        return None

    def count(self, first: int, last: int) -> int:
        return sum(first <= row.version <= last for row in self._entries)

    def holds(self, version: int, key: str, updated_at: int) -> bool:
        return any(row[:2] == (key, version) and row.updated_at == updated_at
                   for row in self._entries)  # fmt: skip

    def versions(self, first: int, last: int) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        found = [row.version for row in self._entries if first <= row.version <= last]
        yield pa.RecordBatch.from_pydict({"version": pa.array(found, pa.int64())})

    def diff(self, a: Moment, b: Moment | None, low: str, high: str) -> Iterator[DiffRow]:
        del b, low, high
        self.check(a)
        return iter(())


def _placed(uri: str | None, packs: dict[str, int]) -> dict[str, object]:
    """Return the columns that say where a content is: in its own file, or in a pack."""
    pack = packs.get(uri) if uri is not None else None
    return {"uri": uri if pack is None else None, "pack_id": pack}
