"""The base of all calls on sessions: the lake, its time, and the entry for the last activity."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from lakebed.clock import from_micros
from lakebed.errors import NotFoundError
from lakebed.lake.entries.transaction import Transaction
from lakebed.lake.lake import Lake
from lakebed.records import Entry
from lakebed.sessions import layout
from lakebed.sessions.checks import check_session_id
from lakebed.sessions.clock import LakeClock

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_TIME_DIGITS = 11  # digits of an id for its time in microseconds: enough until the year 6000


class Base:
    """The part of a session manager that all its calls need."""

    def __init__(self, lake: Lake) -> None:
        self.lake = lake
        self._clock = LakeClock(lake)

    def _head(self, session_id: str) -> Entry:
        """Return the entry of a session. Raises NotFoundError if it does not exist."""
        head = self.lake.entry(f"{layout.HEADS}{check_session_id(session_id)}")
        if head is None:
            raise NotFoundError(f"no session with the id {session_id!r}")
        return head

    @contextmanager
    def _changing(self, session_id: str) -> Iterator[tuple[Transaction, int]]:
        """Open a transaction that changes a session. Yields it and its time in microseconds."""
        self._head(session_id)
        now = self._clock.now()
        with self.lake.transaction() as tx:
            yield tx, now
            self._touch(tx, session_id, now)

    def _touch(self, tx: Transaction, session_id: str, now: int) -> None:
        """Set the time of a session's last activity."""
        tx.store(f"{layout.ACTIVITY}{session_id}", {"at": shown(now)}, {"kind": "activity"})


def new_id(now: int, digits: int = 5) -> str:
    """Return a unique id that sorts by time."""
    rest, letters = now * 36**digits + secrets.randbelow(36**digits), list[str]()
    for _ in range(_TIME_DIGITS + digits):
        rest, digit = divmod(rest, 36)
        letters.append(_DIGITS[digit])
    return "".join(reversed(letters))


def time_of(some_id: str) -> datetime:
    """Return the time at which an id was made."""
    return from_micros(int(some_id[:_TIME_DIGITS], 36))


def shown(micros: int) -> str:
    """Return a time in microseconds as it is stored: ISO 8601 with its zone."""
    return from_micros(micros).isoformat()


def moment(text: Any) -> datetime:
    """Return the time in a text that `shown` made."""
    return datetime.fromisoformat(text)
