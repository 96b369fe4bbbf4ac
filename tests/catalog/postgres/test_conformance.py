"""The Postgres catalog passes the conformance suite, on two versions and behind PgBouncer."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, ClassVar

import pytest

from lakebed.catalog.opened import CatalogOptions
from lakebed.catalog.registry import open_catalog
from lakebed.lake.lake import Lake
from lakebed.testing import CatalogConformance, FakeClock, open_lake
from tests.servers import PostgresServer


class OnPostgres(CatalogConformance):
    """Each folder has a schema of its own in the server's database."""

    options: ClassVar[dict[str, object]] = {}
    storage = True
    url: str

    def open_lake(self, folder: Path, clock: FakeClock, **settings: Any) -> Lake:
        name = "t" + hashlib.sha256(str(folder).encode()).hexdigest()[:16]
        catalog = open_catalog(
            {"type": "postgres", "url": self.url, "schema": name, "max_size": 4, **self.options},
            CatalogOptions("normal", settings.pop("lock_timeout", 60.0), clock),
        )
        return open_lake(folder / "lake", clock=clock, catalog=catalog, **settings)


class TestPostgres18(OnPostgres):
    @pytest.fixture(autouse=True)
    def _server(self, postgres_18: PostgresServer) -> None:
        self.url = postgres_18.url()


class TestPostgres15(OnPostgres):
    @pytest.fixture(autouse=True)
    def _server(self, postgres_15: PostgresServer) -> None:
        self.url = postgres_15.url(tcp=True)


class TestPgBouncer(OnPostgres):
    options: ClassVar[dict[str, object]] = {"pgbouncer": True}

    @pytest.fixture(autouse=True)
    def _server(self, pgbouncer: str) -> None:
        self.url = pgbouncer
