"""Appends of many processes, some of which are killed: each is kept once, and whole."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import lakebed
from lakebed.lake.lake import Lake
from tests.lake.growing import appending_writer

WRITERS, KILLS, SOAK_KILLS = 3, 6, 1000
PROCESSES, APPENDS, SOAK_APPENDS = 8, 10, 200
ENDLESS = 10**9


class Place:
    """Where the lake of a test is. `by`: the column that its table is partitioned by, if any."""

    def __init__(self, folder: Path, opened: dict[str, Any], by: str) -> None:
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


class Writer:
    """A process that appends."""

    def __init__(self, place: Place, name: str, first: int, last: int) -> None:
        self.name, self.first = name, first
        self._said = place.folder / f"{name}-{first}"
        self._errors = place.folder / f"{name}-{first}.errors"
        arguments = [json.dumps(place.opened), place.by, name, str(first), str(last)]
        with self._said.open("wb") as said, self._errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, appending_writer.__file__, *arguments],
                stdout=said,
                stderr=errors,
            )

    def said(self) -> list[str]:
        """What it has printed."""
        return self._said.read_text().splitlines()

    def check(self) -> None:
        """Fail with what it told of an error."""
        assert not self._errors.read_text()

    def wait_until_it_writes(self) -> None:
        while not self.said():
            assert self.process.poll() is None, self._errors.read_text()
            time.sleep(0.005)

    def kill(self) -> int:
        """Kill it at whatever it is doing. Return the last number that was acknowledged."""
        assert self.process.poll() is None, self._errors.read_text()
        self.process.kill()
        self.process.wait()
        self.check()
        return self.first + len(self.said()) - 2


@pytest.fixture
def writers() -> Iterator[list[Writer]]:
    running: list[Writer] = []
    yield running
    for writer in running:
        writer.process.kill()
        writer.process.wait()


def numbers(place: Place) -> dict[str, list[int]]:
    """The numbers that each writer has appended, in the order of the table; each twice, side by
    side."""
    with place.open() as lake:
        entry = lake.entry(appending_writer.KEY)
        table = None if entry is None else entry.value
        found: dict[str, list[int]] = {}
        if table is not None and entry is not None:
            assert entry.rows == table.num_rows
            rows = table.to_pylist()
            assert rows[::2] == rows[1::2]
            for row in rows[::2]:
                found.setdefault(row["who"], []).append(row["number"])
        return found


@pytest.mark.parametrize("place", [("folder", "who"), ("servers", "")], indirect=True)
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
            writer.wait_until_it_writes()
        time.sleep(random.uniform(0, 0.3))
        doomed = random.sample(writers, random.randint(1, WRITERS))
        counts = [writer.kill() for writer in doomed]
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
        value = lake[appending_writer.KEY]
        lake.compact()
        lake.collect(grace=0, orphan_grace=0, orphans=True)
        assert lake.verify().problems == []
        order = [("who", "ascending"), ("number", "ascending")]
        assert (
            lake[appending_writer.KEY].sort_by(order).equals(value.combine_chunks().sort_by(order))
        )


@pytest.mark.parametrize("place", [("folder", ""), ("servers", "who")], indirect=True)
def test_eight_processes_append(place: Place, soak: bool, writers: list[Writer]) -> None:
    appends = SOAK_APPENDS if soak else APPENDS
    writers += [Writer(place, f"w{n}", 1, appends) for n in range(PROCESSES)]
    for writer in writers:
        assert writer.process.wait() == 0
        writer.check()
    found = numbers(place)
    assert found == {writer.name: list(range(1, appends + 1)) for writer in writers}
    with place.open() as lake:
        assert lake.verify().problems == []
        lake.collect(grace=0)
        assert Counter(lake[appending_writer.KEY].column("who").to_pylist()) == {
            writer.name: 2 * appends for writer in writers
        }
