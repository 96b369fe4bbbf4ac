"""`presign`: a URL opens one content, for a while, and no neighbour's."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import lakebed
from lakebed.errors import ConfigurationError, NotFoundError, ValidationError
from lakebed.lake.lake import Lake
from tests.buckets import BucketServer, azure, s3

__all__ = ["azure", "s3"]

SCHEMES = {"s3": "s3", "azure": "az"}


@pytest.fixture(params=SCHEMES)
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lake]:
    server: BucketServer = request.getfixturevalue(request.param)
    storage = server.storage(f"{SCHEMES[request.param]}://{server.create_bucket()}/memory")
    catalog = f"sqlite:///{tmp_path}/names.db"
    with lakebed.open(catalog=catalog, storage=storage, inline_threshold=100) as lake:
        yield lake


def fetch(url: str) -> tuple[int, bytes]:
    """What anybody gets who has the URL, without credentials."""
    parts = urlsplit(url)
    with closing(http.client.HTTPConnection(parts.netloc, timeout=30)) as connection:
        connection.request("GET", f"{parts.path}?{parts.query}")
        answer = connection.getresponse()
        return answer.status, answer.read()


def test_the_url_gives_the_bytes(lake: Lake) -> None:
    lake.store("object", "o" * 1000)
    lake.store("inline", {"a": 1})
    lake.store("bytes", b"\x00\xff" * 500)
    lake.store_batch({"key": f"packed/{n}", "value": f"{n}" * 500} for n in range(10))
    for key, content in {
        "object": b'"' + b"o" * 1000 + b'"',
        "inline": b'{"a":1}',
        "bytes": b"\x00\xff" * 500,
        "packed/3": b'"' + b"3" * 500 + b'"',
    }.items():
        assert fetch(lake.presign(key, expires=60)) == (200, content)
        entry = lake.entry(key)
        assert entry is not None
        assert not entry.inlined
        assert "#" not in (entry.storage_uri or "#")
    first = lake.presign("packed/3")
    assert urlsplit(first).path == urlsplit(lake.presign("packed/3")).path
    assert lake["packed/4"] == "4" * 500
    assert not lake.verify().problems


def test_no_secret_in_the_url(lake: Lake) -> None:
    lake.store("a", 1)
    url = lake.presign("a")
    assert "s3cret" not in url
    assert "Eby8vdM02xNOcqFlqUwJ" not in url


def test_bounds(lake: Lake) -> None:
    lake.store("a", 1)
    for wrong in (0, -1, 604_801, timedelta(days=8), float("nan")):
        with pytest.raises(ValidationError, match=r"expires.*1 to 604,800"):
            lake.presign("a", expires=wrong)
    for odd in ("60", True, None):
        with pytest.raises(ValidationError, match="expires is of type"):
            lake.presign("a", expires=odd)  # type: ignore[arg-type]
    with pytest.raises(NotFoundError, match="'b'"):
        lake.presign("b")
    assert fetch(lake.presign("a", timedelta(days=7)))[0] == 200


def test_a_folder_cannot_sign(tmp_path: Path) -> None:
    with lakebed.open(tmp_path / "lake") as lake:
        lake.store("a", 1)
        with pytest.raises(ConfigurationError, match="s3://"):
            lake.presign("a")
        entry = lake.entry("a")
        assert entry is not None
        assert entry.inlined
