"""Restoring a snapshot."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar

import pytest

from lakebed.errors import ValidationError
from lakebed.lake.history.diff import Diff
from lakebed.lake.lake import Lake
from lakebed.testing.clock import FakeClock
from lakebed.testing.conformance.base import Conformance, contents, needs
from lakebed.testing.conformance.diffs import keys

LARGE = "large " * 2000


@needs("versions")
class Restores(Conformance):
    """`restore()`: returns a lake to an earlier state."""

    FEATURE: ClassVar[str] = "restore"

    def test_there_and_back(self, lake: Lake, clock: FakeClock) -> None:
        lake.store("changed", LARGE, {"m": 1})
        lake.store("deleted", b"x", {"m": 2})
        lake.store("stays", 0)
        lake.create_snapshot("s")
        before = everything(lake)
        clock.advance(60)
        lake.store("changed", 2)
        del lake["deleted"]
        lake.store("new", 1)
        after = everything(lake)
        applied = lake.restore("s")
        assert everything(lake) == before
        assert keys(applied) == (["deleted"], ["changed"], ["new"])
        assert applied.changed[0].before.value == 2
        assert applied.changed[0].after.value == LARGE
        assert applied.expired == 0
        assert keys(lake.diff("s")) == ([], [], [])
        assert applied.snapshot is not None
        undone = lake.restore(applied.snapshot)
        assert everything(lake) == after
        assert keys(undone) == (["new"], ["changed"], ["deleted"])

    def test_the_snapshot_that_it_takes(self, lake: Lake, clock: FakeClock) -> None:
        lake.create_snapshot("s")
        lake.store("a", 1)
        applied = lake.restore("s")
        assert applied.snapshot == f"before-restore-{clock.now:%Y%m%dT%H%M%S.%fZ}"
        kept = lake.snapshots()[-1]
        assert (kept.name, kept.created_at) == (applied.snapshot, clock.now)
        assert kept.message
        assert dict(lake.at(kept)) == {"a": 1}
        again = lake.restore("s")  # at the same time, because the clock stands still
        assert again.snapshot not in (None, applied.snapshot)
        assert len(lake.snapshots()) == 3
        assert len(again) == 0

    def test_dry_run(self, lake: Lake, clock: FakeClock) -> None:
        lake.store("a", 1)
        lake.store("b", 1, ttl=5)
        lake.store("c", 1)
        lake.create_snapshot("s")
        lake.store("a", LARGE, {"m": 1})
        del lake["c"]
        lake.store("d", 1)
        clock.advance(10)
        now, snapshots = everything(lake), lake.snapshots()
        planned = lake.restore("s", dry_run=True)
        assert planned.snapshot is None
        assert everything(lake) == now
        assert lake.snapshots() == snapshots
        done = lake.restore("s")
        assert states(planned) == states(done)
        assert planned.expired == done.expired == 1

    def test_what_has_expired_stays_away(self, lake: Lake, clock: FakeClock) -> None:
        for key in ("overwritten", "deleted", "left", "extended"):
            lake.store(key, 1, ttl=10)
        lake.store("later", 1, ttl=100)
        lake.create_snapshot("s")
        lake.store("overwritten", 2)
        del lake["deleted"]
        lake.store("extended", 1)
        del lake["later"]
        clock.advance(10)
        applied = lake.restore("s")
        assert applied.expired == 4
        assert list(lake) == ["later"]
        assert keys(applied) == (["later"], [], ["extended", "overwritten"])
        later = lake.entry("later")
        assert later is not None
        assert later.expires_at == clock.now + timedelta(seconds=90)

    def test_restore_of_a_prefix(self, lake: Lake) -> None:
        for key in ("a/1", "a/2", "b/1"):
            lake.store(key, 1)
        lake.create_snapshot("s")
        for key in ("a/1", "a/3", "b/1", "b/2"):
            lake.store(key, 2)
        applied = lake.restore("s", prefix="a/")
        assert keys(applied) == ([], ["a/1"], ["a/3"])
        assert dict(lake) == {"a/1": 1, "a/2": 1, "b/1": 2, "b/2": 2}
        with pytest.raises(ValidationError):
            lake.restore("s", prefix="\0")

    def test_created_at_is_that_of_then(self, lake: Lake, clock: FakeClock) -> None:
        lake.store("a", 1)
        lake.store("b", 1)
        created = clock.now
        clock.advance(1)
        lake.store("a", 2)
        updated = clock.now
        lake.create_snapshot("s")
        clock.advance(1)
        del lake["a"]
        clock.advance(1)
        lake.store("a", 3)
        lake.restore("s")
        entry, other = lake.entry("a"), lake.entry("b")
        assert entry is not None
        assert other is not None
        assert entry.created_at == created
        assert entry.updated_at == clock.now > updated
        assert (other.created_at, other.updated_at) == (created, created)

    def test_nothing_to_do(self, lake: Lake) -> None:
        lake.store("a", 1)
        lake.create_snapshot("s")
        version = lake.entry("a")
        applied = lake.restore("s")
        assert len(applied) == 0
        assert lake.entry("a") == version
        assert lake.stats().history == 0

    def test_other_snapshots_stay(self, lake: Lake) -> None:
        for number in range(4):
            lake.store("a", number)
            lake.store(f"k{number}", number)
            lake.create_snapshot(f"s{number}")
        shown = {s.name: everything(lake.at(s)) for s in lake.snapshots()}
        for number in (0, 3, 1, 2):
            lake.restore(f"s{number}")
            assert everything(lake) == shown[f"s{number}"]
            assert {name: everything(lake.at(name)) for name in shown} == shown
        lake.maintain()
        assert {name: everything(lake.at(name)) for name in shown} == shown

    def test_restore_of_many(self, lake: Lake) -> None:
        lake.store_batch({"key": f"k{n:04}", "value": n} for n in range(1500))
        lake.create_snapshot("s")
        before = everything(lake)
        lake.store_batch({"key": f"k{n:04}", "value": -n} for n in range(1, 1800, 2))
        for number in range(0, 400, 2):
            del lake[f"k{number:04}"]
        applied = lake.restore("s")
        assert everything(lake) == before
        assert [len(part) for part in keys(applied)] == [200, 750, 150]

    def test_a_restore_prints(self, lake: Lake) -> None:
        lake.create_snapshot("s")
        lake.store("a", 1)
        applied = lake.restore("s")
        assert "1 removed" in repr(applied)
        assert "1 removed" in applied._repr_html_()


def states(found: Diff) -> list[dict[str, Any]]:
    """Return the differences as rows, without the fields that change with every store."""
    rows = found.to_arrow().drop_columns(["before_updated_at", "after_updated_at"]).to_pylist()
    return list(rows)


def everything(lake: Any) -> dict[str, Any]:
    """Return everything that a lake or a view shows, including creation times."""
    created = {entry.key: entry.created_at for entry in lake.list()}
    return {key: (*state, created[key]) for key, state in contents(lake).items()}
