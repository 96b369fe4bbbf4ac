"""Lakes to back up."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import lakebed
from lakebed.lake.lake import Lake
from tests.servers import S3Server

CATALOGS = ("sqlite", "postgres", "bucket")


class Ground:
    """Where the lakes of a test are: catalogs and storages by name, so that each can be lost."""

    def __init__(self, request: pytest.FixtureRequest, folder: Path) -> None:
        self._request = request
        self.folder = folder
        self._lakes: list[Lake] = []

    def catalog(self, kind: str, name: str) -> Any:
        """What names a catalog."""
        unique = f"{name}_{random.randrange(10**9)}"
        if kind == "sqlite":
            return f"sqlite:///{self.folder}/{unique}.db"
        if kind == "postgres":
            url = self._request.getfixturevalue("postgres_18").url()
            return {"type": "postgres", "url": url, "schema": unique}
        return {"type": "bucket", "uri": str(self.folder / unique)}

    def open(self, catalog: Any, storage: Any, **settings: Any) -> Lake:
        """Open a lake, closed with the test."""
        lake = lakebed.open(
            catalog=catalog, storage=storage, cache=self.folder / "cache", **settings
        )
        self._lakes.append(lake)
        return lake

    def place(self, catalog: Any) -> Any:
        """What names a lake on this catalog, as calls take it that open one themselves."""
        return catalog if isinstance(catalog, str) else {"catalog": catalog}

    def bucket(self, name: str) -> dict[str, Any]:
        """A storage, or a place of backups, on a server of S3."""
        server: S3Server = self._request.getfixturevalue("s3")
        return server.storage(f"s3://{server.create_bucket()}/{name}")

    def close(self) -> None:
        for lake in self._lakes:
            lake.close()


@pytest.fixture
def ground(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ground]:
    """Makes catalogs and storages."""
    made = Ground(request, tmp_path)
    yield made
    made.close()


@pytest.fixture
def filled(tmp_path: Path) -> Iterator[Callable[..., Lake]]:
    """Opens a lake in a folder, with small and large contents."""
    lakes: list[Lake] = []

    def make(name: str = "lake", **settings: Any) -> Lake:
        lake = lakebed.open(tmp_path / name, **settings)
        lakes.append(lake)
        lake.store_batch({"key": f"small/{n:03}", "value": {"n": n}} for n in range(60))
        lake.store_batch({"key": f"large/{n:03}", "value": f"{n} " * 3000} for n in range(12))
        lake.store("alone", "one " * 3000, {"by": "ada"}, ttl="9d")
        return lake

    yield make
    for lake in lakes:
        lake.close()
