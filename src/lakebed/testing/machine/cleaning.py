"""Rules for what keeps a lake clean: nothing that can be read changes by it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import rule

from lakebed.testing.machine import strategies as some
from lakebed.testing.machine.snapshots import SnapshotRules
from lakebed.testing.model import LakeModel, identity


class CleaningRules(SnapshotRules):
    """Compaction, collection, purges, verification."""

    KEEPS_ALL: ClassVar[bool] = False
    """Whether the lake also keeps versions that no snapshot sees."""

    def models(self) -> Iterable[LakeModel]:
        """What the lake shows, now and at every moment that can be looked at."""
        return [self.model, *(copy.model for copy in self.copies.values())]

    @rule(max_bytes=st.none() | st.integers(0, 200))
    def compact(self, max_bytes: int | None) -> None:
        assert self.lake.compact(max_bytes).damaged == 0

    @rule(grace=st.sampled_from([0, 1, 3600]))
    def collect(self, grace: float) -> None:
        report = self.lake.collect(grace, 0, orphans=True)
        assert not report.orphans

    @rule(key=some.keys)
    def purge(self, key: str) -> None:
        planned = self.lake.purge(key, dry_run=True)
        done = self.lake.purge(key)
        counted = ("entries", "versions", "bytes", "snapshots")
        assert [planned[name] for name in counted] == [done[name] for name in counted]
        for model in self.models():
            model.entries.pop(key, None)
        assert not self.lake.verify().problems

    @rule()
    def clean_all(self) -> None:
        self.maintain()
        self.lake.collect(0)
        models = [self.model, *(copy.model for copy in self.copies.values())]
        named = {identity(kept.value) for model in models for kept in model.entries.values()}
        objects = self.lake.stats().objects
        assert objects >= len(named) if self.KEEPS_ALL else objects == len(named)
        assert not self.lake.verify().problems
