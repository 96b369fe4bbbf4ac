"""A lake with a clock, for the tests of upkeep."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lakebed.lake.lake import Lake
from lakebed.testing import FakeClock, open_lake


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def lake(tmp_path: Path, clock: FakeClock) -> Iterator[Lake]:
    with open_lake(tmp_path / "lake", clock=clock, inline_threshold=100) as lake:
        yield lake
