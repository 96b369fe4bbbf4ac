"""Rules for search by two clients of one lake. Both build and merge segments, and both purge."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from lakebed.lake.lake import Lake
from lakebed.lake.searching import Searching
from lakebed.testing.machine.base import MachineBase
from lakebed.testing.machine.search import (
    FILTERS,
    PHRASES,
    QUERIES,
    check_search,
    check_threads,
)
from lakebed.testing.model import Kept, LakeModel

NAMES = ["one", "two"]
KEYS = [f"{room}/{number}" for room in ("a", "b/c", "é") for number in range(4)] + ["alone"]
PREFIXES = ["a/", "b/", "é/3", "none"]

keys = st.sampled_from(KEYS)
clients = st.integers(0, 1)
texts = st.sampled_from(PHRASES) | st.text(max_size=8)
values = st.one_of(
    texts,
    st.builds(lambda text, who: {"text": text, "speaker": who}, texts, st.sampled_from("xy")),
)
metadata = st.fixed_dictionaries(
    {"n": st.integers(1, 2)}, optional={"note": st.sampled_from(PHRASES)}
)
ttls = st.none() | st.sampled_from([1, 2_000_000])


class Taken(NamedTuple):
    """The entries that a snapshot must show, and what searches found when it was made."""

    model: LakeModel
    time: int


class ClientsMachine(MachineBase):
    """One lake opened twice. Either client can do anything, and both must find the same.

    A subclass defines how a client opens the lake. It must make the thresholds of search small, so
    that segments are built and merged often.
    """

    def __init__(self) -> None:
        super().__init__()
        self.other = self.open_lake(Path(self._folder.name), self.clock)
        self.taken: dict[str, Taken] = {}

    def teardown(self) -> None:
        self.other.close()
        super().teardown()

    def client(self, number: int) -> Lake:
        """Return one of the two clients."""
        return (self.lake, self.other)[number]

    @invariant()
    def all_find_the_same(self) -> None:
        turn = len(self.model.entries)
        query, condition = QUERIES[turn % len(QUERIES)], FILTERS[turn % len(FILTERS)]
        for client in (self.lake, self.other):
            self._check(client, self.model.visible(), query, "", condition)

    @invariant()
    def snapshots_find_what_they_found(self) -> None:
        for number, (name, taken) in enumerate(self.taken.items()):
            view = self.client(number % 2).at(name)
            self._check(view, taken.model.visible(taken.time), QUERIES[0], "", None)

    def _check(
        self,
        lake: Searching,
        visible: Mapping[str, Kept],
        query: str,
        prefix: str,
        condition: dict[str, Any] | None,
    ) -> None:
        check_search(lake, visible, query, prefix, condition, 3, 1)
        check_threads(lake, visible, query, prefix, condition)

    @rule(number=clients, key=keys, value=values, metadata=metadata, ttl=ttls)
    def store(
        self, number: int, key: str, value: Any, metadata: dict[str, Any], ttl: int | None
    ) -> None:
        self.model.store(key, value, metadata, ttl)
        span = None if ttl is None else timedelta(microseconds=ttl)
        self.client(number).store(key, value, metadata, ttl=span)

    @rule(number=clients, entries=st.dictionaries(keys, values, min_size=1, max_size=8))
    def store_batch(self, number: int, entries: dict[str, Any]) -> None:
        for key, value in entries.items():
            self.model.store(key, value, {})
        self.client(number).store_batch({"key": k, "value": v} for k, v in entries.items())

    @rule(number=clients, key=keys)
    def delete(self, number: int, key: str) -> None:
        assert self.model.delete(key) == self.client(number).delete(key)

    @rule(micros=st.sampled_from([1, 1_000_000, 3_000_000]))
    def advance(self, micros: int) -> None:
        self.clock.advance(timedelta(microseconds=micros))

    @rule(number=clients, name=st.sampled_from(NAMES))
    def take_snapshot(self, number: int, name: str) -> None:
        if name in self.taken:
            self.client(number).drop_snapshot(name)
        self.taken[name] = Taken(self.model.copy(), self.clock())
        self.client(number).create_snapshot(name)

    @precondition(lambda self: self.taken)
    @rule(number=clients, which=st.integers(0, 1))
    def restore(self, number: int, which: int) -> None:
        name = list(self.taken)[which % len(self.taken)]
        taken, now = self.taken[name], self.clock()
        wanted = {
            key: kept
            for key, kept in taken.model.visible(taken.time).items()
            if kept.expires_at is None or kept.expires_at > now
        }
        for key in self.model.visible().keys() - wanted.keys():
            del self.model.entries[key]
        for key, kept in wanted.items():
            old = self.model.get(key)
            if old is None or old.state() != kept.state():
                self.model.entries[key] = Kept(*kept)
        report = self.client(number).restore(name)
        if report.snapshot is not None:
            self.client(number).drop_snapshot(report.snapshot)

    @rule(number=clients, key=keys)
    def purge(self, number: int, key: str) -> None:
        self._purge(lambda found: found == key)
        self.client(number).purge(key)

    @rule(number=clients, prefix=st.sampled_from(PREFIXES))
    def purge_prefix(self, number: int, prefix: str) -> None:
        self._purge(lambda found: found.startswith(prefix))
        self.client(number).purge(prefix=prefix)

    def _purge(self, gone: Callable[[str], bool]) -> None:
        for model in (self.model, *(taken.model for taken in self.taken.values())):
            model.entries = {key: kept for key, kept in model.entries.items() if not gone(key)}

    @rule(number=clients, how=st.sampled_from(["compact", "collect", "maintain", "clean"]))
    def clean(self, number: int, how: str) -> None:
        client = self.client(number)
        if how == "compact":
            client.compact()
        elif how == "collect":
            assert not client.collect(0, 0, orphans=True).orphans
        elif how == "maintain":
            client.maintain()
            self.model.cleanup()
        else:
            client.cleanup_expired()
            self.model.cleanup()

    @rule(
        number=clients,
        query=texts,
        prefix=st.sampled_from(["", *PREFIXES]),
        condition=st.sampled_from(FILTERS),
    )
    def search(
        self, number: int, query: str, prefix: str, condition: dict[str, Any] | None
    ) -> None:
        client = self.client(number)
        self._check(client, self.model.visible(), query, prefix, condition)
        for name, taken in self.taken.items():
            visible = taken.model.visible(taken.time)
            self._check(client.at(name), visible, query, prefix, condition)

    @rule(number=clients)
    def reopen_one(self, number: int) -> None:
        self.client(number).close()
        opened = self.open_lake(Path(self._folder.name), self.clock)
        if number:
            self.other = opened
        else:
            self.lake = opened
