"""The SQLAlchemy catalog passes the conformance suite on each database that it has SQL for."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from pathlib import Path
from typing import Any

import pytest

from lakebed.catalog.opened import CatalogOptions
from lakebed.catalog.registry import open_catalog
from lakebed.lake.lake import Lake
from lakebed.testing import CatalogConformance, FakeClock, open_lake
from tests.servers import MariaDBServer, PostgresServer


def name_of(folder: Path) -> str:
    return "t" + hashlib.sha256(str(folder).encode()).hexdigest()[:16]


class OnSQLAlchemy(CatalogConformance):
    storage = True

    @abstractmethod
    def spec(self, folder: Path) -> dict[str, object]: ...

    def open_lake(self, folder: Path, clock: FakeClock, **settings: Any) -> Lake:
        durability = settings.pop("durability", "normal")
        catalog = open_catalog(
            {"type": "sqlalchemy", **self.spec(folder)},
            CatalogOptions(durability, settings.pop("lock_timeout", 60.0), clock),
        )
        return open_lake(folder / "lake", clock=clock, catalog=catalog, **settings)


class TestSQLite(OnSQLAlchemy):
    def spec(self, folder: Path) -> dict[str, object]:
        return {"url": f"sqlite:///{folder}/names.db"}


class TestPostgres(OnSQLAlchemy):
    @pytest.fixture(autouse=True)
    def _server(self, postgres_18: PostgresServer) -> None:
        self.url = postgres_18.url()

    def spec(self, folder: Path) -> dict[str, object]:
        return {"url": self.url, "schema": name_of(folder)}


class TestMariaDB(OnSQLAlchemy):
    @pytest.fixture(autouse=True)
    def _server(self, mariadb: MariaDBServer) -> None:
        self.server = mariadb

    def spec(self, folder: Path) -> dict[str, object]:
        return {"url": self.server.url(name_of(folder))}


class TestDuckDB(OnSQLAlchemy):
    """The portable SQL, on a dialect that has none of its own here."""

    def spec(self, folder: Path) -> dict[str, object]:
        return {"url": f"duckdb:///{folder}/names.db"}
