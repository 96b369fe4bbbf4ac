"""Signals between clients of a catalog: who waits is woken, where the database can do that."""

from __future__ import annotations

import time
from typing import Protocol


class Signals(Protocol):
    """What somebody who listens waits on. `wakes`: whether a signal ends a wait early."""

    @property
    def wakes(self) -> bool: ...

    def wait(self, seconds: float) -> None:
        """Wait for a signal, and no longer than that. It may end early without one."""
        ...


class Silence:
    """Where the database has no signals: a wait takes its time."""

    wakes = False

    def wait(self, seconds: float) -> None:
        time.sleep(max(0.0, seconds))
