"""What a shared log needs from the place that keeps it."""

from __future__ import annotations

from typing import Protocol


class LogStore(Protocol):
    """Named items of bytes. Any thread may call, and several at once.

    Lakebed chooses the names: `log/17`, `bundle/0`, `base/17-5f0c…`, `part/5f0c…-2`. They consist
    of lower-case letters, digits, `/` and `-`, and have at most 100 characters. A store keeps them
    under a prefix of its own, so that several lakes can share one table or bucket.

    The whole log relies on two rules:

    - `put_new` decides races. Of all calls with one name, by any number of clients, at most one
      puts its bytes. Only `put` and `delete` change them afterwards.
    - `get` is strongly consistent. It finds what any client has put before the call began, and
      never answers from a cache or from a replica that lags.

    Errors are those of `lakebed.errors`: `ConnectError` (also for refused credentials and
    time-outs), `RateLimitedError` with `retry_after`, and `StorageError` or `CatalogError` for the
    rest. A call that raises may still have done its work, or may do it later. The log finds out, so
    a store need not repeat calls. If a store does repeat calls, its `put_new` may return False for
    bytes that its own first try has put.

    A forked process opens a store of its own.
    """

    @property
    def item_bytes(self) -> int:
        """The size in bytes of the largest item. The log divides larger ones into parts."""
        ...

    def put_new(self, name: str, data: bytes) -> bool:
        """Put an item unless the name exists, durably and in one step. Return whether it was
        put."""
        ...

    def get(self, name: str) -> bytes | None:
        """Return the bytes of an item, or None if it does not exist."""
        ...

    def put(self, name: str, data: bytes) -> None:
        """Put an item, and replace any item with this name.

        A reader sees either the whole old item or the whole new one.
        """
        ...

    def delete(self, name: str) -> None:
        """Delete an item. A missing item is not an error."""
        ...

    def close(self) -> None:
        """Close the connections."""
        ...
