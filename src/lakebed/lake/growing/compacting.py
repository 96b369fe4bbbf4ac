"""Joins the parts of tables that are at rest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from lakebed.catalog.protocol import MissingContentError
from lakebed.errors import ConflictError
from lakebed.lake.growing.joining import LARGE, groups
from lakebed.lake.growing.writing import PartsWriting, Staged
from lakebed.model import EntryRow, Put
from lakebed.values.parts import TABLE, Part, Parts

_PAGE = 500


class Joinable(NamedTuple):
    """A table whose parts can be joined, and which of them to one each."""

    row: EntryRow
    table: Parts
    groups: Sequence[Sequence[Part]]

    @property
    def is_whole(self) -> bool:
        """Whether it becomes a plain table, of one file."""
        return len(self.groups) == 1 and not self.table.partition_by

    def rewrites(self, group: Sequence[Part]) -> bool:
        """Return whether these parts are rewritten."""
        return len(group) > 1 or self.is_whole

    @property
    def joined(self) -> list[Part]:
        """The parts that are rewritten."""
        return [part for group in self.groups if self.rewrites(group) for part in group]

    @property
    def byte_size(self) -> int:
        """Their size."""
        return sum(part.byte_size for part in self.joined)


class JoiningTables(PartsWriting):
    """What a compaction does with tables of parts."""

    def _joinable(self, horizon: int) -> Iterator[Joinable]:
        """Yield the tables that have small parts and were last changed by `horizon`."""
        after = ""
        while rows := self._catalog.tables_of_parts(after, _PAGE):
            for row in rows:
                if row.format != TABLE or row.updated_at > horizon:
                    continue
                try:
                    table = self._parts_of(row)
                except ConflictError:  # somebody changes it just now
                    continue
                found = Joinable(row, table, [*groups(table.parts)])
                whole = found.is_whole and sum(p.byte_size for p in table.parts) <= LARGE
                if whole or len(found.groups) < len(table.parts):
                    yield found
            after = rows[-1].key

    def _join_table(self, found: Joinable) -> bool:
        """Join the parts of a table. Return whether it was done: not if somebody has changed the
        entry meanwhile."""
        from lakebed.values.partitions import schema_key  # loads pyarrow

        row, table, _ = found
        key = schema_key(table.schema()) if table.partition_by else ""
        staged: list[Staged] = []
        try:
            parts = list[Part]()
            for group in found.groups:
                if not found.rewrites(group):
                    parts += group
                    continue
                some = Parts(table.schema_bytes, tuple(group))
                encoded = self._join(row, some)
                try:
                    level = max(part.level for part in group) + 1
                    partition = group[0].partition
                    staged.append(self._stage_part(encoded, some.rows, level, partition, key))
                finally:
                    encoded.close()
                parts.append(staged[-1].part)
            if not found.is_whole:
                self._replace_parts(row, table._replace(parts=tuple(parts)), staged)
            else:
                put = Put(
                    row.key, staged[0].content, row.metadata, if_match=row.content_hash,
                    keep_expiry=True, keep_metadata=True,
                )  # fmt: skip
                self._catalog.commit([put], staged[0].uploads)
        except BaseException as error:
            for one in staged:
                self._give_up(one)
            if isinstance(error, (ConflictError, MissingContentError)):
                return False
            raise
        return True
