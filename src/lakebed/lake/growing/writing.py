"""Writes the parts of stored tables: what an append and a compaction share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from lakebed.errors import ConflictError, ValidationError
from lakebed.lake.contents.collected import CollectedError
from lakebed.lake.contents.uploading import LEASE_SECONDS, give_up, upload
from lakebed.lake.entries.staging import Staging, in_memory
from lakebed.model import Content, EntryRow, Outcome, Put, Upload
from lakebed.objects.names import object_path
from lakebed.values.encoded import Encoded, EncodedFile
from lakebed.values.parts import (
    TABLE,
    Part,
    Partition,
    Parts,
    decode_parts,
    encode_parts,
    list_parts,
)

if TYPE_CHECKING:
    import pyarrow as pa


class Staged(NamedTuple):
    """A part on its way into the catalog: what that is told, and its upload, if it has one."""

    part: Part
    content: Content
    uploads: Sequence[Upload]


class PartsWriting(Staging):
    """Reads and replaces the list of a table's parts."""

    @contextmanager
    def _replaced_is_a_conflict(self, row: EntryRow) -> Iterator[None]:
        """Raise ConflictError where a content is gone because somebody has replaced the entry since
        `row` was read."""
        try:
            yield
        except CollectedError:
            now = self._catalog.get(row.key)
            if now is not None and now.version == row.version:
                raise
            raise ConflictError(f"the entry {row.key!r} has been replaced meanwhile") from None

    def _parts_of(self, row: EntryRow) -> Parts:
        """Return the parts of a stored table. One that was never appended to has one.

        Raises ConflictError if somebody has replaced the entry since `row` was read.
        """
        if row.format == TABLE:
            with self._replaced_is_a_conflict(row):
                return decode_parts(self._read_checked(row))
        if row.format != "parquet":
            raise ValidationError(
                f"{row.key!r} holds a value of the format {row.format!r}: rows can only be "
                "appended to a table"
            )
        from lakebed.values.footers import schema_of  # loads pyarrow

        with self._replaced_is_a_conflict(row):
            footer = self._footer(row)
        part = Part(row.content_hash, row.byte_size, footer.num_rows)
        return list_parts(schema_of(footer), [part])

    def _join(
        self, row: EntryRow, table: Parts, more: Iterable[pa.RecordBatch] = ()
    ) -> Encoded | EncodedFile:
        """Encode parts of an entry, and more rows in their schema, as one.

        Raises ConflictError if somebody has replaced the entry since `row` was read.
        """
        from lakebed.lake.contents.parts import join_parts  # loads pyarrow

        if row.format == TABLE:
            contents = self._catalog.parts((row.content_hash, TABLE))
        else:
            place = (row.inline_value, row.uri, row.position)
            contents = [Content(row.content_hash, row.format, row.byte_size, *place)]
        with self._replaced_is_a_conflict(row):
            return join_parts(row, table, contents, self.read_contents, more)

    def _stage_part(
        self,
        encoded: Encoded | EncodedFile,
        rows: int,
        level: int = 0,
        partition: Partition = (),
        schema_key: str = "",
    ) -> Staged:
        """Bring the bytes of a part to where they belong. Its commit, or `_give_up`, follows."""
        if self._objects is None:
            encoded = in_memory(encoded)
        content = self._content(encoded)
        size = encoded.byte_size
        part = Part(encoded.content_hash, size, rows, level, partition, schema_key)
        if self._objects is None:
            return Staged(part, content, ())
        known = self._catalog.places([encoded.id])
        if known:
            self._mend([encoded], known)
            return Staged(part, content, ())
        path = object_path(encoded.content_hash, encoded.format)
        self._catalog.lease([path], LEASE_SECONDS)
        try:
            done = upload(self._objects, path, encoded)
        except Exception:
            give_up(self._catalog, [path])
            raise
        return Staged(part, content._replace(uri=path), [done])

    def _replace_parts(self, row: EntryRow, table: Parts, new: Sequence[Staged] = ()) -> Outcome:
        """Let an entry be a table of other parts. Raises ConflictError if it is not what `row` says
        any more, and MissingContentError if a part has to be staged again."""
        content, parts = _listed(table, new)
        put = Put(
            row.key, content, row.metadata, if_match=row.content_hash, keep_expiry=True,
            keep_metadata=True, parts=parts,
        )  # fmt: skip
        (outcome,) = self._catalog.commit([put], [done for one in new for done in one.uploads])
        return outcome

    def _create_parts(self, key: str, table: Parts, new: Sequence[Staged]) -> Outcome:
        """Let a new entry be a table of parts. Raises ConflictError if it is there already."""
        content, parts = _listed(table, new)
        put = Put(key, content, "{}", if_absent=True, parts=parts)
        (outcome,) = self._catalog.commit([put], [done for one in new for done in one.uploads])
        return outcome

    def _give_up(self, staged: Staged) -> None:
        """Discard a part that no commit has taken."""
        if staged.uploads:
            give_up(self._catalog, [done.uri for done in staged.uploads])


def _listed(table: Parts, new: Sequence[Staged]) -> tuple[Content, list[Content]]:
    """Return the catalog's description of a list of parts, and of each part once."""
    encoded = encode_parts(table)
    staged = {one.part.content_hash: one.content for one in new}
    parts = {
        part.content_hash: staged.get(
            part.content_hash, Content(part.content_hash, "parquet", part.byte_size)
        )
        for part in table.parts
    }
    content = Content(encoded.content_hash, TABLE, encoded.byte_size, encoded.data)
    return content, [*parts.values()]
