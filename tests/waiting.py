"""Waiting for what other threads and processes do, by looking again and again."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

PATIENCE = 300


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
