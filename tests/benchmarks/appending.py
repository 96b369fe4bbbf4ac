"""A table that was appended to a thousand times, against the same rows stored at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa

import lakebed
from tests.benchmarks.runner import OURS, Contest, Room, benchmark

ROWS = 100
WHOLE = "the same rows stored as one table"


def rows(first: int, count: int) -> pa.Table:
    numbers = range(first * ROWS, (first + count) * ROWS)
    return pa.table(
        {"n": list(numbers), "x": [n / 7 for n in numbers], "text": [f"row {n}" for n in numbers]}
    )


def processor(call: Callable[[], Any]) -> float:
    """The processor time of a call in seconds: what others do on the machine counts less."""
    start = time.process_time()
    call()
    return time.process_time() - start


@benchmark
def appending(room: Room) -> Iterator[Contest]:
    """Reading what appends have made, before and after `compact`."""
    count = room.count(1000)
    with lakebed.open(room.folder / "lake") as lake:
        for number in range(count):
            lake.append("t", rows(number, 1))
        whole = rows(0, count)
        lake.store("whole", whole)
        assert lake["t"].equals(whole)

        def retrieve(key: str) -> Callable[[int], float]:
            return lambda _: processor(lambda: lake.retrieve(key))

        def query(key: str) -> Callable[[int], float]:
            def total() -> None:
                table = lake.table(key)
                assert table.n.sum().to_pyarrow().as_py() == sum(range(count * ROWS))

            return lambda _: processor(total)

        def contests(state: str, bar: float) -> Iterator[Contest]:
            for what, call in (("retrieve", retrieve), ("table() and a sum", query)):
                yield Contest(
                    f"{what} of a table of {count:,} appends of {ROWS} rows, {state}",
                    {OURS: call("t"), WHOLE: call("whole")},
                    bars={WHOLE: bar},
                    unit="ms",
                    rounds=31,
                    note="processor time",
                )

        yield from contests("before compact", 1 / 3)
        lake.compact()
        yield from contests("after compact", 1 / 1.1)

        def append(number: int) -> None:
            lake.append("grows", rows(number, 1))

        def store(number: int) -> None:
            lake.store(f"stored/{number}", rows(number, 1))

        yield Contest(
            f"append of {ROWS} rows",
            {OURS: append, "store of them under a key of their own": store},
            unit="ms",
            rounds=65,
        )
