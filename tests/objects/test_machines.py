"""Any sequence of calls does to a lake on a bucket what it does to a dictionary."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from lakebed.lake.lake import Lake
from lakebed.objects.opening import open_store
from lakebed.testing import FakeClock, LakeMachine, open_lake
from tests.buckets import BucketServer

EXAMPLES, SOAK_EXAMPLES = 3, 300


@pytest.mark.parametrize(("kind", "scheme"), [("s3", "s3"), ("gcs", "gs"), ("azure", "az")])
def test_lake(request: pytest.FixtureRequest, kind: str, scheme: str, soak: bool) -> None:
    server: BucketServer = request.getfixturevalue(kind)
    bucket = server.create_bucket()
    places: dict[Path, str] = {}

    class OnBucket(LakeMachine):
        """Lakes that share a bucket, each under a prefix of its own."""

        def open_lake(self, folder: Path, clock: FakeClock) -> Lake:
            place = places.setdefault(folder, secrets.token_hex(6))
            options = server.storage(f"{scheme}://{bucket}/{place}")
            objects = open_store(str(options.pop("uri")), options)
            return open_lake(folder, clock=clock, objects=objects, inline_threshold=8)

    examples = SOAK_EXAMPLES if soak else EXAMPLES
    run_state_machine_as_test(OnBucket, settings=settings(max_examples=examples))
