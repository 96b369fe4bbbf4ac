"""The base class of stores that a copy reads and writes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, NamedTuple

from lakebed.errors import LakebedError
from lakebed.lake.checks import check_key
from lakebed.values.codec import encode_metadata, encode_value
from lakebed.values.encoded import Encoded


class Item(NamedTuple):
    """An entry during a copy: its content as a lake stores it, and its metadata as canonical text.
    Times are in microseconds since the epoch, or None if unknown.

    `lives`: the microseconds until it expires, counted from when it is stored. It replaces
    `expires_at` if the source tells no time of expiry.
    """

    key: str
    content: Encoded
    metadata: str = "{}"
    expires_at: int | None = None
    created_at: int | None = None
    updated_at: int | None = None
    lives: int | None = None

    def is_over(self, now: int) -> bool:
        """Return whether the entry has expired at the time `now`."""
        return self.expires_at is not None and self.expires_at <= now


def item_of(
    key: object,
    value: Any,
    metadata: object = None,
    *,
    expires_at: int | None = None,
    created_at: int | None = None,
    updated_at: int | None = None,
    lives: int | None = None,
) -> Item:
    """Return the item of a key, a value and metadata.

    Raises ValidationError or SerializationError, with the key, for a value or metadata that a lake
    cannot hold.
    """
    checked = check_key(key)
    try:
        encoded = encode_value(value)
        content = Encoded(encoded.format, encoded.data, encoded.content_hash)
        encoded.close()
        text = encode_metadata(metadata)
    except LakebedError as error:
        raise type(error)(f"{checked!r}: {error}") from None
    return Item(checked, content, text, expires_at, created_at, updated_at, lives)


class Outside(ABC):
    """A store that entries are copied from or to."""

    name: str
    """The name of the store in errors, without secrets."""
    keeps_times: ClassVar[bool] = False
    """Whether stored items keep the times at which they were created and updated."""
    tells_times: ClassVar[bool] = False
    """Whether items that are read have these times."""
    tells_expiry: bool = True
    """Whether items that are read have their expiry."""
    precision: ClassVar[int] = 0
    """Microseconds by which a stored expiry may differ from the given one."""

    @abstractmethod
    def items(self, prefix: str) -> Iterator[Item]:
        """Yield the items whose keys begin with the prefix, in any order."""

    @abstractmethod
    def find(self, keys: Sequence[str]) -> dict[str, Item]:
        """Return the stored items of these keys, by key."""

    @abstractmethod
    def refusal(self, item: Item) -> str | None:
        """Return why the store cannot hold the item, or None if it can."""

    @abstractmethod
    def store(self, items: Sequence[Item]) -> None:
        """Store items, replacing items with the same keys."""

    def held(self, item: Item) -> Item:
        """Return the item as it will be read once it is stored here."""
        return item

    def prepare(self) -> None:  # noqa: B027 - some need nothing
        """Make the store ready for writing. Raises an error if it must not be written."""

    def is_alike(self, item: Item, there: Item | None) -> bool:
        """Return whether storing an item would not change the stored item `there`."""
        if there is None:
            return False
        wanted = self.held(item)
        same = (wanted.content.id, wanted.metadata) == (there.content.id, there.metadata)
        if not same or item.lives is not None or not self.tells_expiry:
            return same
        if wanted.expires_at is None or there.expires_at is None:
            return wanted.expires_at == there.expires_at
        return abs(wanted.expires_at - there.expires_at) <= self.precision

    def close(self) -> None:  # noqa: B027 - some open nothing
        """Close what was opened for the copy."""
