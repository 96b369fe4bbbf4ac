"""Rules for upkeep, which must not change anything that can be read."""

from __future__ import annotations

from collections.abc import Iterable, Set
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import rule

from lakebed.testing.machine import strategies as some
from lakebed.testing.machine.snapshots import SnapshotRules
from lakebed.testing.model import LakeModel, identity


class CleaningRules(SnapshotRules):
    """Rules for compaction, collection, purges and verification."""

    KEEPS_ALL: ClassVar[bool] = False
    """Whether the lake also keeps versions that no snapshot sees."""

    def models(self) -> Iterable[LakeModel]:
        """Return the models of the present and of every moment that can be looked at."""
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
        self._purge({key}, key, None)

    @rule(prefix=st.sampled_from([prefix for prefix in some.PREFIXES if prefix]))
    def purge_prefix(self, prefix: str) -> None:
        self._purge({key for key in some.KEYS if key.startswith(prefix)}, None, prefix)

    def _purge(self, keys: Set[str], key: str | None, prefix: str | None) -> None:
        planned = self.lake.purge(key, prefix, dry_run=True)
        done = self.lake.purge(key, prefix)
        counted = ("entries", "versions", "bytes", "snapshots")
        assert [planned[name] for name in counted] == [done[name] for name in counted]
        for model in self.models():
            for one in keys:
                model.entries.pop(one, None)
        assert not self.lake.verify().problems

    @rule()
    def dry_runs(self) -> None:
        """Dry runs change nothing. `collect` then removes as much as its dry run counted."""
        stats = self.lake.stats()
        planned = self.lake.maintain(dry_run=True)
        assert planned.expired == self.lake.cleanup_expired(dry_run=True).remaining
        self.lake.compact(dry_run=True)
        told = self.lake.collect(0, dry_run=True)
        assert self.lake.stats() == stats
        done = self.lake.collect(0)
        assert (told.objects, told.object_bytes) == (done.objects, done.object_bytes)

    @rule(seconds=st.sampled_from([0, 60]), max_bytes=st.none() | st.integers(0, 200))
    def maintain_within_limits(self, seconds: float, max_bytes: int | None) -> None:
        done = self.lake.maintain(max_bytes, max_seconds=seconds)
        if seconds == 0:
            assert (done.finished, done.expired, done.compacted.moved_bytes) == (False, 0, 0)
        else:
            assert done.expired == self.model.cleanup()

    @rule(repair=st.booleans())
    def verify(self, repair: bool) -> None:
        report = self.lake.verify(repair=repair)
        assert not report.problems
        assert report.objects == self.lake.stats().objects

    @rule()
    def clean_all(self) -> None:
        self.maintain()
        self.lake.collect(0)
        models = [self.model, *(copy.model for copy in self.copies.values())]
        named = {identity(kept.value) for model in models for kept in model.entries.values()}
        objects = self.lake.stats().objects
        assert objects >= len(named) if self.KEEPS_ALL else objects == len(named)
        assert not self.lake.verify().problems
