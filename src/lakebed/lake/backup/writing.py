"""Write a point: the names of one moment as SQLite and as Parquet, and then the manifest."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import file_digest
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lakebed.catalog.scan import COLUMNS, ENTRY_COLUMNS, Scan, schema_of
from lakebed.catalog.sqlite.catalog import SQLiteCatalog
from lakebed.lake.backup.manifest import (
    CATALOG,
    ENTRIES,
    FILES,
    HISTORY,
    MANIFEST,
    SNAPSHOTS,
    Manifest,
)
from lakebed.lake.backup.place import BackupPlace
from lakebed.lake.lake import Lake

_LEFT_OUT = ("object_id", "pack_id", "inline_value")


def export(work: Lake, folder: Path, sizes: dict[str, int], past: bool) -> dict[str, str]:
    """Write the files of a point into a local folder. Return the hash of each by its name.

    `work`: the lake with the names of the point. `sizes`: the sizes of the files that it needs, by
    path. `past`: also write history and snapshots.
    """
    assert isinstance(work._catalog, SQLiteCatalog)
    # VACUUM makes a compact copy, which needs no other file beside it.
    work._catalog._executor.fetch("VACUUM INTO :to", {"to": str(folder / CATALOG)})
    _export_relation(work, "entries", folder / ENTRIES)
    names = [CATALOG, ENTRIES, FILES]
    if past:
        _export_relation(work, "history", folder / HISTORY)
        _export_relation(work, "snapshots", folder / SNAPSHOTS)
        names += [HISTORY, SNAPSHOTS]
    columns = {"path": list(sizes), "byte_size": list(sizes.values())}
    schema = pa.schema([("path", pa.string()), ("byte_size", pa.int64())])
    pq.write_table(pa.table(columns, schema), folder / FILES, compression="zstd")
    return {name: _hash(folder / name) for name in names}


def put_point(place: BackupPlace, folder: Path, manifest: Manifest) -> None:
    """Write the files of a point to its place. The manifest is last, and makes the point valid."""
    for name in manifest.files:
        with (folder / name).open("rb") as file:
            place.put(f"points/{manifest.id}/{name}", file)
    with place.store.open_write(f"points/{manifest.id}/{MANIFEST}") as sink:
        sink.write(manifest.text().encode())


def _export_relation(
    work: Lake, relation: Literal["entries", "history", "snapshots"], path: Path
) -> None:
    """Write a relation of a catalog as Parquet. Entries also get the file of their content."""
    wanted, packs = Scan(relation), Scan("packs")
    columns = ENTRY_COLUMNS if relation == "entries" else COLUMNS[relation]
    schema = schema_of([column for column in columns if column[0] not in _LEFT_OUT])
    with (
        work._catalog.scan([wanted, packs]) as scan,
        pq.ParquetWriter(path, schema, compression="zstd") as writer,
    ):
        uris = pa.Table.from_batches(scan.rows(packs), packs.schema())
        for batch in scan.rows(wanted):
            for part in _placed(batch, uris) if relation != "snapshots" else (batch,):
                writer.write_batch(part.select(schema.names).cast(schema))


def _placed(batch: pa.RecordBatch, packs: pa.Table) -> Iterator[pa.RecordBatch]:
    """Yield the rows with the file of each content, which is an object or a pack."""
    at = pc.index_in(batch.column("pack_id"), packs.column("id").combine_chunks())
    uri = pc.coalesce(batch.column("uri"), packs.column("uri").combine_chunks().take(at))
    yield batch.set_column(batch.schema.get_field_index("uri"), "uri", uri)


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
