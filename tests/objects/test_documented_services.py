"""The guide's configurations of services that speak S3: what they set, and that a lake works so.

None of the services can run here: moto stands in, behind a proxy that keeps what was asked.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from fsspec.asyn import sync

import lakebed
from lakebed.config.reading.loading import load
from lakebed.objects.buckets.s3 import S3Store
from lakebed.objects.opening import open_store
from tests.buckets import S3Server
from tests.http_proxy import HttpProxy, http_proxy
from tests.servers import PASSWORD

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "storage.md"
_YAML = re.compile(
    r"^(?P<name>[^\n]+?)(?: \([^)]*\))?:\n\n```yaml\n(?P<text>.*?)```", re.MULTILINE | re.DOTALL
)
SERVICES = {
    found["name"]: str(found["text"])
    for found in _YAML.finditer(GUIDE.read_text("utf-8").partition("## S3-compatible")[2])
}
# Endpoint, region, addressing style, signature, checksums.
SETTINGS = {
    "MinIO": ("https://minio.example.org", "us-east-1", "path", "s3v4", "when_supported"),
    "Cloudflare R2": (
        "https://0123456789abcdef.r2.cloudflarestorage.com", "auto", None, "s3v4", "when_required",
    ),
    "Backblaze B2": (
        "https://s3.us-west-004.backblazeb2.com", "us-west-004", None, "s3v4", "when_required",
    ),
    "Wasabi": (
        "https://s3.eu-central-1.wasabisys.com", "eu-central-1", None, "s3v4", "when_required",
    ),
    "DigitalOcean Spaces": (
        "https://ams3.digitaloceanspaces.com", "ams3", None, "s3v4", "when_required",
    ),
}  # fmt: skip


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3_KEY", "testing")
    monkeypatch.setenv("S3_SECRET", PASSWORD)


def configured(name: str, folder: Path, **more: Any) -> Path:
    """The guide's configuration as a file, with another storage's place if one is given."""
    document = yaml.safe_load(SERVICES[name])
    document["storage"] |= more
    path = folder / "lakebed.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def test_all_are_here() -> None:
    assert SERVICES.keys() == SETTINGS.keys()


@pytest.mark.parametrize("name", SETTINGS)
def test_settings(name: str, tmp_path: Path) -> None:
    """Of the client that asks."""
    storage = load(configured(name, tmp_path)).settings.open_options()["storage"]
    store = open_store(storage.pop("uri"), storage)
    assert isinstance(store, S3Store)
    client = sync(store._fs.loop, store._fs.set_session)
    config, keys = client.meta.config, client._get_credentials()
    assert SETTINGS[name] == (
        client.meta.endpoint_url,
        client.meta.region_name,
        (config.s3 or {}).get("addressing_style"),
        config.signature_version,
        config.request_checksum_calculation,
    )
    assert config.response_checksum_validation == config.request_checksum_calculation
    assert (keys.access_key, keys.secret_key) == ("testing", PASSWORD)
    assert config.retries == {"mode": "legacy", "total_max_attempts": 1}
    store.close()


@pytest.fixture
def proxy(s3: S3Server) -> Any:
    with http_proxy(s3.port) as proxy:
        yield proxy


@pytest.mark.parametrize("name", SETTINGS)
def test_a_lake_works_so(name: str, s3: S3Server, proxy: HttpProxy, tmp_path: Path) -> None:
    """Small and large values, batches, listing, deletion: each signed for the region, and with the
    checksums that the service knows."""
    uri = f"s3://{s3.create_bucket()}/memory"
    path = configured(
        name, tmp_path, uri=uri, endpoint_url=proxy.url, retry_timeout=5
    )  # fmt: skip
    with lakebed.open(path) as lake:
        lake.store("text", "x" * 9000)
        lake.store("large", bytes(40 << 20))
        lake.store_batch({"key": f"k{n}", "value": f"{n}" * 5000} for n in range(10))
        assert lake["large"] == bytes(40 << 20)
        assert lake["k3"] == "3" * 5000
        lake.delete("large")
        lake.collect(grace=0, orphan_grace=0, orphans=True)
        assert not lake.verify().problems
        assert f"%2F{SETTINGS[name][1]}%2Fs3%2Faws4_request" in lake.presign("text")
    asked = {(heard.method, heard.path.rpartition("?")[2]) for heard in proxy.heard}
    assert ("POST", "delete") in asked
    scope = re.compile(rf"AWS4-HMAC-SHA256 Credential=testing/\d+/{SETTINGS[name][1]}/s3/")
    newer = SETTINGS[name][4] == "when_supported"
    for heard in proxy.heard:
        assert scope.match(heard.headers["authorization"])
        told = [header for header in heard.headers if header.startswith("x-amz-checksum-")]
        writes = heard.method == "PUT" or heard.path.endswith("?delete")
        if writes:
            assert bool(told) == newer
        if writes and not newer:
            assert "content-md5" in heard.headers
            assert "x-amz-trailer" not in heard.headers
            assert "x-amz-sdk-checksum-algorithm" not in heard.headers
