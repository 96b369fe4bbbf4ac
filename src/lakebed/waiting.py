"""Saying what is waited for, when it takes long. The command line shows it; other programs may have
the logger `lakebed.waiting` do so."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

AFTER = 3.0
"""Seconds of waiting after which it is said."""


def say(text: str) -> None:
    """Log what is waited for."""
    import logging  # not for a first store

    logging.getLogger("lakebed.waiting").info("%s", text)


@contextmanager
def waiting(text: str) -> Iterator[None]:
    """A block that may wait for somebody: if it takes more than 3 seconds, that is said."""
    timer = threading.Timer(AFTER, say, (text,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
