"""The schemas of the files that stored tables consist of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial

import pyarrow as pa

from lakebed.duckdb.filesystem import ReadOnlyFiles
from lakebed.errors import CorruptionError
from lakebed.lake.sql.stored import Stored
from lakebed.objects.store import ObjectStore, Range
from lakebed.values.footers import TAIL_BYTES, read_footer, schema_of

_DIGITS = 38  # of DuckDB's decimals


class FileSchemas:
    """Reads the schemas of files, from the end of each file, once.

    Parts of a partitioned table with the same schema share one read.
    """

    def __init__(self, files: ReadOnlyFiles | None, objects: ObjectStore | None) -> None:
        self._files = files
        self._objects = objects
        self._known = dict[str, bytes]()  # by path, or by the key of a schema

    def of(self, stored: Sequence[Stored]) -> Iterator[bytes]:
        """Return, for each table, a value that identifies its schema."""
        unread = dict[str, Stored]()
        for table in stored:
            if table.uri is not None and _name(table) not in self._known:
                unread.setdefault(_name(table), table)
        if unread:
            assert self._objects is not None
            ends = [
                Range(t.uri or "", max(0, t.byte_size - TAIL_BYTES), min(t.byte_size, TAIL_BYTES))
                for t in unread.values()
            ]
            results = self._objects.read_many(ends)
            for (name, table), result in zip(unread.items(), results, strict=True):
                if not isinstance(result, bytes):
                    raise result
                self._known[name] = self._schema(table, result)
        # A part that was not read has the size and the schema that the catalog says.
        self._note_sizes(t for t in stored if t.schema_key or _name(t) in unread)
        for table in stored:
            yield table.content_hash if table.uri is None else self._known[_name(table)]

    def _note_sizes(self, stored: Iterable[Stored]) -> None:
        for table in stored:
            if self._files is not None and table.uri is not None:
                self._files.note_size(table.uri, table.byte_size)

    def _schema(self, table: Stored, end: bytes) -> bytes:
        """Return the Arrow schema in a file's footer, without its metadata."""
        assert self._objects is not None
        read = partial(self._objects.read, table.uri or "")
        try:
            schema = schema_of(read_footer(end, table.byte_size, read))
        except CorruptionError as error:
            raise CorruptionError(f"the content of {table.key!r} is damaged: {error}") from None
        return bytes(schema.remove_metadata().serialize())


def _name(table: Stored) -> str:
    return table.schema_key or table.uri or ""


def is_wider_than_duckdb(kind: pa.DataType) -> bool:
    """Return whether a type holds decimals with more digits than DuckDB supports.

    DuckDB would read them as floats of another value.
    """
    kind = getattr(kind, "storage_type", kind)
    if pa.types.is_decimal256(kind):
        return bool(kind.precision > _DIGITS)
    return any(is_wider_than_duckdb(kind.field(n).type) for n in range(kind.num_fields))
