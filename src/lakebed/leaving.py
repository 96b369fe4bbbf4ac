"""Calls whose caller may leave before they end, as a cancelled coroutine does.

A call runs in a thread, and a thread cannot be stopped from outside. So a call checks by itself
whether its caller has left: while it waits for a lock or a query, and between two steps. If the
caller has left, the call stops waiting. A step that has begun still runs to its end.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_LOOK = 0.05  # seconds between two checks
_SOON = 0.02  # seconds that a wait gets to end by itself before it is interrupted


class Call:
    """One call. `left` is true once its caller has left."""

    __slots__ = ("_ended", "_interrupt", "_lock", "_watched", "left")

    def __init__(self) -> None:
        self.left = self._ended = self._watched = False
        self._interrupt: Callable[[], object] | None = None
        self._lock = threading.Lock()

    def leave(self) -> None:
        """Note that the caller has left, and interrupt what the call waits for. Returns at once."""
        with self._lock:
            self.left = True
            self._watch()

    def end(self) -> None:
        """Note that the call has ended."""
        self._ended = True

    def waits(self, interrupt: Callable[[], object] | None) -> None:
        """Set the function that interrupts the present wait, or None once the wait is over.

        `interrupt` is called from another thread, and never after the wait is over.
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
        """Interrupt the present wait and later ones. Pause before each, because a wait that ends by
        itself costs less."""
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
    """Open a block that runs to its end, even if the caller leaves."""
    token = current.set(None)
    try:
        yield
    finally:
        current.reset(token)


def acquire(lock: threading.Lock | threading.RLock, timeout: float) -> bool:
    """Try to acquire a lock for `timeout` seconds, or until the caller leaves. Return whether it
    was acquired."""
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
