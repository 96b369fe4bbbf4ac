"""The options of storages on servers, as `create_blob_storage` takes them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.buckets import AzureServer, GCSServer, S3Server
from tests.servers import PASSWORD

Place = tuple[str, dict[str, Any]]
"""A type, and its options."""


def on_s3(server: S3Server, bucket: str | None = None) -> dict[str, Any]:
    return {
        "bucket": bucket or server.create_bucket(),
        "region": "us-east-1",
        "endpoint_url": server.endpoint_url,
        "access_key": "testing",
        "secret_key": PASSWORD,
    }


def on_bucket(server: GCSServer | AzureServer) -> dict[str, Any]:
    options = server.storage("")
    del options["uri"]
    return {"bucket": server.create_bucket(), **options}


@pytest.fixture(params=["local", "s3", "gcs", "azure"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """A place that several processes reach."""
    if request.param == "local":
        return "local", {"root": str(tmp_path / "files")}
    if request.param == "s3":
        return "s3", on_s3(request.getfixturevalue("ministack_s3"))
    return request.param, on_bucket(request.getfixturevalue(request.param))


def worker(commands: Path, place: Place, how: str, count: int) -> subprocess.Popen[str]:
    """Start a writer in another process; see `tests.files.worker`."""
    kind, options = place
    return subprocess.Popen(
        [commands / "module", "tests.files.worker", kind, json.dumps(options), how, str(count)],
        text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def finish(process: subprocess.Popen[str]) -> str:
    """What a worker has printed; it must have ended well."""
    told, problems = process.communicate(timeout=120)
    assert process.returncode == 0, problems
    return told
