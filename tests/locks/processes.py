"""Owners in processes of their own: races, killed ones, and one that sleeps past its time."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from lakebed.errors import LockTimeoutError
from lakebed.locks import create_lock
from tests.locks.fencing import Resource, check_turns
from tests.locks.worker import TURNS

PROJECT = Path(__file__).parents[2]
SHORT = 3.0  # seconds: the ttl of owners that are killed or stopped


class LockProcesses:
    """Subclassed with `kind`, and a fixture `options` that gives what `create_lock` takes."""

    kind: str
    owners = 4

    @contextmanager
    def owner(
        self, options: Mapping[str, object], ttl: float, resource: Path, how: str
    ) -> Iterator[subprocess.Popen[str]]:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.locks.worker", self.kind, "shared", str(ttl),
             json.dumps(options), str(resource), how],
            cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            with process:
                yield process
        finally:
            process.kill()

    def test_processes_take_turns(self, options: Mapping[str, object], tmp_path: Path) -> None:
        noted = tmp_path / "turns"
        command = [
            sys.executable, "-m", "tests.locks.worker", self.kind, "shared", "60",
            json.dumps(options), str(noted), "turns",
        ]  # fmt: skip
        running = [subprocess.Popen(command, cwd=PROJECT) for _ in range(self.owners)]
        assert [process.wait(300) for process in running] == [0] * self.owners
        check_turns(noted, self.owners * TURNS)

    def test_a_killed_owners_lock(self, options: Mapping[str, object], tmp_path: Path) -> None:
        with self.owner(options, SHORT, tmp_path / "r", "hold") as process:
            assert process.stdout is not None
            old = int(process.stdout.readline())
            began = time.monotonic()
            process.kill()
            lock = create_lock(self.kind, "shared", 60, **options)
            with pytest.raises(LockTimeoutError):
                lock.acquire(timeout=0)
            assert lock.acquire(timeout=60) > old
            assert time.monotonic() - began > SHORT * 0.5  # not before its time
            assert lock.release()
            lock.close()

    def test_an_owner_that_sleeps_past_its_time(
        self, options: Mapping[str, object], tmp_path: Path
    ) -> None:
        """It wakes, believes that it still holds the lock, and is told by its token."""
        resource = tmp_path / "resource"
        with self.owner(options, SHORT, resource, "hold") as process:
            assert process.stdout is not None
            assert process.stdin is not None
            old = int(process.stdout.readline())
            process.send_signal(signal.SIGSTOP)
            with create_lock(self.kind, "shared", 60, **options) as lock:
                assert lock.token is not None
                assert lock.token > old
                Resource(resource).write(lock.token, "mine")
                process.send_signal(signal.SIGCONT)
                process.stdin.write("go\n")
                process.stdin.flush()
                assert process.stdout.readline() == "refused\n"
                assert process.stdout.readline() == "lost\n"
                assert lock.is_held
                lock.refresh()
        assert Resource(resource).lines() == [f"{old + 1} mine"]
