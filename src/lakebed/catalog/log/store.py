"""What a shared log asks of the place that keeps it."""

from __future__ import annotations

from typing import Protocol


class LogStore(Protocol):
    """Named items of bytes. Any thread may call, and several at once.

    Names are of Lakebed's making: `log/17`, `bundle/0`, `base/17-5f0c…`, `part/5f0c…-2`. They
    consist of lower-case letters, digits, `/` and `-`, and have at most 100 characters. A store
    keeps them under a prefix of its own, so that several lakes in one table or bucket do not meet.

    Two rules carry the whole log:

    - `put_new` decides: of any number of calls with one name, by any number of clients, one at most
      puts its bytes, and nothing changes them but `put` and `delete`.
    - `get` asks the place itself, with strong consistency: what any client has put before the call
      began is found. It never answers from a replica that lags or a cache.

    Errors are those of `lakebed.errors`: `ConnectError` (also for refused credentials and
    time-outs), `RateLimitedError` with `retry_after`, `StorageError` or `CatalogError` for the
    rest. A call that raises may have done its work all the same, and may still do it later: the log
    settles that. So a store need not repeat calls itself. If it does, `put_new` may return False
    for bytes that its own first try has put.

    A process that was forked opens a store of its own.
    """

    @property
    def item_bytes(self) -> int:
        """The most bytes of an item. What is larger comes in parts."""
        ...

    def put_new(self, name: str, data: bytes) -> bool:
        """Put an item unless one with this name is there, durably and in one step. Returns whether
        it was put."""
        ...

    def get(self, name: str) -> bytes | None:
        """Return the bytes of an item; None if there is none."""
        ...

    def put(self, name: str, data: bytes) -> None:
        """Put an item in place of the one that may be there. A reader sees the old or the new one,
        complete."""
        ...

    def delete(self, name: str) -> None:
        """Delete an item. A missing one is not an error."""
        ...

    def close(self) -> None:
        """Close connections."""
        ...
