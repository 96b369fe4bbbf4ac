"""A range of keys under a prefix, and how they are told inside a scope."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from lakebed.errors import ValidationError
from lakebed.lake.checks import MAX_KEY_BYTES, check_prefix
from lakebed.model import LAST_KEY, DiffRow, EntryRow, SnapshotRow


class Span(NamedTuple):
    """The range of keys that begin with a prefix, and how they are told inside."""

    prefix: str
    end: str

    @classmethod
    def of(cls, prefix: str) -> Span:
        return cls(*check_prefix(prefix))

    def full(self, key: str) -> str:
        """The key in the lake."""
        whole = self.prefix + key
        size = len(whole.encode())
        if size > MAX_KEY_BYTES:
            raise ValidationError(
                f"key takes {size} bytes with its scope: expected at most {MAX_KEY_BYTES}"
            )
        return whole

    def bounds(self, low: str, high: str) -> tuple[str, str]:
        """A range of keys in the lake; never more than the scope."""
        top = self.end if high >= LAST_KEY else min(self.prefix + high, self.end)
        return self.prefix + low, top

    def row(self, row: EntryRow) -> EntryRow:
        """A row with its key inside."""
        assert row.key.startswith(self.prefix)
        return row._replace(key=row.key[len(self.prefix) :])

    def changed(self, rows: Iterable[DiffRow]) -> Iterator[DiffRow]:
        for before, after in rows:
            yield DiffRow(before and self.row(before), after and self.row(after))

    def snapshot(self, row: SnapshotRow) -> SnapshotRow | None:
        """A snapshot of the scope, with its name inside; None for one of others."""
        if not row.name.startswith(self.prefix):
            return None
        return row._replace(name=row.name[len(self.prefix) :])

    def without(self, text: str) -> str:
        """A message that tells keys as they are inside."""
        return text.replace(self.prefix, "").replace(repr(self.prefix)[1:-1], "")
