"""Cleaning: a collection with nothing to do, dead files beside deleting by hand, verification."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import patch

import lakebed
from tests.benchmarks.runner import OURS, Contest, Room, benchmark

ROUNDS = 5
VALUE = "x" * 5000
CORES = 2


@benchmark
def collection(room: Room) -> Iterator[Contest]:
    """What a collection costs without garbage, and with 10,000 dead files among a million entries.

    The files are made without fsync, which is not what is measured.
    """
    count, fewer = room.count(1_000_000, least=1000), room.count(10_000, least=200)
    large, small = _lake(room, "large", count), _lake(room, "small", fewer)
    yield Contest(
        f"collect with nothing to do at {count:,} entries",
        {OURS: lambda _: _idle(large), f"at {fewer:,} entries": lambda _: _idle(small)},
        {f"at {fewer:,} entries": 1 / 2},
        operations=100,
        rounds=11,
    )
    dead = room.count(10_000, least=100)

    def collect(number: int) -> float:
        _quick(lambda: _store_dead(large, number, dead))
        for n in range(dead):
            large.delete(f"dead/{n}")
        large._catalog.scrub()  # the log of what was prepared is not the collection's
        return _seconds(lambda: _collect(large, dead))

    def by_hand(number: int) -> float:
        folder = room.folder / f"hand-{number}"
        _quick(lambda: _write_files(folder, dead))
        return _seconds(lambda: _delete_files(folder))

    yield Contest(
        f"removing {dead:,} dead objects among {count:,} entries",
        {OURS: collect, "os.unlink": by_hand},
        {"os.unlink": 0.5},
        operations=dead,
        rounds=ROUNDS,
    )
    large.close()
    small.close()


@benchmark
def verification(room: Room) -> Iterator[Contest]:
    """verify beside reading and hashing the same files, on one core and on both."""
    yield from _verification(room, 5_000, room.count(5000))
    yield from _verification(room, 500_000, room.count(400))


def _verification(room: Room, size: int, count: int) -> Iterator[Contest]:
    folder = room.folder / f"lake-{size}"
    with lakebed.open(folder) as lake:
        value = "x" * size
        _quick(lambda: [lake.store(f"k/{n}", f"{n} {value}") for n in range(count)])
        files = list((folder / "objects").rglob("*.json"))
        assert len(files) == count
        yield Contest(
            f"verify of {count:,} files of {size:,} bytes",
            {
                OURS: lambda _: _verify(lake, count),
                "by hand, one thread": lambda _: _hash_files(files, 1),
                "by hand, two threads": lambda _: _hash_files(files, CORES),
            },
            {"by hand, one thread": 0.5, "by hand, two threads": 0.5},
            operations=count,
            rounds=ROUNDS,
        )


def _lake(room: Room, name: str, count: int) -> lakebed.Lake:
    lake = lakebed.open(room.folder / name)
    lake.store_batch({"key": f"k/{n:08}", "value": {"n": n}} for n in range(count))
    return lake


def _idle(lake: lakebed.Lake) -> None:
    for _ in range(100):
        assert lake.collect().objects == 0


def _quick(work: Callable[[], object]) -> None:
    """Do it without waiting for the disk."""
    with patch("os.fsync"):
        work()


def _seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def _store_dead(lake: lakebed.Lake, number: int, count: int) -> None:
    for n in range(count):
        lake.store(f"dead/{n}", f"{number} {n} {VALUE}")


def _collect(lake: lakebed.Lake, count: int) -> None:
    done = lake.collect(0)
    assert (done.objects, done.files) == (count, count)


def _write_files(folder: Path, count: int) -> None:
    for n in range(count):
        path = folder / f"{n % 256:02x}" / f"{n}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(VALUE)


def _delete_files(folder: Path) -> None:
    for parent, _, names in os.walk(folder):
        for name in names:
            os.unlink(f"{parent}/{name}")  # noqa: PTH108 - the fastest way by hand


def _verify(lake: lakebed.Lake, count: int) -> None:
    done = lake.verify()
    assert (done.objects, len(done.problems)) == (count, 0)


def _hash_files(files: Sequence[Path], threads: int) -> None:
    if threads == 1:
        for path in files:
            _hash_file(path)
        return
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(_hash_file, files, chunksize=32):
            pass


def _hash_file(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.sha256(file.read()).digest()
