"""Many writers on one catalog: threads of one process, and processes."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lakebed
from tests.benchmarks.documents import documents
from tests.benchmarks.peers import BareStatements, RawSQLite
from tests.benchmarks.runner import OURS, Contest, Room, Round, benchmark

_Pairs = list[tuple[str, Any]]
ROUNDS = 7


@benchmark
def threads(room: Room) -> Iterator[Contest]:
    """Eight threads store through one lake; raw SQLite has a connection for each."""
    for durability, each, bars in (
        ("normal", room.count(400), {"raw upsert": 0.5}),
        ("full", room.count(50), {}),
    ):
        lake = lakebed.open(room.folder / durability, durability=durability)
        connections = [
            RawSQLite(room.folder / f"{durability}.db", synchronous=durability) for _ in range(8)
        ]
        yield Contest(
            "eight threads store 470-byte documents",
            {
                OURS: _threaded([lake.store] * 8, each),
                "raw upsert": _threaded([connection.set for connection in connections], each),
            },
            bars,
            operations=8 * each,
            durability=durability,
            rounds=ROUNDS,
            note="one connection a thread, busy_timeout 60 s",
        )
        lake.close()
        for connection in connections:
            connection.close()


@benchmark
def processes(room: Room) -> Iterator[Contest]:
    """Four processes, each with an open lake, begin together; the last one ends the round."""
    each = room.count(1000)
    lakebed.open(room.folder / "lake").close()
    RawSQLite(room.folder / "raw.db").close()
    BareStatements(room.folder / "bare").close()
    ours, raw = Crew(_put_lake, room.folder / "lake"), Crew(_put_raw, room.folder / "raw.db")
    bare = Crew(_put_bare, room.folder / "bare")
    yield Contest(
        "four processes store 470-byte documents",
        {
            OURS: ours.round(each),
            "raw upsert": raw.round(each),
            "bare statements": bare.round(each),
        },
        {"raw upsert": 0.5},
        operations=4 * each,
        rounds=ROUNDS,
        note="busy_timeout 60 s",
    )
    ours.dismiss()
    raw.dismiss()
    bare.dismiss()


def _threaded(puts: list[Callable[[str, Any], object]], each: int) -> Round:
    def play(number: int) -> float:
        start = threading.Barrier(len(puts) + 1)

        def work(put: Callable[[str, Any], object], pairs: _Pairs) -> None:
            put(f"warm/{threading.get_ident()}", 0)  # a new thread opens its connection
            start.wait()
            for key, value in pairs:
                put(key, value)

        workers = [
            threading.Thread(target=work, args=(put, documents(each, start=first)))
            for put, first in zip(puts, _starts(number, len(puts), each), strict=True)
        ]
        for worker in workers:
            worker.start()
        start.wait()
        begin = time.perf_counter()
        for worker in workers:
            worker.join()
        return time.perf_counter() - begin

    return play


def _starts(number: int, workers: int, each: int) -> range:
    first = number * workers * each
    return range(first, first + workers * each, each)


class Crew:
    """Four processes that store what they are told, when they are told."""

    def __init__(self, work: Callable[[Path, Any, Any], None], place: Path, size: int = 4) -> None:
        context = multiprocessing.get_context("spawn")
        self._start = context.Barrier(size + 1)
        self._pipes, self._workers = [], []
        for _ in range(size):
            here, there = context.Pipe()
            worker = context.Process(target=work, args=(place, there, self._start), daemon=True)
            worker.start()
            self._pipes.append(here)
            self._workers.append(worker)

    def round(self, each: int) -> Round:
        def play(number: int) -> float:
            for pipe, first in zip(
                self._pipes, _starts(number, len(self._pipes), each), strict=True
            ):
                pipe.send((each, first))
            self._start.wait()
            begin = time.perf_counter()
            for pipe in self._pipes:
                assert pipe.recv() == each
            return time.perf_counter() - begin

        return play

    def dismiss(self) -> None:
        for pipe, worker in zip(self._pipes, self._workers, strict=True):
            pipe.send(None)
            worker.join()


def _serve(put: Callable[[str, Any], object], pipe: Any, start: Any) -> None:
    while (task := pipe.recv()) is not None:
        pairs = documents(task[0], start=task[1])
        start.wait()
        for key, value in pairs:
            put(key, value)
        pipe.send(len(pairs))


def _put_lake(place: Path, pipe: Any, start: Any) -> None:
    with lakebed.open(place) as lake:
        _serve(lake.store, pipe, start)


def _put_bare(place: Path, pipe: Any, start: Any) -> None:
    _serve(BareStatements(place).set, pipe, start)


def _put_raw(place: Path, pipe: Any, start: Any) -> None:
    _serve(RawSQLite(place).set, pipe, start)
