"""A log store in memory, and one that fails as real services do."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Mapping
from typing import Literal, TypeVar

from lakebed.catalog.log.store import LogStore
from lakebed.errors import CatalogError, ConnectError, RateLimitedError

LogFault = Literal["fail", "lose", "late", "repeat", "throttle", "stale"]
LOG_FAULTS: tuple[LogFault, ...] = ("fail", "lose", "late", "repeat", "throttle", "stale")
T = TypeVar("T")


class MemoryLogStore:
    """A `LogStore` in a dictionary, for any number of clients in one process.

    `history`: by name, all items that were put under it, in order.
    """

    def __init__(self, item_bytes: int = 1 << 20) -> None:
        self.item_bytes = item_bytes
        self.items: dict[str, bytes] = {}
        self.history: dict[str, list[bytes]] = {}
        self._lock = threading.Lock()

    def put_new(self, name: str, data: bytes) -> bool:
        with self._lock:
            if name in self.items:
                return False
            self._set(name, data)
            return True

    def get(self, name: str) -> bytes | None:
        with self._lock:
            return self.items.get(name)

    def put(self, name: str, data: bytes) -> None:
        with self._lock:
            self._set(name, data)

    def _set(self, name: str, data: bytes) -> None:
        self.items[name] = data
        self.history.setdefault(name, []).append(data)

    def delete(self, name: str) -> None:
        with self._lock:
            self.items.pop(name, None)

    def close(self) -> None:
        """Do nothing: the store holds no connection."""


class FaultyLogStore:
    """A `LogStore` around another one. Some of its calls fail at random.

    | fault | the call |
    | --- | --- |
    | `fail` | raises ConnectError or CatalogError and does nothing |
    | `lose` | does its work, then raises ConnectError, as if the answer was lost |
    | `late` | a put raises ConnectError, but happens during one of the next calls |
    | `repeat` | a put happens now, and again during one of the next calls |
    | `throttle` | raises RateLimitedError and does nothing |
    | `stale` | a get returns None |

    `rates`: the probability of each fault, from 0 to 1. `seed`: of the random numbers. `counts`:
    how often each fault has happened.
    """

    def __init__(self, inner: LogStore, rates: Mapping[LogFault, float], seed: int = 0) -> None:
        self._inner = inner
        self._rates = rates
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._under_way: list[Callable[[], object]] = []
        self.counts: dict[LogFault, int] = dict.fromkeys(LOG_FAULTS, 0)

    @property
    def item_bytes(self) -> int:
        return self._inner.item_bytes

    def arrive(self) -> None:
        """Perform all puts that are late or repeated, now."""
        with self._lock:
            coming, self._under_way = self._under_way, []
        for call in coming:
            call()

    def put_new(self, name: str, data: bytes) -> bool:
        return self._put(lambda: self._inner.put_new(name, data))

    def put(self, name: str, data: bytes) -> None:
        self._put(lambda: self._inner.put(name, data))

    def get(self, name: str) -> bytes | None:
        fault = self._next("fail", "throttle", "stale")
        return None if fault == "stale" else self._inner.get(name)

    def delete(self, name: str) -> None:
        fault = self._next("fail", "lose", "throttle")
        self._inner.delete(name)
        self._lose(fault)

    def close(self) -> None:
        self._inner.close()

    def _put(self, call: Callable[[], T]) -> T:
        fault = self._next("fail", "lose", "late", "repeat", "throttle")
        if fault in ("late", "repeat"):
            with self._lock:
                self._under_way.append(call)
        if fault == "late":
            self._lose("lose")
        result = call()
        self._lose(fault)
        return result

    def _lose(self, fault: LogFault | None) -> None:
        if fault == "lose":
            raise ConnectError("injected: no answer", "connection_timeout")

    def _next(self, *possible: LogFault) -> LogFault | None:
        """Return the fault of the next call. If that call must do nothing, raise its error."""
        with self._lock:
            if self._under_way and self._random.random() < 0.3:
                arriving = self._under_way.pop(self._random.randrange(len(self._under_way)))
            else:
                arriving = None
            fault = next(
                (one for one in possible if self._random.random() < self._rates.get(one, 0)), None
            )
            if fault is not None:
                self.counts[fault] += 1
            conflict = self._random.random() < 0.5
        if arriving is not None:
            arriving()
        if fault == "fail":
            raise (
                CatalogError("injected: 409 conflict")
                if conflict
                else ConnectError("injected: 503 unavailable")
            )
        if fault == "throttle":
            raise RateLimitedError("injected: 429 slow down", 0.001)
        return fault
