"""A lake as the source or target of a copy, if the other is not a lake."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lakebed.errors import LakebedError
from lakebed.lake.base import MAX_INLINE_BYTES
from lakebed.lake.contents.windows import contents_in_order
from lakebed.lake.copying.batch import store_contents
from lakebed.lake.history.snapshots import LakeView
from lakebed.lake.lake import Lake
from lakebed.model import EntryRow
from lakebed.moving.outside import Item, Outside
from lakebed.values.codec import encode_value
from lakebed.values.encoded import Encoded
from lakebed.values.parts import TABLE


class LakeStore(Outside):
    """A lake. `view`: the moment to read it at. None means now."""

    keeps_times = tells_times = True

    def __init__(self, lake: Lake, view: Lake | LakeView | None = None) -> None:
        self._lake = lake
        self._view = view or lake
        self.name = lake.name

    def items(self, prefix: str) -> Iterator[Item]:
        rows = self._view.list(prefix).rows()
        for row, data in contents_in_order(rows, self._lake.read_contents):
            if isinstance(data, LakebedError):
                raise data
            if row.format == TABLE:  # other stores do not know parts
                yield _item(row, self._joined(row, data))
            else:
                yield _item(row, Encoded(row.format, data, row.content_hash))

    def _joined(self, row: EntryRow, data: bytes) -> Encoded:
        """Return a table of parts as one whole table."""
        encoded = encode_value(self._view._decode(row, data))
        try:
            return Encoded(encoded.format, encoded.data, encoded.content_hash)
        finally:
            encoded.close()

    def find(self, keys: Sequence[str]) -> dict[str, Item]:
        return {
            row.key: _item(row, Encoded(row.format, b"", row.content_hash))
            for row in self._lake._catalog.get_many(keys)
        }

    def refusal(self, item: Item) -> str | None:
        if self._lake._objects is None and item.content.byte_size > MAX_INLINE_BYTES:
            return f"has {item.content.byte_size:,} bytes, and the lake has no storage"
        return None

    def prepare(self) -> None:
        self._lake._must_write("copy")

    def store(self, items: Sequence[Item]) -> None:
        now = self._lake._catalog.now()
        store_contents(
            self._lake, ((_row(item, now), item.content.data) for item in _in_order(items))
        )


def _in_order(items: Sequence[Item]) -> list[Item]:
    return sorted(items, key=lambda item: item.key.encode())


def _item(row: EntryRow, content: Encoded) -> Item:
    return Item(row.key, content, row.metadata, row.expires_at, row.created_at, row.updated_at)


def _row(item: Item, now: int) -> EntryRow:
    created = now if item.created_at is None else item.created_at
    return EntryRow(
        key=item.key,
        version=0,
        metadata=item.metadata,
        expires_at=item.expires_at if item.lives is None else now + item.lives,
        created_at=created,
        updated_at=now if item.updated_at is None else item.updated_at,
        content_hash=item.content.content_hash,
        format=item.content.format,
        byte_size=item.content.byte_size,
        inline_value=None,
        uri=None,
        position=None,
    )
