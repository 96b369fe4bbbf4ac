"""Reads a table of parts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa

from lakebed.errors import LakebedError
from lakebed.lake.contents.collected import CollectedError
from lakebed.lake.contents.windows import ReadContents, contents_in_order
from lakebed.model import Content, EntryRow
from lakebed.values.encoded import Encoded, EncodedFile
from lakebed.values.parquet import read_table, write_table
from lakebed.values.parts import Part, Parts, decode_parts
from lakebed.values.schemas import as_table


def part_rows(
    row: EntryRow, parts: Sequence[Part], contents: Sequence[Content]
) -> Iterator[EntryRow]:
    """Yield the parts of a table as rows, in their order, with the places that the catalog tells.

    Raises CollectedError if a part is gone: then nothing names the table any more.
    """
    places = {content.content_hash: content for content in contents}
    for part in parts:
        place = places.get(part.content_hash)
        if place is None:
            raise CollectedError(
                f"the content of {row.key!r} as of version {row.version} has been collected since"
            )
        yield row._replace(
            content_hash=part.content_hash, format="parquet", byte_size=part.byte_size,
            inline_value=place.inline_value, uri=place.uri, position=place.position,
        )  # fmt: skip


def read_whole(
    row: EntryRow, data: bytes, contents: Sequence[Content], read: ReadContents
) -> pa.Table:
    """Return a table of parts whole. `data`: the list of its parts."""
    table = decode_parts(data)
    parts = list(read_parts(row, table, contents, read))
    return pa.concat_tables(parts or [table.schema().empty_table()])


def join_parts(
    row: EntryRow,
    table: Parts,
    contents: Sequence[Content],
    read: ReadContents,
    more: Iterable[pa.RecordBatch] = (),
) -> Encoded | EncodedFile:
    """Encode parts of an entry, and more rows in the schema of its table, as one."""

    def batches() -> Iterator[pa.RecordBatch]:
        for part in read_parts(row, table, contents, read):
            yield from part.to_batches()
        yield from more

    return write_table(table.schema(), batches())


def read_parts(
    row: EntryRow, table: Parts, contents: Sequence[Content], read: ReadContents
) -> Iterator[pa.Table]:
    """Yield parts of an entry in the schema of its table."""
    schema = table.schema()
    for _, data in contents_in_order(part_rows(row, table.parts, contents), read):
        if isinstance(data, LakebedError):
            raise data
        yield as_table(read_table(data), schema)
