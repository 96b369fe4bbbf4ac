"""kill -9 of writing processes: what was acknowledged is there, and every entry can be read."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import pytest

import lakebed
from tests.forked import Forked
from tests.lake.entries import killed_writer

WRITERS = 3
KILLS, SOAK_KILLS = 30, 1000
State = dict[str, str]


class Writer(Forked):
    """A running writer, and the state of its keys that it must keep or go on from."""

    def __init__(self, folder: Path, prefix: str, seed: int, state: State) -> None:
        self.prefix = prefix
        self.seed = seed
        self.state = state
        arguments = (folder, prefix, seed)
        super().__init__(
            killed_writer.write, *arguments, folder=folder.parent, name=f"{prefix}-{seed}"
        )

    def kill_at_work(self) -> int:
        """Kill it at whatever it is doing; how many operations were acknowledged to it."""
        assert self.is_alive()
        self.kill()
        numbers = self.said()
        assert numbers == [str(number) for number in range(len(numbers))]
        return len(numbers) - 1

    def possible(self, acknowledged: int) -> list[State]:
        """The states that the lake may show: with or without the operation that was under way."""
        state = dict(self.state)
        states = [dict(state)]
        for _, changes in islice(
            killed_writer.operations(self.prefix, self.seed), acknowledged + 1
        ):
            for key, value in changes:
                if value is None:
                    state.pop(key, None)
                else:
                    state[key] = value
            states.append(dict(state))
        return states[-2:]


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> random.Random:
    """New chances in each run; the seed is shown when the test fails."""
    seed = int.from_bytes(os.urandom(4))
    request.node.add_report_section("setup", "seed", str(seed))
    return random.Random(seed)


@pytest.fixture
def writers() -> Iterator[list[Writer]]:
    running: list[Writer] = []
    yield running
    for writer in running:
        writer.kill()


def read_all(folder: Path) -> dict[str, str]:
    """Every entry; reading it checks its hash."""
    with lakebed.open(folder) as lake:
        return {entry.key: entry.value for entry in lake.list()}


def test_no_acknowledged_write_is_lost(
    tmp_path: Path,
    soak: bool,
    rng: random.Random,
    writers: list[Writer],
    record_property: Callable[[str, object], None],
) -> None:
    folder = tmp_path / "lake"
    kills, acknowledged, under_way = 0, 0, 0
    states: dict[str, State] = {f"w{number}": {} for number in range(WRITERS)}
    while kills < (SOAK_KILLS if soak else KILLS):
        for prefix in states.keys() - {writer.prefix for writer in writers}:
            writers.append(Writer(folder, prefix, rng.randrange(2**32), states[prefix]))
            writers[-1].wait_for(1)
        time.sleep(rng.uniform(0.0, 0.15))
        doomed = rng.sample(writers, rng.randint(1, WRITERS))
        counts = [writer.kill_at_work() for writer in doomed]
        found = read_all(folder)
        for writer, count in zip(doomed, counts, strict=True):
            writers.remove(writer)
            mine = {k: v for k, v in found.items() if k.startswith(f"{writer.prefix}/")}
            without, with_it = writer.possible(count)
            assert mine in (without, with_it), (writer.prefix, writer.seed, count)
            under_way += mine != without
            states[writer.prefix] = mine
        kills += len(doomed)
        acknowledged += sum(counts)
    record_property(
        "writers killed",
        f"{kills}, after {acknowledged} acknowledged operations, none of them lost "
        f"({under_way} of those under way had happened)",
    )
    assert acknowledged > kills


@pytest.mark.parametrize("attempt", range(8))
def test_killed_while_the_lake_is_made(
    tmp_path: Path, rng: random.Random, writers: list[Writer], attempt: int
) -> None:
    folder = tmp_path / "lake"
    writers.extend(Writer(folder, f"w{number}", attempt, {}) for number in range(2))
    while not folder.exists():
        time.sleep(0.0005)
    time.sleep(rng.uniform(0, 0.02))
    for writer in writers:
        writer.kill()
    read_all(folder)
    with lakebed.open(folder) as lake:
        lake.store("a", 1)
        assert lake["a"] == 1
