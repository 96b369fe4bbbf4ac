"""The files that stored tables consist of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from lakebed.catalog.protocol import CatalogReads
from lakebed.lake.contents.collected import CollectedError, of_newest
from lakebed.lake.contents.parts import part_rows
from lakebed.model import EntryRow, Moment
from lakebed.values.parts import TABLE, Partition, decode_parts

FORMATS = ("parquet", TABLE)
"""The formats of stored tables."""


Row = tuple[str, bytes, str, int, str | None]
"""An entry's key, content hash, format, size in bytes, and place."""


class Stored(NamedTuple):
    """A stored table, or a part of one.

    `uri`: where the content is, or None if it is in the catalog. `table_schema`: the schema of the
    table, if this is a part. `partition_by`, `partition`, `schema_key`: as in
    `lakebed.values.parts`. `data`: the content of a part in the catalog.
    """

    key: str
    content_hash: bytes
    byte_size: int
    uri: str | None
    table_schema: bytes | None = None
    partition_by: tuple[str, ...] = ()
    partition: Partition = ()
    schema_key: str = ""
    data: bytes | None = None

    def row(self) -> EntryRow:
        """Return the entry, with the fields that reading its content needs."""
        place = (self.content_hash, "parquet", self.byte_size, None, self.uri, None)
        return EntryRow(self.key, 0, "{}", None, 0, 0, *place)


def parts_of(
    catalog: CatalogReads,
    key: str,
    content_hash: bytes,
    format: str,
    byte_size: int,
    uri: str | None,
) -> list[Stored]:
    """Return the files of a stored table, in the order of their rows.

    Raises CollectedError if no entry names the table any more.
    """
    whole = Stored(key, content_hash, byte_size, uri)
    if format != TABLE:
        return [whole]
    listed = catalog.locate((content_hash, TABLE))
    if listed is None or listed.inline_value is None:
        raise CollectedError(f"the content of {key!r} has been collected")
    table = decode_parts(listed.inline_value)
    rows = part_rows(whole.row(), table.parts, catalog.parts((content_hash, TABLE)))
    return [
        Stored(
            key, part.content_hash, part.byte_size, place.uri, table.schema_bytes,
            table.partition_by, part.partition, part.schema_key, place.inline_value,
        )
        for part, place in zip(table.parts, rows, strict=True)
    ]  # fmt: skip


def newest_parts(catalog: CatalogReads, moment: Moment | None, found: Row) -> Sequence[Stored]:
    """Return the files of the stored table in a loaded row.

    If the table has since been replaced and collected, these are the files of the new one. Among
    many tables, one may be appended to at any moment.
    """
    try:
        return parts_of(catalog, *found)
    except CollectedError:
        if moment is not None:
            raise

    def parts(row: EntryRow) -> Sequence[Stored]:
        return parts_of(catalog, *row_of(row)) if row.format in FORMATS else ()

    return of_newest(catalog, found[0], parts) or ()


def row_of(row: EntryRow) -> Row:
    """Return the fields that identify the files of a stored table."""
    return row.key, row.content_hash, row.format, row.byte_size, row.uri
