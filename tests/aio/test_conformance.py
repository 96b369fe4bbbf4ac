"""The conformance suite of catalogs, through coroutines: each call is a run of a loop."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from lakebed.aio import AsyncLake
from lakebed.catalog.registry import CatalogOptions, open_catalog
from lakebed.lake.lake import Lake
from lakebed.testing import CatalogConformance, FakeClock, open_lake
from tests.aio.driver import Driven, close_loops
from tests.servers import PostgresServer


class OnLoops(CatalogConformance):
    @pytest.fixture(autouse=True)
    def _loops(self) -> Iterator[None]:
        yield
        close_loops()


class TestAsync(OnLoops):
    """On SQLite, with small objects in the folder."""

    def open_lake(self, folder: Path, clock: FakeClock, **settings: Any) -> Lake:
        settings.setdefault("inline_threshold", 100)
        opened = open_lake(folder / "lake", clock=clock, **settings)
        return cast("Lake", Driven(AsyncLake(opened)))


class TestAsyncOnPostgres(OnLoops):
    @pytest.fixture(autouse=True)
    def _server(self, postgres_18: PostgresServer) -> None:
        self.url = postgres_18.url()

    def open_lake(self, folder: Path, clock: FakeClock, **settings: Any) -> Lake:
        schema = "t" + hashlib.sha256(str(folder).encode()).hexdigest()[:16]
        catalog = open_catalog(
            {"type": "postgres", "url": self.url, "schema": schema, "max_size": 4},
            CatalogOptions("normal", settings.pop("lock_timeout", 60.0), clock),
        )
        opened = open_lake(folder / "lake", clock=clock, catalog=catalog, **settings)
        return cast("Lake", Driven(AsyncLake(opened)))
