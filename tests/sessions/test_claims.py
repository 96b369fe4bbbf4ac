"""Many processes claim from one queue: each task once, whoever is killed."""

from __future__ import annotations

import random
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

from lakebed.sessions import SessionManager
from tests.sessions.backends import open_sessions


class Worker:
    """A process that claims; begins when told."""

    def __init__(self, commands: Path, where: str, lease: float, *how: str) -> None:
        self._process = subprocess.Popen(
            [commands / "module", "tests.sessions.worker", where, str(lease), *how],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def ready(self) -> None:
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def begin(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("begin\n")
        self._process.stdin.flush()

    def kill(self) -> list[list[str]]:
        self._process.kill()
        return self.lines()

    def end(self) -> list[list[str]]:
        """Its claims, once it has been told to end."""
        assert self._process.stdin is not None
        self._process.stdin.write("end\n")
        self._process.stdin.flush()
        return self.lines()

    def lines(self) -> list[list[str]]:
        assert self._process.stdout is not None
        assert self._process.stdin is not None
        with self._process.stdin, self._process.stdout:
            lines = [line.split() for line in self._process.stdout]
        self._process.wait(60)
        return [line for line in lines if len(line) == 3]


def fill(manager: SessionManager, count: int) -> set[str]:
    """That many tasks, of priorities that come and go."""
    session = manager.create_session("work")
    priorities = random.Random(7)
    return {
        manager.create_task(
            session.id, "w", "t", {"n": n}, priority=priorities.randrange(-2, 3), max_attempts=4
        ).id
        for n in range(count)
    }


def test_each_task_is_claimed_once(forked_command: Path, where: str, soak: bool) -> None:
    if where.startswith("scope") and not soak:
        pytest.skip("with LAKEBED_SOAK=1")
    processes, count = (16, 10_000) if soak else (3, 90)
    with open_sessions(where) as manager:
        made = fill(manager, count)
        workers = [Worker(forked_command, where, 300) for _ in range(processes)]
        for worker in workers:
            worker.ready()
        for worker in workers:
            worker.begin()
        claims = [worker.lines() for worker in workers]
        assert Counter(line[0] for lines in claims for line in lines) == Counter(made)
        for lines in claims:  # by priority, then age, as each of them saw it
            order = [(-int(priority), int(created)) for _, priority, created in lines]
            assert order == sorted(order)
        assert manager.count_tasks()["completed"] == count
        assert manager.claim_task("w") is None


@pytest.mark.parametrize("how", ["die", "fails"])
def test_killed_workers_lose_no_task(
    forked_command: Path, where: str, how: str, soak: bool
) -> None:
    if not soak and (how == "fails" or where.startswith(("scope", "mysql"))):
        pytest.skip("with LAKEBED_SOAK=1")
    count, kills = (2000, 60) if soak else (30, 3)
    lease = 0.4
    with open_sessions(where) as manager:
        made = fill(manager, count)
        workers = [Worker(forked_command, where, lease, how) for _ in range(3)]
        for worker in workers:
            worker.ready()
            worker.begin()
        for _ in range(kills):
            time.sleep(random.uniform(0.05, 0.4))
            workers.pop(0).kill()
            workers.append(Worker(forked_command, where, lease, how))
            workers[-1].ready()
            workers[-1].begin()
        deadline = time.monotonic() + 120
        while (counts := manager.count_tasks())["completed"] + counts["failed"] < count:
            assert time.monotonic() < deadline, counts
            time.sleep(0.1)
        for worker in workers:
            worker.end()
        ended = manager.tasks()
        assert {task.id for task in ended} == made
        assert {task.status for task in ended} <= {"completed", "failed"}
        for task in ended:
            assert task.finished is not None
            assert task.attempts <= task.max_attempts
            assert (task.status == "failed") == (task.error is not None)
        assert [entry.key for entry in manager.lake.list("sessions/queue/")] == []
