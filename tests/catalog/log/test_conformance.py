"""The conformance suite of catalogs, over shared logs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lakebed.catalog.log.stores.bucket import open_bucket
from lakebed.catalog.log.stores.redis import open_redis
from lakebed.catalog.opened import CatalogOptions
from lakebed.lake.lake import Lake
from lakebed.testing import CatalogConformance, FakeClock, open_lake
from tests.servers import S3Server
from tests.services.redis import RedisServer


def log_options(folder: Path, clock: FakeClock, settings: dict[str, Any]) -> CatalogOptions:
    """What a log is opened with."""
    return CatalogOptions(
        lock_timeout=settings.get("lock_timeout", 60.0), clock=clock, cache=str(folder / "cache")
    )


class TestLogInFolder(CatalogConformance):
    def open_lake(self, folder: Path, clock: FakeClock, **settings: Any) -> Lake:
        options = log_options(folder, clock, settings)
        catalog = open_bucket({"uri": str(folder / "log")}, options)
        return open_lake(folder / "lake", catalog=catalog, **settings)


class TestS3Log(CatalogConformance):
    @pytest.fixture(autouse=True)
    def _server(self, s3: S3Server) -> None:
        self.place = s3.storage(f"s3://{s3.create_bucket()}/log")

    def open_lake(self, folder: Path, clock: FakeClock, **settings: Any) -> Lake:
        catalog = open_bucket(self.place, log_options(folder, clock, settings))
        return open_lake(folder / "lake", catalog=catalog, **settings)


class TestLogInRedis(CatalogConformance):
    @pytest.fixture(autouse=True)
    def _server(self, redis_server: RedisServer) -> None:
        self.place = {"url": redis_server.url(), "prefix": redis_server.create_prefix()}

    def open_lake(self, folder: Path, clock: FakeClock, **settings: Any) -> Lake:
        catalog = open_redis(self.place, log_options(folder, clock, settings))
        return open_lake(folder / "lake", catalog=catalog, **settings)
