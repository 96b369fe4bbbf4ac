"""`presign`: a URL opens one content, for a while, and no neighbour's."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import io
import json
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, quote, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

import lakebed
from lakebed.errors import ConfigurationError, NotFoundError, ValidationError
from lakebed.lake.lake import Lake
from tests.buckets import AZURE_ACCOUNT, AzureServer, BucketServer, GCSServer, S3Server
from tests.http_proxy import Answer, http_proxy
from tests.servers import PASSWORD, free_port

SCHEMES = {"s3": "s3", "gcs": "gs", "azure": "az"}
SERVICE_ACCOUNT = "lake@project.iam.gserviceaccount.com"


@pytest.fixture(scope="module")
def google_key() -> rsa.RSAPrivateKey:
    """The key of a service account; its name is SERVICE_ACCOUNT."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture
def google_account(google_key: rsa.RSAPrivateKey) -> Iterator[dict[str, str]]:
    """The file of a service account, and a server that gives it tokens."""
    pem = google_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    with http_proxy(free_port()) as tokens:
        token = {"access_token": "t0ken", "expires_in": 3600, "token_type": "Bearer"}
        tokens.refuse = lambda _: Answer(
            200, json.dumps(token).encode(), {"Content-Type": "application/json"}
        )
        yield {
            "type": "service_account",
            "project_id": "project",
            "private_key_id": "1",
            "private_key": pem,
            "client_email": SERVICE_ACCOUNT,
            "client_id": "1",
            "token_uri": f"{tokens.url}/token",
        }


@pytest.fixture(params=SCHEMES)
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lake]:
    server: BucketServer = request.getfixturevalue(request.param)
    storage = server.storage(f"{SCHEMES[request.param]}://{server.create_bucket()}/memory")
    if request.param == "gcs":
        storage["token"] = request.getfixturevalue("google_account")
    catalog = f"sqlite:///{tmp_path}/names.db"
    with lakebed.open(catalog=catalog, storage=storage, inline_threshold=100) as lake:
        yield lake


def fetch(url: str, method: str = "GET") -> tuple[int, bytes]:
    """What anybody gets who has the URL, without credentials."""
    parts = urlsplit(url)
    with closing(http.client.HTTPConnection(parts.netloc, timeout=30)) as connection:
        connection.request(method, f"{parts.path}?{parts.query}")
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
    assert PASSWORD not in url
    assert "PRIVATE" not in url
    assert "Eby8vdM02xNOcqFlqUwJ" not in url


def test_bounds(lake: Lake) -> None:
    lake.store("a", 1)
    for wrong in (0, -1, 604_801, timedelta(days=8), float("nan")):
        with pytest.raises(ValidationError, match=r"expires.*1 to 604,800"):
            lake.presign("a", expires=wrong)
    for odd in ("60", True, None):
        with pytest.raises(ValidationError, match="expires must be seconds or a timedelta"):
            lake.presign("a", expires=odd)  # type: ignore[arg-type]
    with pytest.raises(NotFoundError, match="'b'"):
        lake.presign("b")
    assert fetch(lake.presign("a", timedelta(days=7)))[0] == 200


def test_what_is_not_there(lake: Lake) -> None:
    """Neither a key that never was, nor one that was deleted or has expired."""
    lake.store("deleted", 1)
    lake.delete("deleted")
    lake.store("short", "x" * 200, ttl=0.01)
    deadline = time.monotonic() + 10
    while "short" in lake:
        assert time.monotonic() < deadline
    for key in ("never", "deleted", "short"):
        with pytest.raises(NotFoundError, match=f"'{key}'"):
            lake.presign(key)


def test_a_table(lake: Lake) -> None:
    """As Parquet, which any engine reads by the URL."""
    table = pa.table({"n": range(1000), "word": [f"w{n}" for n in range(1000)]})
    lake.store("table", table)
    status, content = fetch(lake.presign("table"))
    assert status == 200
    assert pq.read_table(io.BytesIO(content)) == table


def test_keys_of_all_letters(lake: Lake) -> None:
    """The name of the object is not the key."""
    lake.store("a b/ü?&#%+.json", "x" * 200)
    assert fetch(lake.presign("a b/ü?&#%+.json")) == (200, b'"' + b"x" * 200 + b'"')


def parts(url: str) -> tuple[SplitResult, dict[str, str]]:
    split = urlsplit(url)
    return split, dict(parse_qsl(split.query, keep_blank_values=True))


def string_to_sign(url: str, prefix: str, algorithm: str) -> tuple[str, list[str]]:
    """What version 4 signs of a URL that reads, as the services document it; the scope's parts."""
    split, query = parts(url)
    signature = f"X-{prefix}-Signature"
    named = "&".join(
        f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}"
        for name, value in sorted(query.items())
        if name != signature
    )
    assert query[f"X-{prefix}-SignedHeaders"] == "host"
    request = f"GET\n{split.path}\n{named}\nhost:{split.netloc}\n\nhost\nUNSIGNED-PAYLOAD"
    scope = query[f"X-{prefix}-Credential"].split("/", 1)[1]
    digest = hashlib.sha256(request.encode()).hexdigest()
    date = query[f"X-{prefix}-Date"]
    return f"{algorithm}\n{date}\n{scope}\n{digest}", scope.split("/")


def stored(server: BucketServer, uri: str, folder: Path, **more: Any) -> str:
    """The URL, for an hour, of an object that holds 200 x."""
    storage = server.storage(uri) | more
    with lakebed.open(
        catalog=f"sqlite:///{folder}/n.db", storage=storage, inline_threshold=10
    ) as lake:
        lake.store("k", b"x" * 200)
        return lake.presign("k")


def test_the_signature_on_google(
    gcs: GCSServer,
    google_account: dict[str, str],
    google_key: rsa.RSAPrivateKey,
    tmp_path: Path,
) -> None:
    """fake-gcs-server looks at none, so it is checked here, with the public half of the key."""
    uri = f"gs://{gcs.create_bucket()}/memory"
    url = stored(gcs, uri, tmp_path, token=google_account)
    _, query = parts(url)
    assert query["X-Goog-Algorithm"] == "GOOG4-RSA-SHA256"
    assert query["X-Goog-Expires"] == "3600"
    assert query["X-Goog-Credential"].startswith(f"{SERVICE_ACCOUNT}/")
    text, _ = string_to_sign(url, "Goog", "GOOG4-RSA-SHA256")
    signature = bytes.fromhex(query["X-Goog-Signature"])
    google_key.public_key().verify(signature, text.encode(), PKCS1v15(), SHA256())
    changed, _ = string_to_sign(url.replace("3600", "3601"), "Goog", "GOOG4-RSA-SHA256")
    with pytest.raises(InvalidSignature):
        google_key.public_key().verify(signature, changed.encode(), PKCS1v15(), SHA256())


@pytest.mark.parametrize("region", ["us-east-1", "eu-central-1"])
def test_the_signature_on_s3(s3: S3Server, tmp_path: Path, region: str) -> None:
    """Moto looks at none, so it is checked here: version 4 in all regions."""
    more = {"region": region, "client_kwargs": None}
    url = stored(s3, f"s3://{s3.create_bucket()}/memory", tmp_path, **more)
    _, query = parts(url)
    assert query["X-Amz-Expires"] == "3600"
    text, scope = string_to_sign(url, "Amz", "AWS4-HMAC-SHA256")
    assert scope[1:] == [region, "s3", "aws4_request"]
    key = f"AWS4{PASSWORD}".encode()
    for part in scope:
        key = hmac.digest(key, part.encode(), "sha256")
    assert query["X-Amz-Signature"] == hmac.new(key, text.encode(), "sha256").hexdigest()


def test_the_signature_on_azure(azure: AzureServer, tmp_path: Path) -> None:
    """Azurite looks at it: the URL reads this blob, and does nothing else."""
    container = azure.create_bucket()
    url = stored(azure, f"az://{container}/memory", tmp_path)
    split, query = parts(url)
    assert fetch(url) == (200, b"x" * 200)
    assert (query["sp"], query["sr"]) == ("r", "b")
    assert fetch(url, "DELETE")[0] == 403
    assert fetch(url)[0] == 200
    other = url.replace(split.path, f"/{AZURE_ACCOUNT}/{container}/memory/objects/other")
    longer = url.replace(quote(query["se"], safe=""), quote("2099-01-01T00:00:00Z", safe=""))
    without = f"{split.scheme}://{split.netloc}{split.path}?"
    assert len({url, other, longer, without}) == 4
    for wrong in (other, longer, without):
        assert fetch(wrong)[0] in (403, 404)


def test_a_url_ends_on_azure(azure: AzureServer, tmp_path: Path) -> None:
    """The one emulator that looks at the time."""
    storage = azure.storage(f"az://{azure.create_bucket()}/memory")
    with lakebed.open(catalog=f"sqlite:///{tmp_path}/n.db", storage=storage) as lake:
        lake.store("k", "x")
        url = lake.presign("k", expires=2)
        assert fetch(url)[0] == 200
        deadline = time.monotonic() + 30
        while fetch(url)[0] == 200:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert fetch(url)[0] == 403


def test_credentials_that_cannot_sign(
    s3: S3Server, gcs: GCSServer, azure: AzureServer, tmp_path: Path
) -> None:
    container = azure.create_bucket()
    for number, (storage, words) in enumerate(
        [
            ({"anon": True, "key": None, "secret": None}, "an anonymous storage cannot sign"),
            (gcs.storage(f"gs://{gcs.create_bucket()}/m"), "give the key of a service account"),
            (
                {"uri": f"az://{container}/m", **azure.limited(container, "rwdl")},
                "opened with a SAS token cannot sign",
            ),
        ]
    ):
        whole = s3.storage(f"s3://{s3.create_bucket()}/m") | storage if number == 0 else storage
        with lakebed.open(catalog=f"sqlite:///{tmp_path}/{number}.db", storage=whole) as lake:
            lake.store("k", "x" * 9000)
            with pytest.raises(ConfigurationError, match=words):
                lake.presign("k")


@pytest.mark.parametrize("where", ["memory", "catalog"])
def test_what_cannot_sign(where: str, tmp_path: Path) -> None:
    place = {"storage": f"memory://{tmp_path.name}"} if where == "memory" else {}
    with lakebed.open(catalog="sqlite://", **place) as lake:
        lake.store("a", 1)
        with pytest.raises(ConfigurationError, match="needs a storage in a bucket: s3://"):
            lake.presign("a")


def test_a_folder_cannot_sign(tmp_path: Path) -> None:
    with lakebed.open(tmp_path / "lake") as lake:
        lake.store("a", 1)
        with pytest.raises(ConfigurationError, match="s3://"):
            lake.presign("a")
        entry = lake.entry("a")
        assert entry is not None
        assert entry.inlined
