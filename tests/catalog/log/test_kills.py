"""Processes killed at any point of a put, a base, a tombstone: what was acknowledged is there, and
nothing is there by half."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from lakebed.catalog.log import bundles
from lakebed.catalog.log.items import Item, entry, from_bytes
from tests.catalog.log.blocks import small_blocks
from tests.catalog.log.kills import GROUP, opened
from tests.catalog.log.places import Place, connect

LAKE = 100  # kills of writers of one lake: with more, its snapshots make each base large
STEP = 10
KILLS = {"folder": (20, 1000), "redis": (10, 200), "s3": (10, 200)}
"""How many on each kind of place, and in soak."""


@pytest.fixture(autouse=True)
def _small() -> Iterator[None]:
    with small_blocks():
        yield


@pytest.mark.parametrize("kind", KILLS)
def test_killed_writers(
    new_place: Callable[[str], Place], tmp_path: Path, kind: str, soak: bool, record_property: Any
) -> None:
    kills, places = KILLS[kind][soak], Counter[str]()
    for first in range(0, kills, LAKE):
        folder = tmp_path / str(first)
        folder.mkdir()
        numbers = range(first, min(first + LAKE, kills))
        places += kill_writers(folder, new_place(kind), numbers)
    record_property(f"killed writers of a log, {kind}", f"{kills}: {dict(places)}")


def kill_writers(folder: Path, place: Place, numbers: range) -> Counter[str]:
    """Kill writers of one lake, and compare it with what they noted. Returns where they died."""
    with opened(folder, place=place) as lake:
        lake.store("count", 0)
    for first in numbers[::STEP]:
        last = min(first + STEP, numbers.stop)
        ran = subprocess.run(
            [sys.executable, "-m", "tests.catalog.log.kills",
             folder, json.dumps(place), str(first), str(last)],
            capture_output=True, check=False, text=True, cwd=Path(__file__).parents[3],
        )  # fmt: skip
        assert ran.returncode == 0, ran.stderr[-3000:]
        check(folder, place, f"cache-{first}")
    notes = read(folder)
    assert sum(words[0] == "surely" for words in notes) > len(numbers)
    commits = items(place)
    assert "tombstone" in {item.kind for item in commits.values()}
    assert check_bundles(place, commits)
    return Counter(" ".join(words[1:]) for words in notes if words[0] == "died")


def items(place: Place) -> dict[int, Item]:
    """All items of the log."""
    with closing(connect(place)) as store:
        found = {}
        for n in count(1):
            data = store.get(entry(n))
            if data is None:
                break
            found[n] = from_bytes(entry(n), data)
    return found


def check_bundles(place: Place, commits: dict[int, Item]) -> int:
    """Bundles hold what the log holds, or are tombstones. Returns how many are the latter."""
    stones = 0
    with closing(connect(place)) as store:
        for block in range(bundles.block_of(len(commits)) + 1):
            data = store.get(bundles.name(block))
            if data is None:
                continue
            bundle = from_bytes("", data)
            stones += bundle.kind == "tombstone"
            if bundle.kind == "bundle":
                for n, item in bundles.unpack(block, bundle).items():
                    assert item.token == commits[n].token
                    assert item == commits[n] or commits[n].kind == "tombstone"
    return stones


def read(folder: Path) -> list[list[Any]]:
    return [json.loads(line) for line in (folder / "notes").read_text().splitlines()]


def check(folder: Path, place: Place, cache: str) -> None:
    """Compare the lake, as a new client and one with a copy see it, with what was noted."""
    notes = read(folder)
    for which in (cache, "cache"):
        with opened(folder, cache=which, place=place) as lake:
            ones: dict[int, list[Any]] = {}
            groups, large, counts = [None], [None], [0, 0]
            snapshots: dict[str, set[str]] = {"surely": set(), "maybe": set()}
            for how, number, kind, value in (words for words in notes if words[0] != "died"):
                sure = how == "surely"
                if kind == "one":
                    known = [] if sure else ones.get(number, [None])
                    ones[number] = [*known, value]
                elif kind == "group":
                    groups = [value] if sure else [*groups, value]
                elif kind == "large":
                    large = [value] if sure else [*large, value]
                elif kind == "count":
                    counts[sure] += 1
                else:
                    snapshots[how].add(f"s-{number}-{value[1]}")
            for number, possible in ones.items():
                assert lake.retrieve(f"one/{number}", None) in possible
            found = [lake.retrieve(f"group/{n}", None) for n in range(GROUP)]
            assert found == [found[0]] * GROUP
            assert found[0] in groups
            whole = lake.retrieve("large", None)
            assert (whole and whole[:2]) in large
            assert counts[1] <= lake.retrieve("count") <= counts[0]
            names = {snapshot.name for snapshot in lake.snapshots()}
            assert snapshots["surely"] <= names <= snapshots["maybe"]
            assert not lake.verify().problems
