"""The SQLAlchemy catalog passes the conformance suite on each database that it has SQL for."""

from __future__ import annotations

import hashlib
import threading
from abc import abstractmethod
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import lakebed
from lakebed.catalog.registry import CatalogOptions, open_catalog
from lakebed.errors import ConflictError, ConnectError
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


def test_one_winner(mariadb: MariaDBServer, tmp_path: Path) -> None:
    """`if_absent` under contention: exactly one wins each round."""
    rounds, clients = 200, 4
    with lakebed.open(catalog=mariadb.url(name_of(tmp_path))) as lake:
        barrier = threading.Barrier(clients)

        def contend(client: int) -> list[int]:
            won = []
            for number in range(rounds):
                barrier.wait()
                try:
                    lake.store(f"new/{number}", client, if_absent=True)
                    won.append(number)
                except ConflictError:
                    pass
            return won

        with ThreadPoolExecutor(clients) as pool:
            won = sorted(number for found in pool.map(contend, range(clients)) for number in found)
        assert won == list(range(rounds))
        assert len(lake) == rounds


def test_no_password_shown(mariadb: MariaDBServer) -> None:
    url = f"mysql://root:s3cret@localhost/mysql?unix_socket={mariadb.socket}"
    with pytest.raises(ConnectError) as caught:
        lakebed.open(catalog=url)
    assert caught.value.error_type == "auth_failed"
    assert "s3cret" not in str(caught.value)
