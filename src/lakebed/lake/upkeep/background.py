"""Run the upkeep in the background of a process that keeps a lake open."""

from __future__ import annotations

import atexit
import logging
import os
import random
import threading
import time
import weakref
from contextlib import suppress

from lakebed.errors import LakebedError
from lakebed.lake.upkeep.maintenance import Maintenance, maintain_in_turn
from lakebed.leaving import Call, current

log = logging.getLogger("lakebed.upkeep")

EVERY = 600.0
"""The seconds between two runs for a lake, by whatever process."""
FIRST = 60.0
"""The seconds after opening the lake until a process takes part. Short processes never do."""
LOOK = 60.0
"""The seconds after which a process checks again whether it is its turn."""
_PATIENCE = 30.0  # seconds to wait, when stopping, for the present step, such as an upload

_running: weakref.WeakSet[Background] = weakref.WeakSet()


class Background:
    """The thread that maintains one open lake when it is its turn.

    The thread ends when it is stopped, or when the lake is gone. A failure is logged once, until a
    run succeeds again.
    """

    def __init__(self, lake: Maintenance) -> None:
        self._lake = weakref.ref(lake, lambda _: self._stop.set())
        self._closed = self._failing = False
        self._next = time.monotonic() + FIRST * random.uniform(0.8, 1.2)  # noqa: S311 - no secret
        self.resume()
        _running.add(self)

    def resume(self, *, anew: bool = False) -> None:
        """Continue after `pause`. `anew`: behave as if this process, a fork, had just opened the
        lake."""
        if anew:
            self._next = time.monotonic() + FIRST
        self._stop = threading.Event()
        self._call = Call()
        self._thread: threading.Thread | None = None
        if not self._closed:
            self._thread = threading.Thread(
                target=self._run,
                args=(self._stop, self._call),
                name="lakebed-upkeep",
                daemon=True,
            )
            self._thread.start()

    def pause(self) -> None:
        """End the thread, after its present transaction or upload."""
        self._stop.set()
        self._call.leave()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(_PATIENCE)

    def close(self) -> None:
        """End the thread for good."""
        self._closed = True
        self.pause()

    def _run(self, stop: threading.Event, call: Call) -> None:
        current.set(call)
        try:
            while not stop.wait(max(0.0, self._next - time.monotonic())):
                lake = self._lake()
                if lake is None:
                    return
                self._look(lake, stop)
                del lake
        finally:
            call.end()

    def _look(self, lake: Maintenance, stop: threading.Event) -> None:
        """Maintain the lake, if it is this process's turn."""
        wait = LOOK
        try:
            done = maintain_in_turn(lake, EVERY, stop=stop)
        except LakebedError as error:
            if stop.is_set():  # the run was interrupted
                return
            wait = EVERY
            if not self._failing:
                self._failing = True
                log.warning(
                    "the upkeep of %s in the background failed, and is tried again every "
                    "%.0f minutes: %s",
                    lake.name,
                    EVERY / 60,
                    error,
                )
        else:
            if stop.is_set():  # a fork ended the run, which continues at once afterwards
                return
            if done is not None and self._failing:
                self._failing = False
                log.info("the upkeep of %s in the background works again", lake.name)
        self._next = time.monotonic() + wait * random.uniform(0.8, 1.2)  # noqa: S311 - no secret


def _pause_all() -> None:
    """Pause all threads. A forked child would keep their locks without having the threads."""
    for background in list(_running):
        background.pause()


def _resume_all() -> None:
    for background in list(_running):
        background.resume()


def _resume_in_child() -> None:
    for background in list(_running):
        background.resume(anew=True)


def _close_all() -> None:
    for background in list(_running):
        with suppress(LakebedError):
            background.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_pause_all, after_in_parent=_resume_all, after_in_child=_resume_in_child
    )
atexit.register(_close_all)
