"""Signals between clients of a catalog. If the database supports it, a signal wakes a waiting
client."""

from __future__ import annotations

import time
from typing import Protocol


class Signals(Protocol):
    """The signals that a listener waits for. `wakes`: whether a signal ends a wait early."""

    @property
    def wakes(self) -> bool: ...

    def wait(self, seconds: float) -> None:
        """Wait for a signal, at most `seconds`. May end early without one."""
        ...


class Silence:
    """For databases without signals: each wait takes its full time."""

    wakes = False

    def wait(self, seconds: float) -> None:
        time.sleep(max(0.0, seconds))
