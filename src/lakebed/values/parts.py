"""The list of the parts of a table that rows were appended to.

The entry refers to this list, which is stored as JSON. Each part is a Parquet object of its own. It
may lack columns that were added to the table later, or have narrower types.
"""

# No `from __future__ import annotations`: a NamedTuple compiles annotations that are text, at each
# start.

import base64
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from lakebed.errors import CorruptionError
from lakebed.values.encoded import Encoded
from lakebed.values.hash import digest
from lakebed.values.json import decode as decode_json
from lakebed.values.json import encode as encode_json

if TYPE_CHECKING:
    import pyarrow as pa

TABLE = "table"
"""The format of an entry whose value is a table of parts."""


Partition = tuple[str | None, ...]
"""The value of each column by which a table is split, as text; None for null."""


class Part(NamedTuple):
    """One part of a table: the hash and the size in bytes of its Parquet file, its number of rows,
    and how often smaller parts were joined to make it (`lakebed.lake.growing.joining`). In a
    partitioned table also its partition, and the key of its schema (`lakebed.values.partitions`).
    """

    content_hash: bytes
    byte_size: int
    rows: int
    level: int = 0
    partition: Partition = ()
    schema_key: str = ""


class Parts(NamedTuple):
    """A table of parts: its schema as Arrow serializes it, its parts in the order of the rows, and
    the columns that it is partitioned by, if any."""

    schema_bytes: bytes
    parts: tuple[Part, ...]
    partition_by: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """The number of rows of the table."""
        return sum(part.rows for part in self.parts)

    def schema(self) -> "pa.Schema":
        """Return the schema of the table."""
        import pyarrow as pa

        return pa.ipc.read_schema(pa.py_buffer(self.schema_bytes))


def list_parts(
    schema: "pa.Schema", parts: Iterable[Part], partition_by: Sequence[str] = ()
) -> Parts:
    """Return a table of parts."""
    return Parts(bytes(schema.serialize()), tuple(parts), tuple(partition_by))


def encode_parts(table: Parts) -> Encoded:
    """Return a list of parts as it is stored."""
    parts: list[dict[str, object]] = [
        {"bytes": p.byte_size, "hash": p.content_hash.hex(), "level": p.level, "rows": p.rows}
        for p in table.parts
    ]
    value: dict[str, object] = {
        "parts": parts,
        "schema": base64.b64encode(table.schema_bytes).decode(),
    }
    if table.partition_by:
        value["partition_by"] = list(table.partition_by)
        for told, part in zip(parts, table.parts, strict=True):
            told.update(partition=list(part.partition), schema=part.schema_key)
    data = encode_json(value)
    return Encoded(TABLE, data, digest(data))


def decode_parts(data: bytes) -> Parts:
    """Return the list of parts in stored bytes. Raises CorruptionError if they are not one."""
    try:
        value: Any = decode_json(data)
        parts = tuple(
            Part(
                bytes.fromhex(p["hash"]), p["bytes"], p["rows"], p["level"],
                tuple(p.get("partition", ())), p.get("schema", ""),
            )
            for p in value["parts"]
        )  # fmt: skip
        schema = base64.b64decode(value["schema"], validate=True)
        return Parts(schema, parts, tuple(value.get("partition_by", ())))
    except (ValueError, TypeError, LookupError) as error:
        raise CorruptionError(f"stored bytes are not a list of a table's parts: {error}") from None
