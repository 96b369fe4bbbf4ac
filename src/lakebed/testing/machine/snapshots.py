"""Rules for snapshots: making, comparing, reading and restoring them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from lakebed import filters as grammar
from lakebed.clock import to_micros
from lakebed.errors import ConflictError, NotFoundError
from lakebed.lake.history.diff import Diff
from lakebed.records import Entry
from lakebed.testing.machine import strategies as some
from lakebed.testing.machine.base import MachineBase
from lakebed.testing.model import Kept, LakeModel, identity

NAMES = ["one", "two", "drei", "四"]
MOST = 6  # the most snapshots at a time, because each is read after every rule
names = st.sampled_from(NAMES)
numbers = st.integers(0, MOST - 1)


class Copy(NamedTuple):
    """The entries that a snapshot must show. `time`: the time by which they have expired or not."""

    model: LakeModel
    time: int

    def visible(self) -> dict[str, Kept]:
        """Return the entries that the snapshot shows."""
        return self.model.visible(self.time)


class SnapshotRules(MachineBase):
    """Rules for snapshots."""

    def __init__(self) -> None:
        super().__init__()
        self.copies: dict[str, Copy] = {}

    @invariant()
    def snapshots_stay(self) -> None:
        assert {snapshot.name for snapshot in self.lake.snapshots()} == set(self.copies)
        for name, copy in self.copies.items():
            self.check(self.lake.at(name), copy.model, copy.time)

    @precondition(lambda self: len(self.copies) < MOST)
    @rule(name=names)
    def create_snapshot(self, name: str) -> None:
        if name in self.copies:
            with pytest.raises(ConflictError):
                self.lake.create_snapshot(name)
            return
        snapshot = self.lake.create_snapshot(name, message="kept")
        assert (snapshot.name, snapshot.id[0]) == (name, "@")
        self.copies[name] = Copy(self.model.copy(), self.clock())

    @rule(name=names)
    def drop_snapshot(self, name: str) -> None:
        if name not in self.copies:
            with pytest.raises(NotFoundError):
                self.lake.drop_snapshot(name)
            return
        view = self.lake.at(name)
        self.lake.drop_snapshot(name)
        del self.copies[name]
        with pytest.raises(NotFoundError):
            list(view)
        with pytest.raises(NotFoundError):
            len(view)

    @precondition(lambda self: self.copies)
    @rule(
        number=numbers,
        keys=st.lists(some.keys, max_size=4),
        metadata_filter=some.filters,
        prefix=st.sampled_from(some.PREFIXES),
    )
    def look_back(
        self, number: int, keys: list[str], metadata_filter: dict[str, Any], prefix: str
    ) -> None:
        name, copy = self._pick(number)
        view, visible = self.lake.at(name), copy.visible()
        found = view.retrieve_batch(keys)
        assert set(found) == visible.keys() & set(keys)
        for key in keys:
            kept, value = visible.get(key), view.get(key, identity)
            assert value is identity if kept is None else identity(value) == identity(kept.value)
        matches = grammar.Filter(metadata_filter).matches
        expected = [
            key for key in visible if key.startswith(prefix) and matches(visible[key].metadata)
        ]
        listing = view.list(prefix, metadata_filter=metadata_filter)
        assert [entry.key for entry in listing] == expected
        assert view.stats().entries == len(visible)

    @precondition(lambda self: self.copies)
    @rule(first=numbers, second=st.none() | numbers, prefix=st.sampled_from(some.PREFIXES))
    def diff(self, first: int, second: int | None, prefix: str) -> None:
        name, before = self._pick(first)
        other, after = (None, self.model.visible()) if second is None else self._shown(second)
        found = self.lake.diff(name, other, prefix=prefix)
        self._check_diff(found, before.visible(), after, prefix)

    @precondition(lambda self: 0 < len(self.copies) < MOST)
    @rule(number=numbers, prefix=st.sampled_from(some.PREFIXES))
    def restore(self, number: int, prefix: str) -> None:
        name, copy = self._pick(number)
        before, now = self.model.copy(), self.clock()
        planned = self.lake.restore(name, prefix=prefix, dry_run=True)
        self.check(self.lake, before)
        expired = self._restore_model(copy, prefix)
        done = self.lake.restore(name, prefix=prefix)
        for result in (planned, done):
            assert result.expired == expired
            self._check_diff(result, before.visible(), self.model.visible(), prefix)
        assert planned.snapshot is None
        assert done.snapshot is not None
        assert done.snapshot.startswith("before-restore-")
        self.copies[done.snapshot] = Copy(before, now)

    @precondition(lambda self: self.copies)
    @rule(number=numbers)
    def drop_any(self, number: int) -> None:
        name, _ = self._pick(number)
        self.lake.drop_snapshot(self._id(name))
        del self.copies[name]

    @rule(key=some.keys)
    def history(self, key: str) -> None:
        versions = self.lake.history(key)
        numbers = [version.version for version in versions]
        assert numbers == sorted(set(numbers), reverse=True)
        assert all(version.ended_at is not None for version in versions[1:])
        states = {_state(version) for version in versions}
        wanted = [self.model.entries, *(copy.visible() for copy in self.copies.values())]
        assert states >= {entries[key].state() for entries in wanted if key in entries}

    @rule()
    def maintain(self) -> None:
        expired = self.model.cleanup()
        assert self.lake.maintain().expired == expired
        self.check_history()

    def check_history(self) -> None:
        """Check that after maintenance only the present and the versions in snapshots are kept."""
        seen = {id(kept) for copy in self.copies.values() for kept in copy.model.entries.values()}
        present = {id(kept) for kept in self.model.entries.values()}
        assert self.lake.stats().history == len(seen - present)

    def _restore_model(self, copy: Copy, prefix: str) -> int:
        """Restore the model. Return how many entries have expired since."""
        now, shown = self.clock(), _under(copy.visible(), prefix)
        wanted = {
            key: kept
            for key, kept in shown.items()
            if kept.expires_at is None or kept.expires_at > now
        }
        present = _under(self.model.visible(), prefix)
        for key in present.keys() - wanted.keys():
            del self.model.entries[key]
        for key, kept in wanted.items():
            if key not in present or present[key].state() != kept.state():
                self.model.entries[key] = Kept(*kept)  # a new object: restoring makes a version
        return len(shown) - len(wanted)

    def _check_diff(
        self, found: Diff, before: Mapping[str, Kept], after: Mapping[str, Kept], prefix: str
    ) -> None:
        old = {key: kept.state() for key, kept in _under(before, prefix).items()}
        new = {key: kept.state() for key, kept in _under(after, prefix).items()}
        assert [(entry.key, _state(entry)) for entry in found.added] == [
            (key, state) for key, state in new.items() if key not in old
        ]
        assert [(entry.key, _state(entry)) for entry in found.removed] == [
            (key, state) for key, state in old.items() if key not in new
        ]
        changes = [(c.key, _state(c.before), _state(c.after)) for c in found.changed]
        assert changes == [
            (key, state, new[key]) for key, state in old.items() if new.get(key, state) != state
        ]
        for change in found.changed:
            parts = zip(_state(change.before), _state(change.after), strict=True)
            flags = [a != b for a, b in parts]
            assert flags == [
                change.content_changed, change.metadata_changed, change.expiry_changed,
            ]  # fmt: skip
        assert len(found) == found.to_arrow().num_rows

    def _pick(self, number: int) -> tuple[str, Copy]:
        return list(self.copies.items())[number % len(self.copies)]

    def _shown(self, number: int) -> tuple[str, dict[str, Kept]]:
        name, copy = self._pick(number)
        return name, copy.visible()

    def _id(self, name: str) -> str:
        return next(item.id for item in self.lake.snapshots() if item.name == name)


def _under(entries: Mapping[str, Kept], prefix: str) -> dict[str, Kept]:
    return {key: kept for key, kept in entries.items() if key.startswith(prefix)}


def _state(entry: Entry) -> tuple[object, ...]:
    """Return the state of an entry, as `Kept.state` does."""
    expires_at = None if entry.expires_at is None else to_micros(entry.expires_at)
    return identity(entry.value), identity(entry.metadata), expires_at
