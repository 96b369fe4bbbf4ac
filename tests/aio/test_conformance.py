"""The conformance suites of lakes and of LTM backends, through coroutines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from lakebed.aio import AsyncLake
from lakebed.lake.lake import Lake
from lakebed.testing import CatalogConformance, FakeClock, open_lake
from tests.aio.driver import Driven, close_loops


class TestAsync(CatalogConformance):
    """On SQLite, with small objects in the folder."""

    @pytest.fixture(autouse=True)
    def _loops(self) -> Iterator[None]:
        yield
        close_loops()

    def open_lake(self, folder: Path, clock: FakeClock, **settings: Any) -> Lake:
        settings.setdefault("inline_threshold", 100)
        opened = open_lake(folder / "lake", clock=clock, **settings)
        return cast("Lake", Driven(AsyncLake(opened)))
