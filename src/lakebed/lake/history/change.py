"""An entry that differs between two moments."""

from __future__ import annotations

from typing import Any, ClassVar

from lakebed.model import EntryRow
from lakebed.records import Entry, Record, ValueReader


class EntryChange(Record):
    """A key whose entry differs. `before` and `after` are entries; the flags tell what differs."""

    __slots__ = ("_entries", "_rows")
    FIELDS: ClassVar[tuple[str, ...]] = (
        "key", "before", "after", "content_changed", "metadata_changed", "expiry_changed",
    )  # fmt: skip

    def __init__(self, before: EntryRow, after: EntryRow, lake: ValueReader) -> None:
        self._rows = before, after
        self._entries = Entry(before, lake), Entry(after, lake)

    @property
    def key(self) -> str:
        return self._rows[1].key

    @property
    def before(self) -> Entry:
        return self._entries[0]

    @property
    def after(self) -> Entry:
        return self._entries[1]

    @property
    def content_changed(self) -> bool:
        before, after = self._rows
        return (before.content_hash, before.format) != (after.content_hash, after.format)

    @property
    def metadata_changed(self) -> bool:
        before, after = self._rows
        return before.metadata != after.metadata  # as text: in Python 1, 1.0 and True are equal

    @property
    def expiry_changed(self) -> bool:
        before, after = self._rows
        return before.expires_at != after.expires_at

    def details(self) -> dict[str, Any]:
        """Return what changed inside the value. Reads both values.

        For JSON values, the result maps the kinds that DeepDiff tells apart (`values_changed`,
        `type_changes`, `dictionary_item_added`, `iterable_item_removed`, …) to the changes by path
        (`root['price']`). For tables, it has the number of rows before and after, and the columns
        that were added, removed or changed in type. For the rest, it has the sizes in bytes. It is
        empty if the content is alike.
        """
        from lakebed.lake.history.diff_details import details

        return details(self.before, self.after) if self.content_changed else {}
