"""Any sequence of calls on a lake that keeps every version, and looks at any time."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from lakebed.lake.lake import Lake
from lakebed.testing import FakeClock, open_lake
from lakebed.testing.machine.history import HistoryMachine


class ForEver(HistoryMachine):
    """Versions are kept for ever."""

    def open_lake(self, folder: Path, clock: FakeClock) -> Lake:
        return open_lake(folder, clock=clock, inline_threshold=8, history="all")


class ForAWhile(HistoryMachine):
    """Versions are kept for three seconds."""

    RETENTION: ClassVar[int | None] = 3_000_000

    def open_lake(self, folder: Path, clock: FakeClock) -> Lake:
        return open_lake(
            folder,
            clock=clock,
            inline_threshold=8,
            history="all",
            history_retention=self.RETENTION,
        )


TestForEver = ForEver.TestCase
TestForAWhile = ForAWhile.TestCase
