"""The time of the lake, without asking for it each time."""

from __future__ import annotations

import threading
import time

from lakebed.clock import to_micros
from lakebed.lake.lake import Lake

_ASK = 5.0  # seconds after which the database is asked again
_RANDOM_DIGITS = 4


class LakeClock:
    """The database's time: what it was when last asked, and what has passed since on this machine.

    So agents on machines with wrong clocks agree on leases. It never goes back, and never gives a
    time twice: what one process makes is in the order in which it was made.
    """

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._lock = threading.Lock()
        self._asked: float | None = None
        self._base = 0
        self._last = 0

    def now(self) -> int:
        """Microseconds since the epoch."""
        with self._lock:
            here = time.monotonic()
            if self._asked is None or here - self._asked > _ASK:
                if self._asked is None:
                    self._lake.now()  # connecting takes long, and shall not count
                    here = time.monotonic()
                self._base = to_micros(self._lake.now())
                self._asked = here = (here + time.monotonic()) / 2  # it was asked in between
            self._last = max(self._base + int((here - self._asked) * 1_000_000), self._last + 1)
            return self._last
