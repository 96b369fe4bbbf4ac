"""A mixed load on a lake from threads and processes, and the checker of what it leaves behind.

Each thread has keys of its own, whose state it knows: what was acknowledged is there, what failed
with its outcome unknown is one of two things. All share keys, and groups of keys that are only ever
stored together.
"""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import lakebed
from lakebed.catalog.postgres import tidying as postgres_tidying
from lakebed.errors import (
    ConflictError,
    ConnectError,
    LakebedError,
    LockTimeoutError,
    NotFoundError,
)
from lakebed.lake.lake import Lake

GROUP = 8
TIDY_EVERY = 20  # entries that a process replaces on Postgres until it tidies up
GONE = None
State = dict[str, str]


def state_of(view: Any) -> State:
    """What a lake or a view holds: the hash, metadata and expiry of each entry."""
    return {
        e.key: f"{e.content_hash} {json.dumps(e.metadata, sort_keys=True)} {e.expires_at}"
        for e in view.list()
    }


def digest(state: State) -> str:
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()


def check_groups(view: Any) -> None:
    """Groups are stored whole, so that all their keys have one value."""
    groups: dict[str, set[str]] = {}
    counts: dict[str, int] = {}
    for entry in view.list("group/"):
        name = entry.key.rpartition("/")[0]
        groups.setdefault(name, set()).add(entry.content_hash)
        counts[name] = counts.get(name, 0) + 1
    torn = {name for name, hashes in groups.items() if len(hashes) > 1 or counts[name] != GROUP}
    assert not torn, f"torn groups: {torn}"


def check_diff(lake: Lake, a: str, b: str) -> None:
    """The state of `a` and the difference make the state of `b`."""
    before, after = state_of(lake.at(a)), state_of(lake.at(b))
    diff = lake.diff(a, b)
    for entry in diff.removed:
        del before[entry.key]
    changed = {e.key: e for e in diff.added} | {c.key: c.after for c in diff.changed}
    for key, entry in changed.items():
        before[key] = (
            f"{entry.content_hash} {json.dumps(entry.metadata, sort_keys=True)} {entry.expires_at}"
        )
    assert before == after, f"the difference between {a} and {b} does not add up"


# What a worker does, and how often each beside the others.
STEPS = {
    "store_own": 40, "delete_own": 8, "read_own": 15, "store_shared": 12, "delete_shared": 4,
    "store_group": 8, "pair": 4, "snapshot": 3, "compare": 2, "find": 3, "expire": 1,
}  # fmt: skip


class Worker:
    """One thread's part of the load."""

    def __init__(self, lake: Lake, name: str, seconds: float, *, faults: bool) -> None:
        self.lake = lake
        self.name = name
        self.random = random.Random(name)
        self.until = time.monotonic() + seconds
        self.faults = faults
        self.expected: dict[str, list[Any]] = {}  # what each own key may hold
        self.snapshots: dict[str, str] = {}
        self.counts: dict[str, int] = {}
        self.errors: dict[str, int] = {}
        self.number = 0

    def run(self) -> None:
        names, weights = list(STEPS), list(STEPS.values())
        first = self.random.sample(names, len(names))  # each once, however slow it goes
        while first or time.monotonic() < self.until:
            step = first.pop() if first else self.random.choices(names, weights)[0]
            self.number += 1
            try:
                getattr(self, step)()
            except (ConnectError, LockTimeoutError) as error:
                if not self.faults:
                    raise
                self.errors[error.error_type] = self.errors.get(error.error_type, 0) + 1
            else:
                self.counts[step] = self.counts.get(step, 0) + 1

    def value(self) -> list[Any]:
        return [self.name, self.number, "x" * self.random.choice((0, 10, 100, 3000))]

    def own_key(self) -> str:
        return f"own/{self.name}/{self.random.randrange(20)}"

    def maybe(self, key: str, value: Any) -> None:
        """The outcome is open until `surely`."""
        self.expected[key] = [*self.expected.get(key, [GONE]), value]

    def surely(self, key: str, value: Any) -> None:
        self.expected[key] = [value]

    def store_own(self) -> None:
        key, value = self.own_key(), self.value()
        self.maybe(key, value)
        entry = self.lake.store(key, value, {"n": self.number % 7})
        self.surely(key, value)
        assert entry.value == value

    def delete_own(self) -> None:
        key = self.own_key()
        self.maybe(key, GONE)
        self.lake.delete(key)
        self.surely(key, GONE)

    def read_own(self) -> None:
        key = self.own_key()
        found = self.lake.retrieve(key, GONE)
        possible = self.expected.get(key, [GONE])
        assert found in possible, f"{key} is {found!r}: expected one of {possible!r}"

    def store_shared(self) -> None:
        key = f"shared/{self.random.randrange(5)}"
        entry = self.lake.entry(key)
        try:
            if entry is None:
                self.lake.store(key, self.value(), if_absent=True)
            elif self.random.random() < 0.5:
                self.lake.store(key, self.value(), if_match=entry.content_hash)
            else:
                self.lake.store(key, ["the same", self.random.randrange(3)])
        except ConflictError:
            pass  # somebody else won

    def delete_shared(self) -> None:
        self.lake.delete(f"shared/{self.random.randrange(5)}")

    def store_group(self) -> None:
        name, value = f"group/{self.random.randrange(4)}", self.value()
        keys = [f"{name}/{n}" for n in range(GROUP)]
        self.random.shuffle(keys)
        self.lake.store_batch({"key": key, "value": value} for key in keys)

    def pair(self) -> None:
        value, keys = self.value(), [f"own/{self.name}/a", f"own/{self.name}/b"]
        for key in keys:
            self.maybe(key, value)
        with self.lake.transaction() as tx:
            for key in keys:
                tx.store(key, value)
        for key in keys:
            self.surely(key, value)

    def snapshot(self) -> None:
        name = f"{self.name}-{self.number}"
        self.lake.create_snapshot(name)
        view = self.lake.at(name)
        check_groups(view)
        self.snapshots[name] = digest(state_of(view))

    def compare(self) -> None:
        if len(self.snapshots) > 1:
            check_diff(self.lake, *list(self.snapshots)[-2:])

    def find(self) -> None:
        wanted = self.random.randrange(7)
        for entry in self.lake.list(f"own/{self.name}/", metadata_filter={"n": wanted}):
            assert entry.metadata["n"] == wanted
        check_groups(self.lake)

    def expire(self) -> None:
        self.lake.store(f"brief/{self.name}", self.number, ttl=0.001)
        self.lake.cleanup_expired()


def opened(spec: Mapping[str, Any]) -> Lake:
    """The lake of a process. One whose server dies may come while it is down: a lake that is being
    opened says so at once, and whoever started the process starts it again."""
    postgres_tidying.EVERY = TIDY_EVERY
    deadline = time.monotonic() + 120
    while True:
        try:
            return lakebed.open(**spec["lake"])
        except ConnectError:
            if not spec["faults"] or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def work(spec: Mapping[str, Any]) -> None:
    """The load of one process; prints what it knows."""
    with opened(spec) as lake:
        workers = [
            Worker(lake, f"{spec['number']}.{n}", spec["seconds"], faults=spec["faults"])
            for n in range(spec["threads"])
        ]
        failures: list[str] = []

        def run(worker: Worker) -> None:
            try:
                worker.run()
            except (AssertionError, LakebedError, NotFoundError) as error:
                failures.append(f"{worker.name}: {type(error).__name__}: {error}")
                if not isinstance(error, AssertionError):
                    raise

        threads = [threading.Thread(target=run, args=(worker,)) for worker in workers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    known = [[w.expected, w.snapshots, w.counts, w.errors] for w in workers]
    json.dump({"known": known, "failures": failures}, sys.stdout)


def start(spec: Mapping[str, Any], number: int) -> subprocess.Popen[str]:
    """Start a process of the load."""
    text = json.dumps({**spec, "number": number})
    code = "import sys, json; from tests.catalog.load import work; work(json.loads(sys.argv[1]))"
    return subprocess.Popen(
        [sys.executable, "-c", code, text],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip


def finish(processes: Sequence[subprocess.Popen[str]], seconds: float) -> list[dict[str, Any]]:
    """What the processes know at their end."""
    known = []
    for process in processes:
        out, err = process.communicate(timeout=seconds)
        assert process.returncode == 0, err[-4000:]
        said = json.loads(out)
        assert not said["failures"], (said["failures"], err[-4000:])
        known.extend(said["known"])
    return known


def check(lake: Lake, known: Sequence[Sequence[Any]]) -> dict[str, int]:
    """Compare the lake with what is known of it; how often each step was taken."""
    counts: dict[str, int] = {}
    present = dict(lake)
    for expected, snapshots, steps, _ in known:
        for key, possible in expected.items():
            found = present.get(key, GONE)
            assert found in possible, f"{key} is {found!r}: expected one of {possible!r}"
        for name, before in snapshots.items():
            assert digest(state_of(lake.at(name))) == before, f"snapshot {name} has changed"
        for step, count in steps.items():
            counts[step] = counts.get(step, 0) + count
    check_groups(lake)
    names = [snapshot.name for snapshot in lake.snapshots()]
    for a, b in pairwise(names):
        check_diff(lake, a, b)
    assert not lake.verify().problems
    return counts
