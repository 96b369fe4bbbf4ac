"""What a copy needs of a store that is no lake."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, NamedTuple

from lakebed.errors import LakebedError
from lakebed.lake.checks import check_key
from lakebed.values.codec import encode_metadata, encode_value
from lakebed.values.encoded import Encoded


class Item(NamedTuple):
    """An entry on its way: its content as a lake stores it, and its metadata as their canonical
    text. Times are in microseconds since the epoch, None if they are not known.

    `lives`: how long it lives from its store on, where its store tells no moment.
    """

    key: str
    content: Encoded
    metadata: str = "{}"
    expires_at: int | None = None
    created_at: int | None = None
    updated_at: int | None = None
    lives: int | None = None

    def is_over(self, now: int) -> bool:
        """Return whether it has expired."""
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
    """Make an item of a key, a value and metadata as Python has them.

    Raises ValidationError or SerializationError, with the key, for what no lake can hold.
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
    """A store that entries are copied from and to. Subclasses close what they open."""

    name: str
    """What it is called in errors, without secrets."""
    keeps_times: ClassVar[bool] = False
    """Whether it takes over when an entry was created and updated."""
    tells_times: ClassVar[bool] = False
    """Whether it tells that of its own items."""
    tells_expiry: bool = True
    """Whether an item that it tells has its expiry."""
    precision: ClassVar[int] = 0
    """Microseconds by which an expiry may differ once it is stored here."""

    @abstractmethod
    def items(self, prefix: str) -> Iterator[Item]:
        """Yield the items whose keys begin so, in any order."""

    @abstractmethod
    def find(self, keys: Sequence[str]) -> dict[str, Item]:
        """Return those of the items that are there."""

    @abstractmethod
    def refusal(self, item: Item) -> str | None:
        """Return why the item cannot be held here, None if it can."""

    @abstractmethod
    def store(self, items: Sequence[Item]) -> None:
        """Store items in place of those with their keys."""

    def held(self, item: Item) -> Item:
        """Return the item as this store tells it once it is stored."""
        return item

    def prepare(self) -> None:  # noqa: B027 - some need nothing
        """Make the store ready to be written. Raises an error if it must not be."""

    def is_alike(self, item: Item, there: Item | None) -> bool:
        """Return whether an item is here already as `there`."""
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
