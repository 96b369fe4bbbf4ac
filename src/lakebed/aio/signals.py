"""Wait for signals between clients without blocking the loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from functools import partial

from lakebed.aio.calls import perform
from lakebed.aio.workers import Workers
from lakebed.catalog.signals import Signals

_SLICE = 0.2  # seconds; a cancelled task may wait this long


class AsyncSignals:
    """The signals of a topic. `AsyncLake.listen` returns them."""

    def __init__(self, signals: Signals, workers: Workers) -> None:
        self._signals = signals
        self._workers = workers

    @property
    def wakes(self) -> bool:
        """Whether a signal ends a wait early. False for a catalog without signals."""
        return self._signals.wakes

    async def wait(self, seconds: float) -> None:
        """Wait for a signal, at most `seconds`. The wait can end early without a signal."""
        if not self.wakes:
            await asyncio.sleep(seconds)
            return
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            begin, part = time.monotonic(), min(left, _SLICE)
            await perform(self._workers, partial(self._signals.wait, part))
            if time.monotonic() - begin < part * 0.9:
                return


@asynccontextmanager
async def listening(
    workers: Workers, block: Callable[[], AbstractContextManager[Signals]]
) -> AsyncIterator[AsyncSignals]:
    """Enter and leave a lake's `listen` block in a thread."""
    entered = await perform(workers, block)
    signals = await perform(workers, entered.__enter__)
    try:
        yield AsyncSignals(signals, workers)
    finally:
        await perform(workers, partial(entered.__exit__, None, None, None))
