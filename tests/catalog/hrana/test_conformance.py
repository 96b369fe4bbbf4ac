"""The catalog on libSQL's server passes the conformance suite."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lakebed.catalog.opened import CatalogOptions
from lakebed.catalog.registry import open_catalog
from lakebed.lake.lake import Lake
from lakebed.testing import CatalogConformance, FakeClock, open_lake
from tests.services.sqld import SqldNamespaces


class TestTurso(CatalogConformance):
    @pytest.fixture(autouse=True)
    def _server(self, sqld: SqldNamespaces) -> None:
        self.url = sqld.create_database()

    def open_lake(self, folder: Path, clock: FakeClock, **settings: Any) -> Lake:
        durability = settings.pop("durability", "normal")
        catalog = open_catalog(
            {"type": "turso", "url": self.url},
            CatalogOptions(durability, settings.pop("lock_timeout", 60.0), clock),
        )
        return open_lake(folder / "lake", clock=clock, catalog=catalog, **settings)
