"""A snapshot reads the same for ever, whatever happens to the lake."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lakebed.lake.lake import Lake
from lakebed.testing import FakeClock, open_lake

KEYS = [f"{part}/{number}" for part in "abc" for number in range(40)]
COUNT, SOAK_COUNT = 1_500, 10_000


def fingerprint(lake: Any) -> str:
    """A hash of all that a lake, or a view of one, shows."""
    whole = hashlib.sha256()
    for entry in lake.list():
        shown = {name: entry[name] for name in entry if name not in ("storage_uri", "inlined")}
        whole.update(repr((shown, entry.value)).encode())
    whole.update(repr((len(lake), list(lake), lake.stats().entries)).encode())
    return whole.hexdigest()


class Chaos:
    """Random changes to a lake, by every call that makes some."""

    def __init__(self, lake: Lake, clock: FakeClock, rng: random.Random) -> None:
        self.lake, self.clock, self.rng = lake, clock, rng
        self.kept: dict[str, str] = {}

    def value(self) -> Any:
        number = self.rng.randrange(200)
        return self.rng.choice([number, {"n": number}, "large" * 50 + str(number), b"x" * number])

    def arguments(self) -> dict[str, Any]:
        ttl = self.rng.choice([None, None, 1, 30, 600])
        return {"metadata": {"n": self.rng.randrange(5)}, "ttl": ttl}

    def store(self) -> None:
        self.lake.store(self.rng.choice(KEYS), self.value(), **self.arguments())

    def delete(self) -> None:
        self.lake.delete(self.rng.choice(KEYS))

    def batch(self) -> None:
        keys = self.rng.choices(KEYS, k=self.rng.randrange(40))
        self.lake.store_batch(
            [{"key": key, "value": self.value(), **self.arguments()} for key in keys],
            atomic=self.rng.random() < 0.5,
        )

    def transaction(self) -> None:
        with self.lake.transaction() as tx:
            for key in self.rng.choices(KEYS, k=4):
                tx.store(key, self.value()) if self.rng.random() < 0.6 else tx.delete(key)

    def wait(self) -> None:
        self.clock.advance(self.rng.choice([0.000001, 1, 29, 300]))

    def clean(self) -> None:
        lake = self.lake
        clean = [lake.maintain, lake.cleanup_expired, lake.compact]
        self.rng.choice([*clean, lambda: lake.collect(grace=0, orphan_grace=0)])()

    def snapshot(self) -> None:
        snapshot = self.lake.create_snapshot(f"s{self.rng.randrange(10**9)}")
        self.kept[snapshot.id] = fingerprint(self.lake)
        assert fingerprint(self.lake.at(snapshot)) == self.kept[snapshot.id]

    def drop(self) -> None:
        snapshots = [item for item in self.lake.snapshots() if item.name != "kept"]
        if len(snapshots) > 8:
            doomed = self.rng.choice(snapshots)
            self.lake.drop_snapshot(doomed)
            self.kept.pop(doomed.id, None)

    def restore(self) -> None:
        self.lake.restore(
            self.rng.choice(self.lake.snapshots()),
            prefix=self.rng.choice(["", "a/", "b/1", "none"]),
            dry_run=self.rng.random() < 0.3,
        )

    def run(self, count: int) -> None:
        weights: dict[Callable[[], None], int] = {
            self.store: 60, self.delete: 12, self.batch: 6, self.transaction: 6, self.wait: 20,
            self.clean: 4, self.snapshot: 2, self.drop: 3, self.restore: 2,
        }  # fmt: skip
        for action in self.rng.choices(list(weights), list(weights.values()), k=count):
            action()


def test_a_snapshot_never_changes(
    tmp_path: Path, soak: bool, record_property: Callable[[str, object], None]
) -> None:
    rng, clock = random.Random(), FakeClock()
    seed = rng.randrange(2**32)
    rng.seed(seed)
    with open_lake(tmp_path / "lake", clock=clock, inline_threshold=100) as lake:
        chaos = Chaos(lake, clock, rng)
        chaos.snapshot()
        chaos.run(150)
        lake.create_snapshot("kept")
        before = fingerprint(lake)
        assert fingerprint(lake.at("kept")) == before
        chaos.run(SOAK_COUNT if soak else COUNT)
        assert fingerprint(lake.at("kept")) == before, seed
        for snapshot in lake.snapshots():
            expected = chaos.kept.get(snapshot.id)
            assert expected is None or fingerprint(lake.at(snapshot)) == expected, seed
        applied = lake.restore("kept", dry_run=True)
        shown = len(lake.at("kept"))
        lake.restore("kept")
        assert len(lake) == shown - applied.expired
        for snapshot in lake.snapshots():
            lake.drop_snapshot(snapshot)
        lake.maintain()
        assert lake.stats().history == 0
        record_property("changes that left a snapshot as it was", SOAK_COUNT if soak else COUNT)
