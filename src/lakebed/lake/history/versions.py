"""The versions of a key."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar, overload

from lakebed.clock import from_micros
from lakebed.model import VersionRow
from lakebed.records import Entry, ValueReader
from lakebed.values.tabular import Tabular

if TYPE_CHECKING:
    import pyarrow as pa


class Version(Entry):
    """A version of an entry: the entry's fields, and `ended_at`, the time when it was replaced or
    deleted (None for the current version)."""

    __slots__ = ("_ended_at",)
    FIELDS: ClassVar[tuple[str, ...]] = (*Entry.FIELDS, "ended_at")

    def __init__(self, version: VersionRow, lake: ValueReader) -> None:
        super().__init__(version.row, lake)
        self._ended_at = version.ended_at

    @property
    def ended_at(self) -> datetime | None:
        return None if self._ended_at is None else from_micros(self._ended_at)


class History(Sequence[Version], Tabular):
    """The versions of a key that are kept, the newest first.

    `complete` is False if the lake does not keep versions that were replaced between snapshots.
    `note` says so in words.
    """

    def __init__(self, versions: Sequence[Version], note: str | None) -> None:
        self._versions = versions
        self.note = note

    @property
    def complete(self) -> bool:
        return self.note is None

    def __len__(self) -> int:
        return len(self._versions)

    @overload
    def __getitem__(self, index: int) -> Version: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Version]: ...
    def __getitem__(self, index: int | slice) -> Version | Sequence[Version]:
        return self._versions[index]

    def to_arrow(self) -> pa.Table:
        """Return the versions as an Arrow table, the newest first.

        Columns: those of a listing's table, and ended_at (timestamp[us, UTC]), which is null for
        the current version.
        """
        import pyarrow as pa

        from lakebed.lake.arrow.entries import ENTRY_SCHEMA
        from lakebed.values.codec import encode_metadata

        schema = ENTRY_SCHEMA.append(pa.field("ended_at", pa.timestamp("us", "UTC")))
        rows = [
            {name: version[name] for name in schema.names}
            | {"metadata": encode_metadata(version.metadata)}
            for version in self
        ]
        return pa.Table.from_pylist(rows, schema=schema)

    def __repr__(self) -> str:
        return f"<History of {len(self)} versions{': ' + self.note if self.note else ''}>"

    def _repr_html_(self) -> str:
        from lakebed.values.html import table

        names = ("version", "updated_at", "ended_at", "byte_size", "metadata", "content_hash")
        rows = ([version[name] for name in names] for version in self)
        return table(repr(self)[1:-1], names, rows)
