"""A state machine for lakes that keep every version, so that any earlier time can be read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from lakebed.clock import from_micros
from lakebed.errors import NotFoundError
from lakebed.lake.history.snapshots import LakeView
from lakebed.testing.machine import LakeMachine
from lakebed.testing.machine import strategies as some
from lakebed.testing.machine.snapshots import Copy
from lakebed.testing.model import LakeModel

numbers = st.integers(0, 1000)


class HistoryMachine(LakeMachine):
    """The state machine. Subclass it, and open lakes with `history="all"` and
    `history_retention=RETENTION`."""

    RETENTION: ClassVar[int | None] = None
    """How long history is kept, in microseconds. None means for ever."""
    KEEPS_ALL: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__()
        self._times: dict[int, Copy] = {}
        self._versions: dict[int, Copy] = {}

    def models(self) -> Iterable[LakeModel]:
        past = (*self._times.values(), *self._versions.values())
        return [*super().models(), *(copy.model for copy in past)]

    @invariant()
    def note_the_present(self) -> None:
        now = self.clock()
        self._times[now] = Copy(self.model.copy(), now)

    @rule(key=some.keys, value=some.values, ttl=some.ttls)
    def store_and_note(self, key: str, value: Any, ttl: int | None) -> None:
        self.store(key, value, {}, ttl)
        version = max((entry.version for entry in self.lake.list()), default=0)
        # Unless this is the newest version, something has happened since.
        if version == self.lake.create_snapshot("newest").version:
            self._versions[version] = Copy(self.model.copy(), self.clock())
        self.lake.drop_snapshot("newest")

    @precondition(lambda self: self._times)
    @rule(number=numbers)
    def look_at_time(self, number: int) -> None:
        time, copy = _pick(self._times, number)
        if view := self._at_time(time):
            self.check(view, copy.model, copy.time)

    @precondition(lambda self: self._versions)
    @rule(number=numbers)
    def look_at_version(self, number: int) -> None:
        version, copy = _pick(self._versions, number)
        try:
            view = self.lake.at(version)
        except NotFoundError:
            assert self._is_past(copy.time, inclusive=True)
        else:
            self.check(view, copy.model, copy.time)

    @precondition(lambda self: self._times)
    @rule(first=numbers, second=numbers, prefix=st.sampled_from(some.PREFIXES))
    def diff_of_times(self, first: int, second: int, prefix: str) -> None:
        (one, before), (two, after) = _pick(self._times, first), _pick(self._times, second)
        if self._at_time(one) and self._at_time(two):
            found = self.lake.diff(from_micros(one), from_micros(two), prefix=prefix)
            self._check_diff(found, before.visible(), after.visible(), prefix)

    @rule(key=some.keys)
    def history_is_complete(self, key: str) -> None:
        history = self.lake.history(key)
        assert history.complete
        if self.RETENTION is None:
            kept = {
                id(c.model.entries[key]) for c in self._times.values() if key in c.model.entries
            }
            assert len(history) >= len(kept)

    def check_history(self) -> None:
        """Check that at least the versions in snapshots are kept."""
        seen = {id(kept) for copy in self.copies.values() for kept in copy.model.entries.values()}
        present = {id(kept) for kept in self.model.entries.values()}
        assert self.lake.stats().history >= len(seen - present)

    def _at_time(self, time: int) -> LakeView | None:
        try:
            return self.lake.at(from_micros(time))
        except NotFoundError:
            assert self._is_past(time)
            return None

    def _is_past(self, time: int, *, inclusive: bool = False) -> bool:
        """Return whether the history of this time may have been removed. `inclusive`: also at the
        horizon itself."""
        if self.RETENTION is None:
            return False
        horizon = self.clock() - self.RETENTION
        return time <= horizon if inclusive else time < horizon


def _pick(copies: dict[int, Copy], number: int) -> tuple[int, Copy]:
    return list(copies.items())[number % len(copies)]
