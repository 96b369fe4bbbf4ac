"""The rows of an append, encoded and staged once, however often a commit is tried."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from lakebed.lake.growing.writing import PartsWriting, Staged
from lakebed.values.encoded import Encoded, EncodedFile
from lakebed.values.parts import Partition

if TYPE_CHECKING:
    import pyarrow as pa


class _Piece(NamedTuple):
    """Rows of one partition."""

    encoded: Encoded | EncodedFile
    rows: int
    partition: Partition = ()
    schema_key: str = ""


class NewRows:
    """The rows of an append. A table without partitions gets one piece, others at least one for
    each partition that has rows."""

    def __init__(
        self, lake: PartsWriting, schema: pa.Schema, batches: Iterable[pa.RecordBatch]
    ) -> None:
        self.schema = schema
        self._lake = lake
        self._batches = batches
        self._by: tuple[str, ...] = ()
        self._pieces = list[_Piece]()
        self._staged = list[Staged]()

    def staged(self, key: str, schema: pa.Schema, by: tuple[str, ...]) -> Sequence[Staged]:
        """Return the rows as parts. `schema`: what they are stored in the first time."""
        if not self._pieces:
            self._encode(key, schema, by, self._batches)
        elif by != self._by:  # the table was replaced by another meanwhile
            self.unstage()
            rows = [*self.again(schema, range(len(self._pieces)))]
            self._close()
            self._encode(key, schema, by, rows)
        for piece in self._pieces[len(self._staged) :]:
            self._staged.append(self._stage(piece))
        return [*self._staged]

    def _encode(
        self, key: str, schema: pa.Schema, by: tuple[str, ...], batches: Iterable[pa.RecordBatch]
    ) -> None:
        from lakebed.values.parquet import write_table
        from lakebed.values.schemas import cast

        self._by = by
        if by:
            self._split(key, schema, by, cast(batches, schema))
            return
        count = 0

        def counted() -> Iterator[pa.RecordBatch]:
            nonlocal count
            for batch in cast(batches, schema):
                count += batch.num_rows
                yield batch

        self._pieces.append(_Piece(write_table(schema, counted()), count))

    def _split(
        self, key: str, schema: pa.Schema, by: tuple[str, ...], batches: Iterable[pa.RecordBatch]
    ) -> None:
        from lakebed.values.parquet import write_table
        from lakebed.values.partitions import check_count, schema_key, split

        mark = schema_key(schema)
        for partition, rows in split(batches, schema, by):
            encoded = write_table(schema, rows.to_batches())
            self._pieces.append(_Piece(encoded, rows.num_rows, partition, mark))
            if len(self._pieces) % 100 == 0:
                check_count((piece.partition for piece in self._pieces), key)
        if not self._pieces:  # no rows: a table needs a part all the same
            nothing = write_table(schema, ())
            self._pieces.append(_Piece(nothing, 0, (None,) * len(by), mark))

    def _stage(self, piece: _Piece) -> Staged:
        for one in self._staged:
            if one.part.content_hash == piece.encoded.content_hash:
                return Staged(one.part, one.content, ())
        return self._lake._stage_part(
            piece.encoded, piece.rows, 0, piece.partition, piece.schema_key
        )

    def by_partition(self) -> dict[Partition, list[int]]:
        """Return the numbers of the pieces of each partition."""
        found = dict[Partition, list[int]]()
        for number, piece in enumerate(self._pieces):
            found.setdefault(piece.partition, []).append(number)
        return found

    def again(self, schema: pa.Schema, pieces: Iterable[int]) -> Iterator[pa.RecordBatch]:
        """Yield the rows of some pieces in the schema of a table."""
        from lakebed.values.parquet import read_table
        from lakebed.values.schemas import as_table

        for number in pieces:
            yield from as_table(read_table(self._pieces[number].encoded.data), schema).to_batches()

    def rows(self, pieces: Iterable[int]) -> int:
        """Return how many rows some pieces have."""
        return sum(self._pieces[number].rows for number in pieces)

    def place(self, schema: pa.Schema, number: int) -> tuple[Partition, str]:
        """Return the partition of a piece, and the key of the schema of a part there."""
        if not self._by:
            return (), ""
        from lakebed.values.partitions import schema_key

        return self._pieces[number].partition, schema_key(schema)

    def taken(self, staged: Sequence[Staged]) -> None:
        """Note that a commit has taken some staged uploads."""
        ours = {id(one) for one in staged}
        self._staged = [one for one in self._staged if id(one) not in ours]

    def unstage(self) -> None:
        """Give up what was staged: it is to be staged again."""
        staged, self._staged = self._staged, []
        for one in staged:
            self._lake._give_up(one)

    def _close(self) -> None:
        pieces, self._pieces = self._pieces, []
        for piece in pieces:
            piece.encoded.close()

    def __enter__(self) -> NewRows:
        return self

    def __exit__(self, *_: object) -> None:
        self.unstage()
        self._close()
