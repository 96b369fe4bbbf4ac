"""Any sequence of calls leaves a search that finds what a dictionary and the analyser find."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from hypothesis import settings

from lakebed.lake.lake import Lake
from lakebed.testing import FakeClock, open_lake
from lakebed.testing.machine.search import SearchMachine
from tests.sampling import SOAK


class FileMachine(SearchMachine):
    """Most values lie in the storage, so that each search brings the index up to date."""

    def open_lake(self, folder: Path, clock: FakeClock) -> Lake:
        return open_lake(folder, clock=clock, inline_threshold=8)


class MemoryMachine(SearchMachine):
    """All values lie inline: the index has what maintenance found, searches evaluate the rest."""

    REOPENS: ClassVar[bool] = False

    def open_lake(self, folder: Path, clock: FakeClock) -> Lake:  # noqa: ARG002 - it has none
        return open_lake(clock=clock)


TestFile = FileMachine.TestCase
TestMemory = MemoryMachine.TestCase
TestFile.settings = TestMemory.settings = settings(max_examples=3000 if SOAK else 12)
