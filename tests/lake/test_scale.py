"""No call grows faster with the lake than it may: counted in steps of SQLite's virtual machine."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest

import lakebed
from tests.benchmarks.scale_calls import CALLS, Call, World

SIZES = (2_000, 32_000)  # at the larger one batches fill the indexes
SOAK_SIZES = (10_000, 300_000)
STEPS = 50  # that are counted at once
TIMES = 3  # a call is counted, of which the least counts
FEW = 20_000  # steps that are no matter at any size: about a millisecond
SPARE = 0.2  # of an exponent: trees grow by levels, segments are merged now and then


class Steps:
    """Counts the steps of all connections that are opened from now on.

    Without VACUUM, by which a purge rewrites files of up to 64 MiB: these are no larger here.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self.rewriting = False
        connect = sqlite3.connect

        def counting(*args: Any, **kwargs: Any) -> sqlite3.Connection:
            connection = connect(*args, **kwargs)
            connection.set_trace_callback(self.begin)
            connection.set_progress_handler(self.step, STEPS)
            return connection

        monkeypatch.setattr(sqlite3, "connect", counting)

    def begin(self, statement: str) -> None:
        self.rewriting = statement == "VACUUM"

    def step(self) -> int:
        if not self.rewriting:
            self.count += STEPS
        return 0

    def of(self, call: Call, world: World) -> int:
        """The steps that a call takes."""
        counts = []
        for _ in range(TIMES):
            before = self.count
            call.do(world)
            counts.append(self.count - before)
        return min(counts)


@pytest.fixture(scope="module")
def counted(
    tmp_path_factory: pytest.TempPathFactory, soak: bool
) -> Iterator[dict[int, tuple[World, Steps]]]:
    """A lake of each size, and what counts its steps."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        worlds = {}
        for size in SOAK_SIZES if soak else SIZES:
            steps, folder = Steps(monkeypatch), tmp_path_factory.mktemp("scale")
            world = World(lakebed.open(folder / "lake"), size, folder)
            world.load()
            world.change()
            world.lake.maintain()  # fills the indexes, as a larger batch does
            worlds[size] = world, steps
        yield worlds
        for world, _ in worlds.values():
            world.lake.close()


@pytest.mark.parametrize("call", CALLS, ids=[call.name for call in CALLS])
def test_it_grows_no_faster_than_it_may(
    counted: dict[int, tuple[World, Steps]], call: Call
) -> None:
    small, large = ((size, FEW + steps.of(call, world)) for size, (world, steps) in counted.items())
    exponent = math.log(large[1] / small[1]) / math.log(large[0] / small[0])
    assert exponent <= call.growth + SPARE, f"{small} to {large}"


def test_what_reads_all_is_seen_to_grow(counted: dict[int, tuple[World, Steps]]) -> None:
    (_, few), (_, many) = (
        (size, steps.of(next(c for c in CALLS if c.name == "all keys"), world))
        for size, (world, steps) in counted.items()
    )
    assert many > 8 * few > 16_000
