"""Any sequence of calls does to a lake what it does to a dictionary."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from lakebed.lake.lake import Lake
from lakebed.testing import FakeClock, LakeMachine, open_lake


class FileMachine(LakeMachine):
    """SQLite in a file; most values lie beside it."""

    def open_lake(self, folder: Path, clock: FakeClock) -> Lake:
        return open_lake(folder, clock=clock, inline_threshold=8)


class MemoryMachine(LakeMachine):
    """SQLite in memory, all values inline."""

    REOPENS: ClassVar[bool] = False

    def open_lake(self, folder: Path, clock: FakeClock) -> Lake:  # noqa: ARG002 - it has none
        return open_lake(clock=clock)


TestFile = FileMachine.TestCase
TestMemory = MemoryMachine.TestCase
