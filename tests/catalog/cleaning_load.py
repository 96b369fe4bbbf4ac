"""Threads that write to a lake and clean it up at the same time, in a process that may be killed.

Each thread has keys of its own and says on standard output what it is about to do to them and what
was acknowledged, so that `check` knows what must be there.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zlib import crc32

from lakebed.errors import ConflictError, ConnectError, LockTimeoutError, NotFoundError
from lakebed.lake.lake import Lake
from tests.catalog.load import opened

KEYS = 10
SHARED = 6
State = dict[str, str | None]
_STOP = "stop"


def content(name: str) -> str:
    """Half of them large enough for the storage; names that begin with `s` are shared by all
    threads."""
    return f"{name} " * (200 if crc32(name.encode()) % 2 else 20)


class Worker:
    """One thread: writes, cleans, reads what it wrote."""

    def __init__(self, lake: Lake, name: str, seed: int, *, faults: bool) -> None:
        self.lake = lake
        self.name = name
        self.faults = faults
        self.random = random.Random(f"{name} {seed}")
        self.number = 0
        self.sure: State = {}

    def run(self, stop: Path) -> None:
        """Work until there is a file `stop`, or nobody is left to make one."""
        steps: dict[Callable[[], object], int] = {
            self.store: 30, self.batch: 8, self.delete: 10, self.purge: 3, self.read: 15,
            self.compact: 4, self.collect: 6, self.snapshot: 3, self.maintain: 2,
        }  # fmt: skip
        parent = os.getppid()
        while not stop.exists() and os.getppid() == parent:
            (step,) = self.random.choices(list(steps), list(steps.values()))
            try:
                step()
            except (ConnectError, LockTimeoutError):
                if not self.faults:
                    raise

    def change(self, changes: State, work: Callable[[], object]) -> None:
        for key in changes:
            self.sure.pop(key, None)
        self._say("?", changes)
        work()
        self._say("!", changes)
        self.sure.update(changes)

    def _say(self, sign: str, changes: State) -> None:
        os.write(1, (json.dumps([sign, changes]) + "\n").encode())

    def key(self) -> str:
        return f"{self.name}/{self.random.randrange(KEYS)}"

    def value(self) -> str:
        self.number += 1
        if self.random.random() < 0.5:
            return f"s{self.random.randrange(SHARED)}"
        return f"{self.name}-{os.getpid()}-{self.number}"

    def store(self) -> None:
        key, value = self.key(), self.value()
        self.change({key: value}, lambda: self.lake.store(key, content(value)))

    def batch(self) -> None:
        changes: State = {self.key(): self.value() for _ in range(5)}
        entries = [{"key": key, "value": content(str(name))} for key, name in changes.items()]
        self.change(changes, lambda: self.lake.store_batch(entries))

    def delete(self) -> None:
        key = self.key()
        self.change({key: None}, lambda: self.lake.delete(key))

    def purge(self) -> None:
        key = self.key()
        self.change({key: None}, lambda: self.lake.purge(key))

    def read(self) -> None:
        for key, name in list(self.sure.items()):
            found = self.lake.retrieve(key, None)
            assert found == (None if name is None else content(name)), key

    def compact(self) -> None:
        self.lake.compact()

    def collect(self) -> None:
        self.lake.collect(0, 0, orphans=self.random.random() < 0.5)

    def maintain(self) -> None:
        self.lake.maintain()

    def snapshot(self) -> None:
        names = [snapshot.name for snapshot in self.lake.snapshots()]
        try:
            if len(names) > 3:
                self.lake.drop_snapshot(self.random.choice(names))
            else:
                self.lake.create_snapshot(f"{self.name}-{os.getpid()}-{time.time_ns()}")
        except (ConflictError, NotFoundError):
            pass  # somebody else was first


def work(spec: Mapping[str, Any]) -> None:
    """The load of one process; its exit code is the number of threads that failed."""
    failures: list[BaseException] = []
    with opened(spec) as lake:
        workers = [
            Worker(lake, f"{spec['number']}.{n}", spec["seed"], faults=spec["faults"])
            for n in range(spec["threads"])
        ]

        def run(worker: Worker) -> None:
            try:
                worker.run(Path(spec["stop"]))
            except BaseException as error:
                failures.append(error)
                raise

        threads = [threading.Thread(target=run, args=(worker,)) for worker in workers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    sys.exit(len(failures))


class Process:
    """A process of the load; `kill` it, and start another with the same keys.

    It works until a block with `at_work` ends.
    """

    def __init__(self, spec: Mapping[str, Any], folder: Path) -> None:
        spec = {**spec, "stop": str(folder / _STOP)}
        code = "import sys, json; from tests.catalog.cleaning_load import work; "
        code += "work(json.loads(sys.argv[1]))"
        self.said = folder / f"said-{spec['number']}-{time.time_ns()}"
        self.errors = self.said.with_suffix(".errors")
        with self.said.open("wb") as said, self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-c", code, json.dumps(spec)],
                stdout=said, stderr=errors, cwd=Path(__file__).parents[2],
            )  # fmt: skip

    def acknowledged(self) -> int:
        """How many of its changes were acknowledged."""
        assert self.process.poll() is None, self.errors.read_text()[-4000:]
        return self.said.read_bytes().count(b'["!"')

    def kill(self) -> None:
        assert self.process.poll() in (None, 0), self.errors.read_text()[-4000:]
        self.process.kill()
        self.process.wait()

    def finish(self, seconds: float) -> None:
        code = self.process.wait(seconds)
        assert code == 0, self.errors.read_text()[-4000:]


@contextmanager
def at_work(folder: Path) -> Iterator[None]:
    """Return a block at whose end the processes of a folder are told to end."""
    try:
        yield
    finally:
        (folder / _STOP).touch()


def _all_said(folder: Path) -> list[Path]:
    found = [path for path in folder.glob("said-*") if not path.suffix]
    return sorted(found, key=lambda path: int(path.name.split("-")[2]))


def check(lake: Lake, folder: Path) -> int:
    """That what was acknowledged is there, and all is well; how many changes were acknowledged."""
    states: dict[str, set[str | None]] = {}
    acknowledged = 0
    for said in _all_said(folder):
        for line in said.read_text().splitlines():
            sign, changes = json.loads(line)
            acknowledged += sign == "!"
            for key, name in changes.items():
                states[key] = {name} if sign == "!" else states.get(key, {None}) | {name}
    found = dict(lake.items())
    assert found.keys() <= states.keys()
    for key, names in states.items():
        values = {None if name is None else content(name) for name in names}
        assert found.get(key) in values, (key, names)
    for snapshot in lake.snapshots():
        dict(lake.at(snapshot).items())  # reads each value, and checks its hash
    problems = lake.verify().problems
    assert not problems, [problem.text for problem in problems[:5]]
    return acknowledged
