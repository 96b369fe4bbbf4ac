"""The lake's conformance suite with the contents in a bucket."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lakebed.lake.lake import Lake
from lakebed.objects.opening import open_store
from lakebed.testing import CatalogConformance, FakeClock, open_lake
from tests.buckets import BucketServer


class OnBucket(CatalogConformance):
    """Most values lie in the bucket."""

    server: BucketServer
    uri: str

    def open_lake(self, folder: Path, clock: FakeClock, **settings: Any) -> Lake:
        if not (folder / "lake").exists():  # later the lake remembers
            settings = {"inline_threshold": 3} | settings
        options = self.server.storage(f"{self.uri}/some/lake")
        objects = open_store(str(options.pop("uri")), options)
        return open_lake(folder / "lake", clock=clock, objects=objects, **settings)


class TestS3(OnBucket):
    @pytest.fixture(autouse=True)
    def _server(self, s3: BucketServer) -> None:
        self.server, self.uri = s3, f"s3://{s3.create_bucket()}"


class TestGCS(OnBucket):
    @pytest.fixture(autouse=True)
    def _server(self, gcs: BucketServer) -> None:
        self.server, self.uri = gcs, f"gs://{gcs.create_bucket()}"


class TestAzure(OnBucket):
    @pytest.fixture(autouse=True)
    def _server(self, azure: BucketServer) -> None:
        self.server, self.uri = azure, f"az://{azure.create_bucket()}"
