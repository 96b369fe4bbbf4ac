"""Waiting for what other threads and processes do, by looking again and again."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

PATIENCE = 300
"""The seconds that something may take on a machine that is busy with other work."""
LONG = 3600.0
"""A timeout in seconds that no test waits for."""


@contextmanager
def in_time(most: float = PATIENCE) -> Iterator[None]:
    """Fails if the block takes more than so many seconds. A timeout that the block must not wait
    for should be LONG; where it cannot be set, `most` is less."""
    began = time.monotonic()
    yield
    took = time.monotonic() - began
    assert took < most, f"took {took:.0f} s"


def until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def _frames(innermost: FrameType | None) -> Iterator[FrameType]:
    while innermost is not None:
        yield innermost
        innermost = innermost.f_back


def within(function: Callable[..., object]) -> int:
    """Return how many other threads are inside a call of a function."""
    code, here = function.__code__, threading.get_ident()
    return sum(
        any(frame.f_code is code for frame in _frames(innermost))
        for thread, innermost in sys._current_frames().items()
        if thread != here
    )
