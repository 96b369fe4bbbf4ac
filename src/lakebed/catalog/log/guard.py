"""A lock that is held during commits. It avoids lost races, but only the put decides a race."""

from __future__ import annotations

import logging
from collections.abc import Callable

from lakebed.errors import LakebedError
from lakebed.locks import Lock

log = logging.getLogger("lakebed.log")


class Guard:
    """The lock of a process. Commits continue without it if it cannot be acquired.

    `make`: makes the lock. Without it, there is no lock. `shown`: the log's name in messages.
    """

    def __init__(self, make: Callable[[], Lock] | None, shown: str) -> None:
        self._make = make
        self._shown = shown
        self._lock: Lock | None = None

    def acquire(self, seconds: float) -> None:
        """Acquire the lock, waiting up to `seconds`, so that other clients wait instead of losing.

        A lock that cannot be acquired is logged, and is not an error.
        """
        if self._make is None:
            return
        try:
            if self._lock is None:
                self._lock = self._make()
            self._lock.acquire(min(seconds, self._lock.ttl))
        except LakebedError as error:
            log.info("the log %s goes on without its lock: %s", self._shown, error)

    def release(self) -> None:
        """Release the lock after the commit, whether it succeeded or not."""
        if self._lock is None:
            return
        try:
            self._lock.release()
        except LakebedError as error:  # it expires after its ttl
            log.info("the lock of the log %s was not released: %s", self._shown, error)

    def close(self) -> None:
        """Close the lock's connection."""
        if self._lock is not None:
            self._lock.close()
