"""kill -9 in the middle of batches and restores: before or after, never between."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import lakebed
from lakebed.lake.lake import Lake
from lakebed.objects.local import LocalStore
from lakebed.testing.conformance.base import contents

KILLS, SOAK_KILLS = 8, 200
ENTRIES = 600

OPENING = """
import os, sys
import lakebed
lake = lakebed.open(sys.argv[1], inline_threshold=64, lock_timeout=60)
turn = int(sys.argv[2])
os.write(1, b"ready\\n")
"""

BATCHES = """
while True:
    lake.store_batch(
        {"key": f"k{n:04}", "value": [turn, "x" * 100 if n % 3 else "", n]} for n in range(600)
    )
    os.write(1, b"%d\\n" % turn)
    turn += 1
"""

RESTORES = """
while True:
    lake.restore(["even", "odd"][turn % 2])
    os.write(1, b"%d\\n" % turn)
    turn += 1
"""


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    with lakebed.open(tmp_path / "lake", inline_threshold=64) as lake:
        yield lake


def run_and_kill(folder: Path, code: str, turn: int, seconds: float) -> int:
    """Run code that counts its turns, from `turn` on, and kill it so long after it was ready; the
    turn that was under way."""
    process = subprocess.Popen(
        [sys.executable, "-c", OPENING + code, str(folder / "lake"), str(turn)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    ready = process.stdout.readline()
    time.sleep(seconds)
    process.kill()
    said, errors = process.communicate(timeout=60)
    assert (ready, errors) == ("ready\n", "")
    assert said == "".join(f"{done}\n" for done in range(turn, turn + said.count("\n")))
    return turn + said.count("\n")


def files(folder: Path) -> set[str]:
    """The finished files of the storage."""
    store = LocalStore(folder / "lake")
    found = {file.path for part in ("objects", "packs") for file in store.list(part)}
    return {path for path in found if not path.endswith(".tmp")}


def noted(lake: Lake) -> set[str]:
    """The files that the catalog knows: as named, as uploads that may be going on, as garbage."""
    catalog: Any = lake._catalog
    tables = ("pack", "pending", "trash")
    sql = " UNION ".join(f"SELECT uri FROM {table}" for table in tables)  # noqa: S608 - of ours
    return {uri for (uri,) in catalog._executor.fetch(sql, {})}


def test_batches(
    tmp_path: Path,
    lake: Lake,
    soak: bool,
    rng: random.Random,
    record_property: Callable[[str, object], None],
) -> None:
    turn = done = 0
    for _ in range(SOAK_KILLS if soak else KILLS):
        under_way = run_and_kill(tmp_path, BATCHES, turn, rng.uniform(0, 0.2))
        found = {key: value for key, (value, *_) in contents(lake).items()}
        assert len(found) in (0, ENTRIES)
        turns = {value[0] for value in found.values()}
        assert len(turns) <= 1
        last = max(turns, default=-1)
        assert last in (under_way - 1, under_way)
        assert [value[2] for value in found.values()] == list(range(len(found)))
        assert dict(lake.retrieve_batch(found)) == found
        assert not lake.verify().problems
        assert files(tmp_path) <= noted(lake)
        turn = last + 1
        done += last == under_way
    record_property("batches killed", f"{SOAK_KILLS if soak else KILLS}; {done} had happened")


def test_restores(
    tmp_path: Path,
    lake: Lake,
    soak: bool,
    rng: random.Random,
    record_property: Callable[[str, object], None],
) -> None:
    states = []
    for name in ("even", "odd"):
        for number in rng.sample(range(ENTRIES), ENTRIES // 3):
            lake.delete(f"k{number:04}")
        lake.store_batch(
            {"key": f"k{n:04}", "value": [name, "x" * 100 if n % 3 else ""]}
            for n in rng.sample(range(ENTRIES), ENTRIES // 2)
        )
        lake.create_snapshot(name)
        states.append(contents(lake))
    turn = 0  # of the restore that comes next: that of an odd one has just happened, so to say
    for _ in range(SOAK_KILLS if soak else KILLS):
        under_way = run_and_kill(tmp_path, RESTORES, turn, rng.uniform(0, 0.2))
        kept = [item for item in lake.snapshots() if item.name.startswith("before-restore-")]
        assert len(kept) in (under_way, under_way + 1)
        turn = len(kept)
        assert contents(lake) == states[(turn - 1) % 2]
        if kept:
            assert contents(lake.at(kept[-1])) == states[turn % 2]
    record_property("restores killed", f"{SOAK_KILLS if soak else KILLS}, {turn} had happened")
