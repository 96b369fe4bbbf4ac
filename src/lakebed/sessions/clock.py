"""The time of the lake, without a request for each reading."""

from __future__ import annotations

import threading
import time

from lakebed.clock import to_micros
from lakebed.lake.lake import Lake

_ASK = 5.0  # seconds after which the database is asked again
_RANDOM_DIGITS = 4


class LakeClock:
    """The database's time: its last answer, plus the time since then on this machine.

    So agents agree on leases even if clocks of machines are wrong. The clock never goes back and
    never returns a time twice. So ids that a process makes sort in the order in which it made them.
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
                    self._lake.now()  # connect first, because connecting must not count as delay
                    here = time.monotonic()
                self._base = to_micros(self._lake.now())
                self._asked = here = (here + time.monotonic()) / 2  # it answered about halfway
            self._last = max(self._base + int((here - self._asked) * 1_000_000), self._last + 1)
            return self._last
