"""Snapshots, diffs, feeds, restores and drops beside writers in other processes."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import lakebed
from lakebed.lake.history.diff import Diff
from lakebed.lake.history.feed import Changes
from lakebed.lake.lake import Lake
from lakebed.records import Entry
from tests.lake.processes import run_together

pytestmark = pytest.mark.sampled("folder", 3)

WRITERS = 8
State = dict[str, list[Any]]

OPENING = """
import json, random, sys, os, time
import lakebed
from lakebed.errors import LakebedError, NotFoundError
from tests.lake.history.test_snapshots_together import changes, opened, state
lake = opened(sys.argv[1])
rng = random.Random()
deadline = time.monotonic() + 250

def done():
    assert time.monotonic() < deadline, "another process has died"
    return len([name for name in os.listdir(folder) if name.startswith("done-")])
"""

WRITING = """
for step in range({steps}):
    key = f"k{{rng.randrange(60):02}}"
    kind = rng.random()
    if kind < 0.5:
        lake.store(key, rng.choice([number, "x" * 100 + str(step)]), {{"by": number}})
    elif kind < 0.65:
        lake.store(key, step, ttl=rng.choice([0.01, 0.1, 1000]))
    elif kind < 0.85:
        lake.delete(key)
    else:
        keys = rng.sample(range(60), 12)
        lake.store_batch({{"key": f"k{{n:02}}", "value": [number, step]}} for n in keys)
open(f"{{folder}}/done-{{number}}", "w").close()
"""

WATCHING = """
if number < {writers}:
    WRITING
elif number == {writers}:
    count = 1
    while done() < {writers} or count < 3:
        lake.create_snapshot(f"s{{count}}")
        count += 1
        if count % 5 == 0:
            lake.maintain()
    lake.create_snapshot(f"s{{count}}")  # of what was written while the last one was made
    open(folder + "/ended", "w").close()
else:
    seen, results = 0, []
    while True:
        ended = os.path.exists(folder + "/ended") if done() else False
        names = [item.name for item in lake.snapshots()]
        for first, second in zip(names[seen:], names[seen + 1 :]):
            results.append(changes(lake.diff(first, second)))
            seen += 1
        if ended and seen == len(names) - 1:
            break
    print(json.dumps(results))
"""


def state(lake: Any) -> State:
    """What a lake, or a view of one, shows: content, metadata and expiry by key."""
    return {entry.key: _state(entry) for entry in lake.list()}


def changes(found: Diff) -> list[tuple[str, Any, Any]]:
    """The differences: keys, and their states before and after."""
    return [
        *((entry.key, None, _state(entry)) for entry in found.added),
        *((change.key, _state(change.before), _state(change.after)) for change in found.changed),
        *((entry.key, _state(entry), None) for entry in found.removed),
    ]


def feed(found: Changes) -> list[tuple[str, Any, Any]]:
    """The changes of a feed in the same form."""
    return [
        (change.key, change.before and _state(change.before), change.after and _state(change.after))
        for change in found
    ]


def apply(before: State, difference: list[Any]) -> State:
    """A state after a difference, whose own idea of before must be right."""
    after = dict(before)
    for key, old, new in difference:
        assert before.get(key) == old, key
        if new is None:
            del after[key]
        else:
            after[key] = new
    return dict(sorted(after.items()))


def _state(entry: Entry) -> list[Any]:
    expires_at = entry.expires_at and entry.expires_at.isoformat()
    return [entry.content_hash, entry.metadata, expires_at]


def opened(folder: Path | str, **settings: Any) -> Lake:
    """The lake whose place stands in a file of the folder."""
    place = json.loads((Path(folder) / "place.json").read_text())
    return lakebed.open(**place, inline_threshold=64, lock_timeout=120, **settings)


@pytest.fixture(params=["sqlite", "postgres", "mariadb"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder that says where the lake is."""
    storage = str(tmp_path / "lake")
    place: dict[str, Any] = {"where": storage}
    if request.param == "postgres":
        url = request.getfixturevalue("postgres_18").url()
        schema = f"together_{random.randrange(10**9)}"
        catalog = {"type": "postgres", "url": url, "schema": schema, "max_size": 2}
        place = {"catalog": catalog, "storage": storage}
    elif request.param == "mariadb":
        url = request.getfixturevalue("mariadb").url(f"together_{random.randrange(10**9)}")
        place = {"catalog": url, "storage": storage}
    (tmp_path / "place.json").write_text(json.dumps(place))
    return tmp_path


@pytest.fixture
def lake(folder: Path) -> Iterator[Lake]:
    with opened(folder) as lake:
        yield lake


def together(folder: Path, code: str, processes: int) -> list[Any]:
    """Run code in several processes at once; what each printed last, as JSON."""
    said = run_together(code, folder, processes, OPENING)
    return [json.loads(out.splitlines()[-1]) if out else None for out in said]


def indented(code: str) -> str:
    return code.replace("\n", "\n    ")


def test_consecutive_diffs_add_up(
    folder: Path, lake: Lake, soak: bool, record_property: Callable[[str, object], None]
) -> None:
    lake.store_batch({"key": f"k{n:02}", "value": n} for n in range(0, 60, 2))
    lake.create_snapshot("s0")
    writing = WRITING.format(steps=2000 if soak else 30)
    code = WATCHING.format(writers=WRITERS).replace("WRITING", indented(writing))
    *_, differences = together(folder, code, WRITERS + 2)
    names = [snapshot.name for snapshot in lake.snapshots()]
    assert names == [f"s{number}" for number in range(len(names))]
    assert len(differences) == len(names) - 1
    now = first = state(lake.at("s0"))
    for name, difference in zip(names[1:], differences, strict=True):
        now = apply(now, difference)
        assert now == state(lake.at(name)), name
    whole = changes(lake.diff("s0", names[-1]))
    assert apply(first, whole) == now
    assert apply(now, changes(lake.diff(names[-1], "s0"))) == first
    assert sum(map(len, differences)) >= len(whole) > 0
    record_property(
        "diffs taken beside eight writers",
        f"{len(differences)}, of {sum(map(len, differences))} differences, which add up to the "
        f"{len(whole)} of their ends",
    )


def test_drops_beside_overwrites(
    folder: Path, lake: Lake, record_property: Callable[[str, object], None]
) -> None:
    """Every batch stores one number under all keys: no reader ever sees two numbers."""
    code = """
keys = [f"k{n:03}" for n in range(300)]
if number < 3:
    for step in range(12):
        value = f"{number} {step} " + "x" * (100 if step % 3 else 0)
        lake.store_batch([{"key": key, "value": value} for key in keys])
    open(f"{folder}/done-{number}", "w").close()
elif number == 3:
    count = 0
    while done() < 3:
        lake.create_snapshot(f"s{count}")
        if count >= 3:
            lake.drop_snapshot(f"s{count - 3}")
            lake.maintain()
        count += 1
else:
    whole = dropped = 0
    while done() < 3 or not whole:
        for snapshot in lake.snapshots():
            try:
                view = lake.at(snapshot)
                found = [entry.value for entry in view.list()]
                also = dict(view.retrieve_batch(keys))
                assert len(view) == len(found)
            except NotFoundError:
                dropped += 1
                continue
            assert len(found) == len(also) == 300 and {*found, *also.values()} == {found[0]}
            whole += 1
    print(json.dumps([whole, dropped]))
"""
    lake.store_batch({"key": f"k{n:03}", "value": "first"} for n in range(300))
    *_, (whole, dropped) = together(folder, code, 5)
    assert whole
    for snapshot in lake.snapshots():
        (only,) = {entry.value for entry in lake.at(snapshot).list()}
        assert lake.at(snapshot)["k150"] == only
        lake.drop_snapshot(snapshot)
    lake.maintain()
    assert lake.stats().history == 0
    record_property("views beside drops", f"{whole} read whole, {dropped} ended by an error")


def test_restores_beside_writers(folder: Path) -> None:
    """Each restore happens at one moment: what it found, with what it changed, is the snapshot, and
    no version of a writer is among its own."""
    with opened(folder, history="all") as lake:
        lake.store_batch({"key": f"k{n:02}", "value": n} for n in range(0, 60, 2))
        lake.create_snapshot("s")
        code = """
if number < 4:
    for step in range(80):
        key = f"k{rng.randrange(60):02}"
        lake.store(key, [number, step]) if rng.random() < 0.7 else lake.delete(key)
else:
    results = []
    for turn in range(6):
        applied = lake.restore("s")
        versions = [item.version for item in applied.added]
        versions += [item.after.version for item in applied.changed]
        results.append([applied.snapshot, changes(applied), sorted(versions)])
        time.sleep(0.05)
    print(json.dumps(results))
"""
        *_, one, two = together(folder, code, 6)
        wanted = state(lake.at("s"))
        written = {
            version.version: key
            for key in (f"k{n:02}" for n in range(60))
            for version in lake.history(key)
        }
        for name, difference, versions in one + two:
            assert apply(state(lake.at(name)), difference) == wanted
            own = {key for key, _, after in difference if after is not None}
            span = range(versions[0], versions[-1] + 1) if versions else []
            assert {written[version] for version in span if version in written} == own
        names = {name for name, _, _ in one + two}
        assert len(names) == 12


def test_restores_at_once(folder: Path, lake: Lake) -> None:
    """They happen one after the other: each finds what another has left, or the start."""
    states = []
    for name in ("one", "two", "three"):
        for number in random.sample(range(60), 30):
            lake.store(f"k{number:02}", [name, number])
        for number in random.sample(range(60), 10):
            lake.delete(f"k{number:02}")
        lake.create_snapshot(name)
        states.append(state(lake))
    code = """
for turn in range(8):
    lake.restore(["one", "two", "three"][number])
"""
    together(folder, code, 3)
    assert state(lake) in states
    kept = [item for item in lake.snapshots() if item.name.startswith("before-restore-")]
    assert len(kept) == 24
    for snapshot in kept:
        assert state(lake.at(snapshot)) in states


def test_one_name_many_times(folder: Path, lake: Lake) -> None:
    code = """
try:
    lake.create_snapshot("same")
    print(1)
except lakebed.errors.ConflictError:
    print(0)
"""
    assert sorted(together(folder, code, 6)) == [0, 0, 0, 0, 0, 1]
    assert len(lake.snapshots()) == 1


def test_a_follower_of_eight_writers_misses_nothing(
    folder: Path, lake: Lake, soak: bool, record_property: Callable[[str, object], None]
) -> None:
    """What it was told adds up to the lake as of its cursor, at each look."""
    code = """
if number < {writers}:
    WRITING
else:
    from tests.lake.history.test_snapshots_together import apply, feed
    copy, cursor, looks, told, over = {{}}, None, 0, 0, False
    while not over or looks < 5:
        over = done() == {writers}  # then this look is the last
        news = lake.changes(cursor)
        differences = feed(news)
        copy, cursor = apply(copy, differences), news.cursor
        assert copy == state(lake.at(cursor)), looks
        looks, told = looks + 1, told + len(differences)
        if looks % 5 == 0:
            lake.maintain()
    print(json.dumps([copy, cursor, looks, told]))
"""
    lake.store_batch({"key": f"k{n:02}", "value": n} for n in range(0, 60, 2))
    writing = WRITING.format(steps=2000 if soak else 25)
    code = code.format(writers=WRITERS).replace("WRITING", indented(writing))
    *_, (copy, cursor, looks, told) = together(folder, code, WRITERS + 1)
    assert copy == state(lake.at(cursor))
    record_property("a follower of eight writers", f"{looks} looks, {told} changes, none missed")
