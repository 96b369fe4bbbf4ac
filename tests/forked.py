"""Processes that are forked from one that has imported Lakebed and its drivers, so that a test that
kills many of them does not spend its time on imports. They are real processes, with files, locks
and connections of their own."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(
    [
        *("lakebed.lake.lake", "lakebed.lake.backup.running", "lakebed.catalog.sqlite.batch"),
        *("lakebed.moving.keeping", "lakebed.moving.lakes", "lakebed.config.reading.loading"),
        *("orjson", "pandas", "psycopg", "pyarrow.dataset", "pyarrow.parquet", "s3fs"),
    ]
)


class Forked:
    """A process that calls `function`, which must be importable, with `arguments`.

    What it writes to its standard output and standard error goes to files in `folder`, which are
    named by `name` and begun anew.
    """

    def __init__(
        self, function: Callable[..., object], *arguments: object, folder: Path, name: str
    ) -> None:
        self._said = folder / name
        self._errors = folder / f"{name}.errors"
        self._said.write_bytes(b"")
        self._errors.write_bytes(b"")
        self._process: BaseProcess = _context.Process(
            target=_run, args=(function, arguments, self._said, self._errors)
        )
        self._process.start()

    def said(self) -> list[str]:
        """What it has written to its standard output: whole lines."""
        return self._said.read_text().splitlines()

    def wait_for(self, lines: int) -> None:
        """Wait until it has written so many lines."""
        while len(self.said()) < lines:
            assert self._process.is_alive() or len(self.said()) >= lines, self._errors.read_text()
            time.sleep(0.002)

    def kill(self) -> None:
        """Kill it at whatever it is doing, or see that it has ended well."""
        self._process.kill()
        self._process.join()
        self.check()

    def wait(self) -> None:
        """Wait for its end, and fail if it did not end well."""
        self._process.join()
        self.check()
        assert self._process.exitcode == 0

    def check(self) -> None:
        """Fail with what it told of an error."""
        assert not self._errors.read_text(), self._errors.read_text()

    def is_alive(self) -> bool:
        """Whether it has not ended."""
        return self._process.is_alive()


def _run(
    function: Callable[..., object], arguments: tuple[object, ...], said: Path, errors: Path
) -> None:
    for path, descriptor in ((said, 1), (errors, 2)):
        file = os.open(path, os.O_WRONLY | os.O_APPEND)
        os.dup2(file, descriptor)
        os.close(file)
    function(*arguments)
