"""A range of keys under a prefix, and the translation between keys inside and outside."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import NamedTuple

from lakebed.errors import ValidationError
from lakebed.lake.checks import MAX_KEY_BYTES, check_prefix
from lakebed.model import LAST_KEY, DiffRow, EntryRow, SnapshotRow


class Span(NamedTuple):
    """The range of keys that begin with a prefix. Inside, keys are written without the prefix."""

    prefix: str
    end: str

    @classmethod
    def of(cls, prefix: str) -> Span:
        return cls(*check_prefix(prefix))

    def full(self, key: str) -> str:
        """Return the key in the lake. Raises ValidationError if it is too long."""
        whole = self.prefix + key
        size = len(whole.encode())
        if size > MAX_KEY_BYTES:
            raise ValidationError(
                f"key takes {size} bytes with its scope: expected at most {MAX_KEY_BYTES}"
            )
        return whole

    def bounds(self, low: str, high: str) -> tuple[str, str]:
        """Return the range of keys in the lake. It never exceeds the scope."""
        top = self.end if high >= LAST_KEY else min(self.prefix + high, self.end)
        return self.prefix + low, top

    def inside(self, key: str) -> str:
        """Return a key of the lake as it is written inside the scope."""
        assert key.startswith(self.prefix)
        return key[len(self.prefix) :]

    def row(self, row: EntryRow) -> EntryRow:
        """Return a row with its key inside the scope."""
        return row._replace(key=self.inside(row.key))

    def changed(self, rows: Iterable[DiffRow]) -> Generator[DiffRow]:
        for before, after in rows:
            yield DiffRow(before and self.row(before), after and self.row(after))

    def snapshot(self, row: SnapshotRow) -> SnapshotRow | None:
        """Return a snapshot of the scope with its name inside, or None if it belongs to another
        scope."""
        if not row.name.startswith(self.prefix):
            return None
        return row._replace(name=row.name[len(self.prefix) :])

    def without(self, text: str) -> str:
        """Return a message in which keys are written as inside the scope."""
        return text.replace(self.prefix, "").replace(repr(self.prefix)[1:-1], "")
