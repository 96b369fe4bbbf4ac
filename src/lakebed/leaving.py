"""Calls whose caller may leave before they have ended, as a cancelled coroutine does.

A call runs in a thread, which nobody can stop from outside. So it looks, wherever it waits long:
for a lock, for a query, between two steps. Who has left waits no longer; what has begun to happen
still happens whole.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_LOOK = 0.05  # seconds between two looks
_SOON = 0.02  # seconds that a wait may still take by itself


class Call:
    """One call. `left`: its caller has left."""

    __slots__ = ("_ended", "_interrupt", "_lock", "_watched", "left")

    def __init__(self) -> None:
        self.left = self._ended = self._watched = False
        self._interrupt: Callable[[], object] | None = None
        self._lock = threading.Lock()

    def leave(self) -> None:
        """Note that the caller leaves, and end what the call waits for. This returns at once."""
        with self._lock:
            self.left = True
            self._watch()

    def end(self) -> None:
        """Note that the call has ended."""
        self._ended = True

    def waits(self, interrupt: Callable[[], object] | None) -> None:
        """Note that the call waits for something that `interrupt` ends, or with None, waits no
        longer.

        `interrupt` is called from another thread, and never once the wait is over.
        """
        with self._lock:
            self._interrupt = interrupt
            if self.left:
                self._watch()

    def _watch(self) -> None:
        if self._interrupt is not None and not self._watched:
            self._watched = True
            threading.Thread(target=self._end_waits, name="lakebed-leave", daemon=True).start()

    def _end_waits(self) -> None:
        """End the present wait and later ones, each after a pause: a wait that ends by itself costs
        less."""
        pause = _SOON
        while not self._ended:
            time.sleep(pause)
            pause = _LOOK
            with self._lock:
                if self._interrupt is not None:
                    self._interrupt()


current: ContextVar[Call | None] = ContextVar("call", default=None)
"""The call that this thread works for, if its caller may leave."""


def has_left() -> bool:
    """Return whether the caller of this thread's call has left."""
    call = current.get()
    return call is not None and call.left


@contextmanager
def staying() -> Iterator[None]:
    """Open a block that is done to its end, even if the caller leaves."""
    token = current.set(None)
    try:
        yield
    finally:
        current.reset(token)


def acquire(lock: threading.Lock | threading.RLock, timeout: float) -> bool:
    """Acquire a lock within `timeout` seconds, unless the caller leaves; whether it was."""
    call = current.get()
    if call is None:
        return lock.acquire(timeout=timeout)
    end = time.monotonic() + timeout
    while not call.left:
        rest = end - time.monotonic()
        if lock.acquire(timeout=max(0.0, min(rest, _LOOK))):
            return True
        if rest <= 0:
            break
    return False
