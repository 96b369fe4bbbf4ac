"""Logs what a call waits for, if that takes long.

The command line shows it. Other programs can listen to the logger `lakebed.waiting`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

AFTER = 3.0
"""Seconds of waiting before it is logged."""


def say(text: str) -> None:
    """Log what a call waits for."""
    import logging  # not for a first store

    logging.getLogger("lakebed.waiting").info("%s", text)


@contextmanager
def waiting(text: str) -> Iterator[None]:
    """Open a block that may wait. If it takes more than 3 seconds, `text` is logged."""
    timer = threading.Timer(AFTER, say, (text,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
