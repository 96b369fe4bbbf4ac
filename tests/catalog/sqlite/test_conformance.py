"""The SQLite catalog passes the conformance suite, in a file and in memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from lakebed.lake.lake import Lake
from lakebed.objects.opening import open_store
from lakebed.testing import CatalogConformance, FakeClock, open_lake


class TestFile(CatalogConformance):
    def open_lake(self, folder: Path, clock: FakeClock, **settings: Any) -> Lake:
        return open_lake(folder / "lake", clock=clock, **settings)


class TestFileWithSmallObjects(CatalogConformance):
    """Most values lie in the storage."""

    def open_lake(self, folder: Path, clock: FakeClock, **settings: Any) -> Lake:
        if not (folder / "lake").exists():  # later the lake remembers
            settings = {"inline_threshold": 3} | settings
        return open_lake(folder / "lake", clock=clock, durability="full", **settings)


class TestMemory(CatalogConformance):
    gaps: ClassVar[Mapping[str, str]] = {"reopening": "what is in memory ends with its lake"}

    def open_lake(self, folder: Path, clock: FakeClock, **settings: Any) -> Lake:
        objects = open_store(f"memory://{folder}")
        return open_lake(clock=clock, objects=objects, **settings)
