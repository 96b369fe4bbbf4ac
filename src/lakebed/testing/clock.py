"""A clock that stands still until it is told to move."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from lakebed.clock import from_micros, to_micros

_START = datetime(2030, 1, 1, tzinfo=UTC)


class FakeClock:
    """A `Clock` for tests. Calling it returns microseconds since 1970. `advance` moves it."""

    def __init__(self, start: datetime = _START) -> None:
        self._micros = to_micros(start)

    def __call__(self) -> int:
        return self._micros

    @property
    def now(self) -> datetime:
        """The time of the clock, in UTC."""
        return from_micros(self._micros)

    def advance(self, step: float | timedelta) -> None:
        """Move the clock on by seconds or a timedelta, exact to the microsecond."""
        if not isinstance(step, timedelta):
            step = timedelta(seconds=step)
        self._micros += step // timedelta(microseconds=1)

    def __repr__(self) -> str:
        return f"<FakeClock at {self.now.isoformat()}>"
