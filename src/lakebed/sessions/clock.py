"""The time of the lake, without a request each time."""

from __future__ import annotations

import threading
import time

from lakebed.clock import to_micros
from lakebed.lake.lake import Lake

_ASK = 5.0  # seconds after which the database is asked again
_RANDOM_DIGITS = 4


class LakeClock:
    """The database's time: its last answer, plus the time that has passed on this machine since
    then.

    Agents on machines with wrong clocks therefore agree on leases. The clock never goes back and
    never gives a time twice, so that what a process makes sorts in the order in which it was made.
    """

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._lock = threading.Lock()
        self._asked: float | None = None
        self._base = 0
        self._last = 0

    def now(self) -> int:
        """Return the microseconds since 1970."""
        with self._lock:
            here = time.monotonic()
            if self._asked is None or here - self._asked > _ASK:
                if self._asked is None:
                    self._lake.now()  # connecting takes long, and must not count
                    here = time.monotonic()
                self._base = to_micros(self._lake.now())
                self._asked = here = (
                    here + time.monotonic()
                ) / 2  # another thread has asked meanwhile
            self._last = max(self._base + int((here - self._asked) * 1_000_000), self._last + 1)
            return self._last
