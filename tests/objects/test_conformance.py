"""The lake's conformance suite with the contents in a bucket."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lakebed.lake.lake import Lake
from lakebed.objects.store import open_store
from lakebed.testing import CatalogConformance, FakeClock, open_lake
from tests.servers import S3Server


class OnBucket(CatalogConformance):
    """Most values lie in the bucket, each lake under a prefix of its own."""

    def storage(self, prefix: str) -> dict[str, object]:
        """The storage of that prefix."""
        raise NotImplementedError

    def open_lake(self, folder: Path, clock: FakeClock, **settings: Any) -> Lake:
        if not (folder / "lake").exists():  # later the lake remembers
            settings = {"inline_threshold": 3} | settings
        options = self.storage(folder.name)
        objects = open_store(str(options.pop("uri")), options)
        return open_lake(folder / "lake", clock=clock, objects=objects, **settings)


class TestS3(OnBucket):
    @pytest.fixture(autouse=True)
    def _server(self, s3: S3Server) -> None:
        self.server, self.bucket = s3, s3.create_bucket()

    def storage(self, prefix: str) -> dict[str, object]:
        return self.server.storage(f"s3://{self.bucket}/{prefix}")
