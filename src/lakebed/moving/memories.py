"""Memories of agents that are not lakes: other packages' backends of the LTM interface."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from lakebed.clock import from_micros, to_micros
from lakebed.errors import CatalogError, LakebedError
from lakebed.lake.checks import check_expiry
from lakebed.ltm.expiry import expiry
from lakebed.moving.outside import Item, Outside, item_of
from lakebed.reporting import Result
from lakebed.values.codec import decode_value, encode_metadata
from lakebed.values.json import decode_text


@runtime_checkable
class LongTermMemory(Protocol):
    """The part of a backend of the LTM interface that a copy uses."""

    def iterate_all(self) -> Iterator[tuple[str, Any, dict[str, Any]]]: ...

    def store_batch(self, entries: Any, atomic: bool = True) -> Result: ...

    def retrieve_batch(self, keys: Any) -> Result: ...


class Memory(Outside):
    """A backend of the LTM interface. The metadata of its entries say when they expire."""

    def __init__(self, backend: LongTermMemory, name: str, *, opened: bool = False) -> None:
        self._backend = backend
        self._opened = opened
        self.name = name

    def items(self, prefix: str) -> Iterator[Item]:
        for key, value, metadata in self._backend.iterate_all():
            if key.startswith(prefix):
                yield _item(key, value, metadata)

    def find(self, keys: Sequence[str]) -> dict[str, Item]:
        result = self._backend.retrieve_batch(list(keys))
        if not result.get("success"):
            raise CatalogError(f"{self.name}: {result.get('error')}")
        return {
            key: _item(key, found["value"], found.get("metadata"))
            for key, found in result["entries"].items()
            if found is not None and found.get("found", True)
        }

    def refusal(self, item: Item) -> str | None:
        metadata = decode_text(item.metadata)
        if "ttl" in metadata and "expires_at" not in metadata and item.expires_at is None:
            return "does not expire, but the ttl in its metadata would make it expire"
        if "expires_at" in metadata and _expiry(metadata)[0] != item.expires_at:
            return "has another expires_at in its metadata than its own"
        return None

    def held(self, item: Item) -> Item:
        metadata = decode_text(item.metadata)
        if item.expires_at is None or "expires_at" in metadata:
            return item
        metadata["expires_at"] = from_micros(item.expires_at).isoformat()
        return item._replace(metadata=encode_metadata(metadata))

    def store(self, items: Sequence[Item]) -> None:
        entries = [
            {
                "key": item.key,
                "value": decode_value(item.content.format, item.content.data),
                "metadata": decode_text(self.held(item).metadata),
            }
            for item in items
        ]
        result = self._backend.store_batch(entries, atomic=True)
        if not result.get("success") or result.get("errors"):
            errors: Mapping[str, Any] = result.get("errors") or {}
            reason = result.get("error")
            for key, error in errors.items():
                text = error.get("error") if isinstance(error, Mapping) else error
                reason = f"{key!r}: {text}"
                break
            raise CatalogError(f"{self.name} did not store the copied entries: {reason}")

    def close(self) -> None:
        close = getattr(self._backend, "close", None)  # a backend need not have it
        if self._opened and close is not None:
            close()


def _item(key: str, value: Any, metadata: Any) -> Item:
    try:
        expires_at, lives = _expiry(metadata or {})
    except LakebedError as error:
        raise type(error)(f"{key!r}: {error}") from None
    return item_of(key, value, metadata or {}, expires_at=expires_at, lives=lives)


def _expiry(metadata: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """Return when an entry with such metadata expires, and how long it lives if the metadata have
    only a ttl. Both are in microseconds."""
    ttl, moment = expiry(metadata)
    if moment is not None:
        return to_micros(moment), None
    return None, check_expiry(ttl, None)[0]
