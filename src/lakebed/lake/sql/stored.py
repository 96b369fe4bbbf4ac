"""The files that stored tables consist of."""

from __future__ import annotations

from typing import NamedTuple

from lakebed.catalog.protocol import CatalogReads
from lakebed.errors import NotFoundError
from lakebed.lake.contents.parts import part_rows
from lakebed.model import EntryRow
from lakebed.values.parts import TABLE, Partition, decode_parts

FORMATS = ("parquet", TABLE)
"""The formats of stored tables."""


class Stored(NamedTuple):
    """A stored table, or a part of one: the key, and where the content lies; `uri` None for the
    catalog. `table_schema`: that of the table, if this is a part. `partition_by`, `partition`,
    `schema_key`: as in `lakebed.values.parts`."""

    key: str
    content_hash: bytes
    byte_size: int
    uri: str | None
    table_schema: bytes | None = None
    partition_by: tuple[str, ...] = ()
    partition: Partition = ()
    schema_key: str = ""

    def row(self) -> EntryRow:
        """The entry, as far as reading its content goes."""
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
    """A stored table as the files that it consists of, in the order of their rows."""
    whole = Stored(key, content_hash, byte_size, uri)
    if format != TABLE:
        return [whole]
    listed = catalog.locate((content_hash, TABLE))
    if listed is None or listed.inline_value is None:
        raise NotFoundError(f"the content of {key!r} has been collected")
    table = decode_parts(listed.inline_value)
    rows = part_rows(whole.row(), table.parts, catalog.parts((content_hash, TABLE)))
    return [
        Stored(
            key, part.content_hash, part.byte_size, place.uri, table.schema_bytes,
            table.partition_by, part.partition, part.schema_key,
        )
        for part, place in zip(table.parts, rows, strict=True)
    ]  # fmt: skip
