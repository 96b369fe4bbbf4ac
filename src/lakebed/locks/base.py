"""The base of all locks: waiting, the time to live, and the owner. Each kind adds three methods."""

from __future__ import annotations

import math
import os
import random
import secrets
import socket
import threading
import time
from abc import ABC, abstractmethod
from datetime import timedelta
from types import TracebackType
from typing import NamedTuple, Self

from lakebed.clock import Clock, system_clock
from lakebed.errors import LockLostError, LockTimeoutError, ValidationError

MAX_NAME_BYTES = 255
_LONGEST = 366 * 86400.0  # seconds
_SOON, _LATER = 0.01, 0.5  # the first and the longest pause between two tries, in seconds


class _Holding(NamedTuple):
    """The time for which this object holds the lock.

    `until` is in microseconds of the object's clock. It counts from before the lock was requested.
    """

    token: int
    until: int
    pid: int


class Lock(ABC):
    """A named lock that one owner at a time holds, for at most `ttl` seconds.

    An owner that crashes or stalls loses the lock once `ttl` seconds have passed since it acquired
    or refreshed it. It may not notice at once, so a lock alone cannot keep two owners from working
    at the same time. Pass `token` to the resource that the lock protects, and have the resource
    refuse tokens that are lower than the highest that it has seen.

    An object stands for one owner. Threads and processes that compete must each make their own. A
    forked process does not hold its parent's lock.

    As a context manager, it acquires the lock and releases it at the end. Leaving the block raises
    LockLostError if the lock was lost meanwhile, unless the block raised an error itself.
    """

    def __init__(
        self, name: str, ttl: float | timedelta = 300, *, clock: Clock = system_clock
    ) -> None:
        """`ttl`: seconds or a timedelta, up to 366 days. `clock`: returns the time in microseconds,
        for tests."""
        self.name = _check_name(name)
        self.ttl = _check_seconds("ttl", ttl, above=0)
        self._clock = clock
        self._mutex = threading.Lock()
        self._holding: _Holding | None = None
        self._owner = ("", 0)

    # The methods of each kind. A call is repeated with the same `owner` if its answer was lost.

    @abstractmethod
    def _take(self, owner: str) -> int | None:
        """Make `owner` the owner for `ttl` seconds, unless there is another owner.

        Returns the new token, or None if there is another owner.
        """

    @abstractmethod
    def _extend(self, owner: str, token: int) -> bool:
        """Restart the time to live. Return False if `owner` with this token is not the owner."""

    @abstractmethod
    def _free(self, owner: str, token: int) -> bool:
        """End the ownership. Return False if another owner has followed, otherwise True.

        Ending it again also returns True.
        """

    def close(self) -> None:  # noqa: B027 - most kinds keep nothing open
        """Close the connection, if there is one. The lock is not released."""

    # The methods for users.

    def acquire(self, timeout: float | timedelta = 30) -> int:
        """Wait until the lock is free, and take it. Return the fencing token.

        `timeout`: seconds to wait, or a timedelta. With 0, the lock is tried once.

        Raises LockTimeoutError if the lock was not free in time; ConnectError, StorageError or
        RateLimitedError if the service that keeps it fails; and ValidationError for a malformed
        `timeout`.
        """
        seconds = _check_seconds("timeout", timeout)
        end, pause = time.monotonic() + seconds, _SOON
        while True:
            with self._mutex:
                if not self.is_held and (token := self._try()) is not None:
                    return token
            rest = end - time.monotonic()
            if rest <= 0:
                raise LockTimeoutError(
                    f"the lock {self.name!r} was not free within {seconds:g} seconds (timeout)"
                )
            time.sleep(min(rest, pause * random.uniform(0.5, 1.0)))  # noqa: S311 - no secret
            pause = min(pause * 2, _LATER)

    def _try(self) -> int | None:
        begin = self._clock()
        token = self._take(self._own_name())
        if token is not None:
            self._holding = _Holding(token, begin + self._micros, os.getpid())
        return token

    def refresh(self) -> None:
        """Hold the lock for another `ttl` seconds from now.

        Raises LockLostError if the lock is not held, because it was not acquired, its time has
        passed, or it has another owner; and ConnectError, StorageError or RateLimitedError if the
        service that keeps it fails.
        """
        with self._mutex:
            holding = self._holding
            if holding is None or holding.pid != os.getpid():
                raise LockLostError(f"the lock {self.name!r} is not held: acquire it first")
            begin = self._clock()
            if begin >= holding.until or not self._extend(self._own_name(), holding.token):
                self._holding = None
                raise self._lost()
            self._holding = holding._replace(until=begin + self._micros)

    def release(self) -> bool:
        """Release the lock. Return whether it was still held.

        Returns False if its time had passed, or if it was never acquired. If there is another
        owner, that one keeps the lock.

        Raises ConnectError, StorageError or RateLimitedError if the service that keeps the lock
        fails.
        """
        with self._mutex:
            holding, held = self._holding, self.is_held
            self._holding = None
            if holding is None or holding.pid != os.getpid():
                return False
            return self._free(self._own_name(), holding.token) and held

    @property
    def is_held(self) -> bool:
        """Whether this object holds the lock, as far as it knows without asking the service.

        It does if less than `ttl` seconds have passed since it acquired or refreshed the lock.
        """
        return self.remaining_ttl > 0

    @property
    def remaining_ttl(self) -> float:
        """The seconds for which this object still holds the lock, or 0."""
        holding = self._holding
        if holding is None or holding.pid != os.getpid():
            return 0.0
        return max(0, holding.until - self._clock()) / 1_000_000

    @property
    def token(self) -> int | None:
        """The number of this ownership. It is higher than the number of every earlier owner.

        It is None if the lock was not acquired. It does not change when the time has passed, so
        that a resource can recognise it as old.
        """
        holding = self._holding
        return None if holding is None or holding.pid != os.getpid() else holding.token

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            released = self.release()
        finally:
            self.close()
        if not released and error is None:
            raise self._lost()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}, {'held' if self.is_held else 'not held'}>"

    @property
    def _micros(self) -> int:
        return max(1, round(self.ttl * 1_000_000))

    def _own_name(self) -> str:
        """Return the name of this owner. After a fork, the child has another name."""
        name, pid = self._owner
        if pid != os.getpid():
            pid = os.getpid()
            name = f"{socket.gethostname()}/{pid}/{secrets.token_hex(8)}"
            self._owner = (name, pid)
        return name

    def _lost(self) -> LockLostError:
        return LockLostError(
            f"the lock {self.name!r} was lost: more than {self.ttl:g} seconds (ttl) passed without "
            "a refresh, so another owner may have worked meanwhile"
        )


def _check_name(name: object) -> str:
    if not isinstance(name, str) or not name:
        raise ValidationError(f"name must be a string that is not empty, got {name!r}")
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        raise ValidationError(f"name {name!r} contains a lone surrogate") from None
    if size > MAX_NAME_BYTES or "\0" in name:
        raise ValidationError(
            f"name must have at most {MAX_NAME_BYTES} bytes in UTF-8 and no NUL, got {name!r}"
        )
    return name


def _check_seconds(field: str, value: object, *, above: float | None = None) -> float:
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise ValidationError(f"{field} must be seconds or a timedelta, got {type(value).__name__}")
    if not 0 <= seconds <= _LONGEST or math.isnan(seconds) or seconds == above:
        least = "0 seconds" if above is None else "more than 0 seconds"
        raise ValidationError(f"{field} must be {least} to 366 days, got {seconds!r} seconds")
    return float(seconds)
