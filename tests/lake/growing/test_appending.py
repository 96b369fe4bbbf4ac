"""Appends of many processes, some of which are killed: each is kept once, and whole."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import lakebed
from lakebed.lake.lake import Lake
from tests.forked import Forked
from tests.lake.growing.appending_writer import KEY, append

WRITERS, KILLS, SOAK_KILLS = 3, 6, 1000
PROCESSES, APPENDS, SOAK_APPENDS = 8, 10, 200
ENDLESS = 10**9


class Place:
    """Where the lake of a test is. `by`: the column that its table is partitioned by, if any."""

    def __init__(self, folder: Path, opened: dict[str, Any], by: str | None) -> None:
        self.folder, self.opened, self.by = folder, opened, by

    def open(self) -> Lake:
        return lakebed.open(**self.opened)


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    kind, by = request.param
    if kind == "folder":
        return Place(tmp_path, {"where": str(tmp_path / "lake")}, by)
    server = request.getfixturevalue("s3")
    catalog = {"type": "postgres", "url": request.getfixturevalue("postgres_18").url()}
    catalog["schema"] = f"appends_{random.randrange(10**9)}"
    storage = server.storage(f"s3://{server.create_bucket()}/lake")
    return Place(tmp_path, {"catalog": catalog, "storage": storage}, by)


class Writer(Forked):
    """A process that appends."""

    def __init__(self, place: Place, name: str, first: int, last: int) -> None:
        self.name, self.first = name, first
        arguments = (place.opened, place.by, name, first, last)
        super().__init__(append, *arguments, folder=place.folder, name=f"{name}-{first}")

    def kill_at_work(self) -> int:
        """Kill it at whatever it is doing. Return the last number that was acknowledged."""
        assert self.is_alive()
        self.kill()
        return self.first + len(self.said()) - 2


@pytest.fixture
def writers() -> Iterator[list[Writer]]:
    running: list[Writer] = []
    yield running
    for writer in running:
        writer.kill()


def numbers(place: Place) -> dict[str, list[int]]:
    """The numbers that each writer has appended, in the order of the table; each twice, side by
    side."""
    with place.open() as lake:
        entry = lake.entry(KEY)
        table = None if entry is None else entry.value
        found: dict[str, list[int]] = {}
        if table is not None and entry is not None:
            assert entry.rows == table.num_rows
            rows = table.to_pylist()
            assert rows[::2] == rows[1::2]
            for row in rows[::2]:
                found.setdefault(row["who"], []).append(row["number"])
        return found


@pytest.mark.parametrize("place", [("folder", "who"), ("servers", None)], indirect=True)
def test_a_killed_append_is_kept_whole_or_not_at_all(
    place: Place,
    soak: bool,
    writers: list[Writer],
    record_property: Callable[[str, object], None],
) -> None:
    kills = acknowledged = under_way = 0
    done = {f"w{number}": 0 for number in range(WRITERS)}
    while kills < (SOAK_KILLS if soak else KILLS) or not any(done.values()):
        idle = done.keys() - {writer.name for writer in writers}
        writers += [Writer(place, name, done[name] + 1, ENDLESS) for name in idle]
        for writer in writers:
            writer.wait_for(1)
        random.choice(writers).wait_for(random.randint(1, 4))
        time.sleep(random.uniform(0, 0.1))
        doomed = random.sample(writers, random.randint(1, WRITERS))
        counts = [writer.kill_at_work() for writer in doomed]
        found = numbers(place)
        for writer, last in zip(doomed, counts, strict=True):
            writers.remove(writer)
            mine = found.get(writer.name, [])
            assert mine == list(range(1, len(mine) + 1))
            assert len(mine) in (last, last + 1), (writer.name, last)
            under_way += len(mine) - last
            acknowledged += last - done[writer.name]
            done[writer.name] = len(mine)
        kills += len(doomed)
        if kills % 5 == 0:
            with place.open() as lake:
                lake.compact()
                lake.collect(grace=0)
    for writer in writers:
        writer.kill()
    record_property(
        "appending writers killed",
        f"{kills}, after {acknowledged} acknowledged appends, none lost or doubled "
        f"({under_way} of those under way had happened)",
    )
    with place.open() as lake:
        value = lake[KEY]
        lake.compact()
        lake.collect(grace=0, orphan_grace=0, orphans=True)
        assert lake.verify().problems == []
        order = [("who", "ascending"), ("number", "ascending")]
        assert lake[KEY].sort_by(order).equals(value.combine_chunks().sort_by(order))


@pytest.mark.parametrize("place", [("folder", None), ("servers", "who")], indirect=True)
def test_eight_processes_append(place: Place, soak: bool, writers: list[Writer]) -> None:
    appends = SOAK_APPENDS if soak else APPENDS
    writers += [Writer(place, f"w{n}", 1, appends) for n in range(PROCESSES)]
    for writer in writers:
        writer.wait()
    found = numbers(place)
    assert found == {writer.name: list(range(1, appends + 1)) for writer in writers}
    with place.open() as lake:
        assert lake.verify().problems == []
        lake.collect(grace=0)
        assert Counter(lake[KEY].column("who").to_pylist()) == {
            writer.name: 2 * appends for writer in writers
        }
