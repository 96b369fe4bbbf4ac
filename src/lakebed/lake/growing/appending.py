"""Appends rows to stored tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lakebed.catalog.protocol import MissingContentError
from lakebed.errors import ConflictError, ValidationError
from lakebed.lake.checks import check_flag, check_key
from lakebed.lake.entries.staging import ATTEMPTS
from lakebed.lake.entries.writing import Writing
from lakebed.lake.growing.joining import by_partition, to_join, without_last
from lakebed.lake.growing.new_rows import NewRows
from lakebed.lake.growing.writing import PartsWriting, Staged
from lakebed.model import EntryRow, Outcome, Put
from lakebed.records import StoredEntry
from lakebed.values.parts import Part, Partition, Parts, list_parts
from lakebed.values.tables import is_table, open_table

if TYPE_CHECKING:
    import pyarrow as pa


class Appending(Writing, PartsWriting):
    """The call that appends."""

    def append(
        self,
        key: str,
        rows: Any,
        *,
        widen: bool = False,
        partition_by: str | Sequence[str] | None = None,
    ) -> StoredEntry:
        """Append rows to the table under a key. If there is no entry, store them as a new one.

        `rows`: a table, as for `store`. They are written as one Parquet object, in one commit. The
        rows that are there already are not written again, but for those of small parts, which are
        joined now and then (see the guide on tables). Metadata and expiry stay as they are.

        Columns are matched by name. `widen`: the rows may lack columns, or have others, which are
        null where they were not given; and the type of a column may differ, if there is one that
        holds all values of both.

        `partition_by`: one or several columns of text, whole numbers, booleans or dates. Each
        object has the rows of one value, so a query for one value opens no other objects. The first
        append decides; later ones may leave it out. A table has at most 1,000 partitions. The
        encoded rows of an append must fit in memory. Within each partition, rows keep the order of
        their appends.

        If several clients append at once, all rows are kept, each once, in the order of their
        commits.

        Returns the entry. Its `rows` is the number of rows after the append. Raises ValidationError
        if `rows` or the stored value is not a table, if a column differs (the error names it and
        both types), or if the table has other partitions. Raises SerializationError,
        LockTimeoutError and StorageError as `store` does. Nothing is appended then.
        """
        self._must_write("append")
        check_key(key)
        check_flag("widen", widen)
        by = None if partition_by is None else _columns(partition_by)
        if not is_table(rows):
            raise ValidationError(
                "rows must be a table, such as a DataFrame or a pyarrow Table, got "
                f"{type(rows).__name__}"
            )
        with NewRows(self, *open_table(rows)) as new:
            return StoredEntry(self._append(key, new, by, widen), self)

    def _append(self, key: str, new: NewRows, by: tuple[str, ...] | None, widen: bool) -> Outcome:
        gone = 0
        while True:
            row = self._catalog.get(key)
            try:
                if row is None:
                    return self._begin(key, new, by or ())
                return self._extend(row, new, by, widen)
            except ConflictError:  # somebody else was first; one of all who try always is
                continue
            except MissingContentError:
                new.unstage()
                gone += 1
                if gone == ATTEMPTS:
                    raise

    def _begin(self, key: str, new: NewRows, by: tuple[str, ...]) -> Outcome:
        staged = self._stage(key, new, new.schema, by)
        if by:
            parts = _listed(key, new.schema, [one.part for one in staged], by)
            outcome = self._create_parts(key, parts, staged)
        else:
            put = Put(key, staged[0].content, "{}", if_absent=True)
            (outcome,) = self._catalog.commit([put], staged[0].uploads)
        new.taken(staged)
        return outcome

    def _extend(
        self, row: EntryRow, new: NewRows, by: tuple[str, ...] | None, widen: bool
    ) -> Outcome:
        from lakebed.values.schemas import aligned, combined  # loads pyarrow

        table = self._parts_of(row)
        _check_partitions(row.key, table, by)
        schema = combined(table.schema(), new.schema, widen=widen, key=row.key)
        staged = self._stage(row.key, new, aligned(new.schema, schema), table.partition_by, schema)
        if not any(one.part.rows for one in staged):
            if schema.equals(table.schema()):
                return Outcome(row, created=False, changed=False, deduplicated=True)
            return self._replace_parts(row, list_parts(schema, table.parts, table.partition_by))
        there, counts = by_partition(table.parts), dict[Partition, int]()
        added, joined = list[Staged](), list[Staged]()
        try:
            for partition, some in new.by_partition().items():
                mine = there.get(partition, [])
                count, level = to_join(mine, sum(staged[n].part.byte_size for n in some))
                if count:
                    counts[partition] = count
                    joined.append(self._joined(row, schema, mine[-count:], new, some, level))
                else:
                    added += (staged[n] for n in some)
            parts = without_last(table.parts, counts)
            parts += (one.part for one in (*added, *joined))
            listed = _listed(row.key, schema, parts, table.partition_by)
            outcome = self._replace_parts(row, listed, [*added, *joined])
        except BaseException:
            for one in joined:
                self._give_up(one)
            raise
        new.taken(added)
        return outcome

    def _stage(
        self,
        key: str,
        new: NewRows,
        schema: pa.Schema,
        by: tuple[str, ...],
        table: pa.Schema | None = None,
    ) -> Sequence[Staged]:
        """Stage the rows in a schema. `table`: that of the table, if it is there already."""
        if by:
            from lakebed.values.partitions import check_columns

            check_columns(schema if table is None else table, by, key)
        return new.staged(key, schema, by)

    def _joined(
        self,
        row: EntryRow,
        schema: pa.Schema,
        before: Sequence[Part],
        new: NewRows,
        some: Sequence[int],
        level: int,
    ) -> Staged:
        """Stage one part of others and of new rows of the same partition."""
        listed = list_parts(schema, before)
        encoded = self._join(row, listed, new.again(schema, some))
        try:
            rows = listed.rows + new.rows(some)
            return self._stage_part(encoded, rows, level, *new.place(schema, some[0]))
        finally:
            encoded.close()


def _columns(given: object) -> tuple[str, ...]:
    """The names of columns that a caller gives."""
    names = (given,) if isinstance(given, str) else given
    if not isinstance(names, Sequence) or not names or any(type(n) is not str for n in names):
        raise ValidationError(
            f"partition_by must be the name of a column, or a list of names, got {given!r}"
        )
    if len({*names}) < len(names):
        raise ValidationError(f"partition_by names a column twice: {given!r}")
    return tuple(names)


def _check_partitions(key: str, table: Parts, by: tuple[str, ...] | None) -> None:
    if by is not None and by != table.partition_by:
        is_, asked = (", ".join(map(repr, names)) for names in (table.partition_by, by))
        how = f"partitioned by {is_}, not" if is_ else "not partitioned"
        raise ValidationError(f"the table {key!r} is {how} by {asked}: the first append decides")


def _listed(key: str, schema: pa.Schema, parts: Sequence[Part], by: tuple[str, ...]) -> Parts:
    if by:
        from lakebed.values.partitions import check_count

        check_count((part.partition for part in parts), key)
    return list_parts(schema, parts, by)
