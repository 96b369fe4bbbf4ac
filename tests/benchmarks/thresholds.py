"""Values inline in the catalog, against objects of their own.

See docs/design/inline-threshold.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import lakebed
from tests.benchmarks.runner import OURS, Contest, Room, Round, benchmark

SIZES = (256, 1024, 4096, 16384, 65536)
OBJECT = "an object of its own"
_Values = list[tuple[str, bytes]]


@benchmark
def thresholds(room: Room) -> Iterator[Contest]:
    """Store, retrieve and list values of one size, inline (ours) and as objects."""
    operations = room.count(200)
    for size in SIZES:
        inline = lakebed.open(room.folder / f"inline-{size}", inline_threshold=size)
        objects = lakebed.open(room.folder / f"objects-{size}", inline_threshold=0)
        rounds = [_values(operations, size, number) for number in range(7)]
        about = f"of {size:,} bytes, inline"
        yield Contest(
            f"store {about}",
            {OURS: _storing(inline, rounds), OBJECT: _storing(objects, rounds)},
            operations=operations,
            rounds=len(rounds),
        )
        keys = [key for key, _ in rounds[0]]
        yield Contest(
            f"retrieve {about}",
            {OURS: _retrieving(inline, keys), OBJECT: _retrieving(objects, keys)},
            operations=operations,
            rounds=7,
        )
        yield Contest(
            f"list {about}, an entry",
            {OURS: _listing(inline), OBJECT: _listing(objects)},
            operations=operations * len(rounds),
            rounds=7,
        )
        inline.close()
        objects.close()


def _values(count: int, size: int, number: int) -> _Values:
    random = Random(number * 1_000_003 + size)
    keys = (f"{random.randrange(10**9):09}/{number}/{n}" for n in range(count))
    return [(key, random.randbytes(size)) for key in keys]


def _storing(lake: lakebed.Lake, rounds: list[_Values]) -> Round:
    def play(number: int) -> None:
        for key, value in rounds[number]:
            lake.store(key, value)

    return play


def _retrieving(lake: lakebed.Lake, keys: list[str]) -> Round:
    def play(_: int) -> None:
        for key in keys:
            lake.retrieve(key)

    return play


def _listing(lake: lakebed.Lake) -> Round:
    def play(_: int) -> None:
        for _entry in lake.list():
            pass

    return play
