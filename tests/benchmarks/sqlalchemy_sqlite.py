"""The same lake on SQLite, through SQLAlchemy and natively."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import lakebed
from tests.benchmarks.documents import documents
from tests.benchmarks.runner import OURS, Contest, Room, benchmark

NATIVE = "native catalog"
ROUNDS = 7
Work = Callable[[lakebed.Lake, int], None]


@benchmark
def sqlalchemy(room: Room) -> Iterator[Contest]:
    """Single operations and batches; `lakebed` is the catalog through SQLAlchemy."""
    native = lakebed.open(room.folder / "native")
    ours = lakebed.open(
        catalog={"type": "sqlalchemy", "url": f"sqlite:///{room.folder}/ours.db"},
        storage=room.folder / "contents",
    )
    lakes = {OURS: ours, NATIVE: native}

    def contest(title: str, bar: float, operations: int, work: Work) -> Contest:
        contenders = {
            name: (lambda number, lake=lake: work(lake, number)) for name, lake in lakes.items()
        }
        return Contest(title, contenders, {NATIVE: bar}, operations=operations, rounds=ROUNDS)

    count = room.count(1000)
    rounds = [documents(count, start=number * count) for number in range(ROUNDS)]

    def store(lake: lakebed.Lake, number: int) -> None:
        for key, value in rounds[number]:
            lake.store(key, value)

    def retrieve(lake: lakebed.Lake, number: int) -> None:
        for key, _ in rounds[number]:
            lake.retrieve(key)

    def delete(lake: lakebed.Lake, number: int) -> None:
        for key, _ in rounds[number]:
            lake.delete(key)

    yield contest("store of a 470-byte document", 0.3, count, store)
    yield contest("retrieve of a 470-byte document", 0.3, count, retrieve)
    yield contest("delete of an entry", 0.3, count, delete)

    many = room.count(10_000)
    batches = [documents(many, start=(ROUNDS + number) * many) for number in range(ROUNDS)]

    def store_batch(lake: lakebed.Lake, number: int) -> None:
        lake.store_batch([{"key": key, "value": value} for key, value in batches[number]])

    def retrieve_batch(lake: lakebed.Lake, number: int) -> None:
        lake.retrieve_batch([key for key, _ in batches[number][: many // 10]])

    yield contest(f"store_batch of {many:,} documents", 0.6, many, store_batch)
    yield contest(f"retrieve_batch of {many // 10:,}", 0.6, many // 10, retrieve_batch)
    for lake in lakes.values():
        lake.close()
