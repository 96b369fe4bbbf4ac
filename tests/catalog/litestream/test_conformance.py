"""The catalog in a SQLite file with a replica passes the conformance suite."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lakebed.catalog.opened import CatalogOptions
from lakebed.catalog.registry import open_catalog
from lakebed.errors import LockTimeoutError
from lakebed.lake.lake import Lake
from lakebed.testing import CatalogConformance, FakeClock, open_lake
from lakebed.testing.conformance.base import OpenLake


class TestLitestream(CatalogConformance):
    def open_lake(self, folder: Path, clock: FakeClock, **settings: Any) -> Lake:
        spec = {
            "type": "litestream",
            "path": str(folder / "names.db"),
            "replica": str(folder / "replica"),
            "fence_timeout": 0.1,
        }
        options = CatalogOptions(lock_timeout=settings.get("lock_timeout", 60.0), clock=clock)
        catalog = open_catalog(spec, options)
        return open_lake(folder / "lake", catalog=catalog, **settings)

    def test_two_at_once(self, opening: OpenLake) -> None:
        """There is one client: another one is refused, before it has done anything."""
        with opening() as lake:
            lake.store("k", 1)
            with pytest.raises(LockTimeoutError, match="another node writes"):
                opening()
            assert lake["k"] == 1

    def test_two_clients_lose_nothing(self, opening: OpenLake) -> None:
        """One after the other: there is one client at a time."""
        for n in range(3):
            with opening() as lake:
                assert lake.get("n", 0) == n
                lake["n"] = n + 1
