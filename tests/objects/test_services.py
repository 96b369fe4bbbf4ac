"""What one service has and the others have not: encryption, unfinished uploads, words."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from aiobotocore.session import AioSession
from azure.identity.aio import DefaultAzureCredential

import lakebed
from lakebed.clock import system_clock
from lakebed.errors import ConfigurationError, ConnectError, RateLimitedError, StorageError
from lakebed.objects.buckets.failures import Failure
from lakebed.objects.buckets.s3 import S3Store
from lakebed.objects.examination import examine
from lakebed.objects.opening import cloud_class, open_store, wrong_options
from tests.buckets import AzureServer, GCSServer, GuardedS3, S3Server
from tests.http_proxy import Answer, Request, http_proxy

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "storage.md"
PATH = "objects/ab/abcd-1.json"
KEY = "arn:aws:kms:us-east-1:123456789012:key/0123abcd"
HOUR = 3_600_000_000


def s3_store(server: S3Server, bucket: str, **more: Any) -> S3Store:
    options = server.storage(f"s3://{bucket}/some/lake") | more
    store = open_store(str(options.pop("uri")), options)
    assert isinstance(store, S3Store)
    return store


def head(store: S3Store, path: str) -> dict[str, Any]:
    """What the service says of an object."""
    found: dict[str, Any] = store._fs.call_s3("head_object", Bucket=store._bucket, Key=path)
    return found


@pytest.mark.parametrize("size", [10, 36 << 20])
def test_encryption_on_s3(s3: S3Server, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of every object, in one piece or in parts."""
    monkeypatch.setattr("lakebed.objects.buckets.s3.WHOLE_BYTES", 16 << 20)
    bucket = s3.create_bucket()
    store = s3_store(s3, bucket, encryption="sse-kms", kms_key_id=KEY)
    store.write(PATH, b"x" * size)
    said = head(store, f"some/lake/{PATH}")
    assert (said["ServerSideEncryption"], said["SSEKMSKeyId"]) == ("aws:kms", KEY)
    assert said["ContentLength"] == size
    store.close()
    plain = s3_store(s3, bucket, encryption="sse-s3")
    plain.write("objects/cd/1.json", b"x")
    assert head(plain, "some/lake/objects/cd/1.json")["ServerSideEncryption"] == "AES256"
    plain.close()


SCOPE = "x-ms-encryption-scope"


@pytest.mark.parametrize("size", [10, 36 << 20])
def test_encryption_on_azure(azure: AzureServer, size: int) -> None:
    """Azurite ignores the scope. So it is the header sent that is looked at, with each request that
    writes, and an answer by which the proxy says for the service that it was done."""
    uri = f"az://{azure.create_bucket()}/lake"
    with http_proxy(azure.port) as proxy:
        plain = proxy.answer

        def encrypting(request: Request, body: bytes) -> Answer:
            answer = plain(request, body)
            told = {SCOPE: request.headers[SCOPE]} if SCOPE in request.headers else {}
            return answer._replace(headers={**answer.headers, **told})

        connection = azure.connection_string(proxy.port)
        store = open_store(uri, {"connection_string": connection, "encryption_scope": "mine"})
        with pytest.raises(StorageError, match=r"scope 'mine', but the service used none"):
            store.write(PATH, b"x" * size)
        proxy.answer = encrypting  # type: ignore[method-assign]
        store.write(PATH, b"x" * size)
        assert store.size(PATH) == size
        store.close()
    written = [heard for heard in proxy.heard if heard.method == "PUT"]
    assert len(written) >= 2
    assert {heard.headers.get(SCOPE) for heard in written} == {"mine"}


CLOUD_KEY = "projects/p/locations/eu/keyRings/r/cryptoKeys/k"


@pytest.mark.parametrize("size", [10, 36 << 20])
def test_encryption_on_google(gcs: GCSServer, size: int) -> None:
    """fake-gcs-server ignores the key. So it is the parameter sent that is looked at, and answers
    in which the proxy names for the service the key that it used."""
    uri, used = f"gs://{gcs.create_bucket()}/lake", f"{CLOUD_KEY}/cryptoKeyVersions/1"
    with http_proxy(gcs.port) as proxy:
        plain = proxy.answer

        def encrypting(request: Request, body: bytes) -> Answer:
            answer = plain(request, body)
            if request.method == "GET" or not answer.body.startswith(b"{"):
                return answer
            told = json.loads(answer.body) | {"kmsKeyName": used}
            return answer._replace(body=json.dumps(told).encode())

        options = {"endpoint_url": proxy.url, "token": "anon", "kms_key_id": CLOUD_KEY}
        store = open_store(uri, options)
        with pytest.raises(StorageError, match="cryptoKeys/k', but the service used none"):
            store.write(PATH, b"x" * size)
        begun = [heard.path for heard in proxy.heard if "uploadType=" in heard.path]
        assert len(begun) == 1
        assert f"kmsKeyName={CLOUD_KEY}" in unquote(begun[0])
        proxy.answer = encrypting  # type: ignore[method-assign]
        store.write(PATH, b"x" * size)
        assert store.size(PATH) == size
        used = f"{CLOUD_KEY}2/cryptoKeyVersions/1"
        with pytest.raises(StorageError, match=r"cryptoKeys/k', but the service used .*/k2/"):
            store.write(PATH, b"x" * size)
        store.close()


def test_encryption_that_the_service_does_not_do(s3: S3Server) -> None:
    """An answer that names none: moto's, with the header taken from what it is asked."""
    with http_proxy(s3.port) as proxy:
        proxy.alter = lambda asked: asked._replace(
            headers={k: v for k, v in asked.headers.items() if "server-side" not in k}
        )
        store = s3_store(
            s3, s3.create_bucket(), endpoint_url=proxy.url, encryption="sse-kms", kms_key_id=KEY
        )
        for size in (10, 36 << 20):
            with pytest.raises(StorageError, match="encrypted with aws:kms, but the service used"):
                store.write(PATH, b"x" * size)
        store.close()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"encryption": "aes"}, "encryption: must be one of sse-s3, sse-kms"),
        ({"kms_key_id": KEY}, "requires encryption: sse-kms"),
        ({"addressing_style": "dns"}, "addressing_style: must be one of auto, path, virtual"),
        ({"checksums": True}, "checksums: must be one of when_supported"),
        ({"max_connections": 0}, "max_connections must be a number, 1 or more, got 0"),
        ({"retry_timeout": "long"}, "retry_timeout must be a number, .*got 'long'"),
        ({"region": 7}, "region must be text, got 7"),
    ],
)
def test_wrong_options(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        open_store("s3://bucket", options)


@pytest.mark.parametrize(
    ("uri", "option", "words"),
    [
        (
            "s3://b",
            "endpont_url",
            "endpont_url: unknown option: did you mean 'endpoint_url",
        ),
        ("s3a://b", "adressing_style", "did you mean 'addressing_style'"),
        ("gs://b", "kms_keyid", "did you mean 'kms_key_id'"),
        ("az://b", "acount_name", "did you mean 'account_name'"),
        ("az://b", "x", "storage.x: unknown option: neither Lakebed nor the filesystem knows it"),
    ],
)
def test_unknown_options(uri: str, option: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as caught:
        open_store(uri, {option: "s3cret"})
    assert "s3cret" not in str(caught.value)


def test_known_options() -> None:
    """What works is refused nowhere: what the constructors name, and what they hand on."""
    for uri, options in {
        "s3://b": ["anon", "profile", "session", "use_ssl", "client_kwargs", "batch_size", "loop"],
        "gs://b": ["project", "access", "cache_timeout", "session_kwargs", "max_paths"],
        "abfss://b": ["account_host", "managed_identity_client_id", "exclude_cli_credential"],
        "memory://b": ["anything"],  # hands on what it does not name
        "sftp://b": ["anything"],
    }.items():
        assert wrong_options(uri, dict.fromkeys(options)) == {}
    keywords = set(re.findall(r":keyword \w+ (\w+):", DefaultAzureCredential.__doc__ or ""))
    assert len(keywords) > 10
    assert wrong_options("az://b", dict.fromkeys(keywords)) == {}
    assert wrong_options("s3://b", dict.fromkeys(inspect.signature(AioSession).parameters)) == {}


def test_usual_options_are_known() -> None:
    """Those that are not looked up, since that would load the filesystem."""
    for protocol in ("s3", "gs", "az"):
        cloud = cloud_class(protocol)
        assert cloud is not None
        assert cloud.known_options(protocol) > cloud.USUAL


def test_opening_a_bucket_loads_no_filesystem(tmp_path: Path) -> None:
    code = (
        "import sys, lakebed\n"
        "for uri in ('s3://b/x', 'gs://b/x', 'az://b/x'):\n"
        "    place = {'uri': uri, 'max_connections': 3}\n"
        "    with lakebed.open(catalog=f'sqlite:///{uri[:2]}.db', storage=place) as lake:\n"
        "        assert lake.list() is not None\n"
        "assert not {'s3fs', 'gcsfs', 'adlfs', 'aiohttp', 'botocore'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)


def test_a_uri_without_a_bucket() -> None:
    with pytest.raises(ConfigurationError, match="does not name a bucket"):
        open_store("s3://")


def test_unfinished_uploads_are_abandoned(s3: S3Server) -> None:
    """As a killed writer leaves them; not those that are young, nor a neighbour's. (For moto all
    began in 2010.)"""
    bucket = s3.create_bucket()
    store = s3_store(s3, bucket)
    for key in (f"some/lake/{PATH}", "another/lake/x"):
        store._fs.call_s3("create_multipart_upload", Bucket=bucket, Key=key)
    assert store.abandon_uploads(HOUR) == 0
    assert store.abandon_uploads(system_clock()) == 1
    left = store._fs.call_s3("list_multipart_uploads", Bucket=bucket)["Uploads"]
    assert [upload["Key"] for upload in left] == ["another/lake/x"]
    store.close()


def test_an_upload_that_is_abandoned_under_way(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It fails as a write, and never as a file that is not there."""
    monkeypatch.setattr("lakebed.objects.buckets.s3.WHOLE_BYTES", 1 << 20)
    store = s3_store(s3, s3.create_bucket())
    call = store._call

    async def abandoned(method: str, **arguments: Any) -> Mapping[str, Any]:
        if method == moments[0]:
            upload = {name: arguments[name] for name in ("Key", "UploadId")}
            await call("abort_multipart_upload", **upload)
        return await call(method, **arguments)

    monkeypatch.setattr(store, "_call", abandoned)
    moments = ["upload_part", "complete_multipart_upload"]
    while moments:
        with pytest.raises(StorageError, match=f"cannot write .*{PATH}: the upload was aborted"):
            store.write(PATH, b"x" * (17 << 20))
        assert list(store.list("objects")) == []
        del moments[0]
    store.close()


def test_many_deletes(s3: S3Server) -> None:
    """More than one request takes."""
    store = s3_store(s3, s3.create_bucket())
    store.write(PATH, b"x")
    store.delete([*(f"objects/zz/{n}.json" for n in range(1500)), PATH])
    assert list(store.list("objects")) == []
    store.close()


def test_a_value_that_looks_like_a_boundary(gcs: GCSServer) -> None:
    """gcsfs' own upload of small files ends at these bytes."""
    options = gcs.storage(f"gs://{gcs.create_bucket()}/lake")
    store = open_store(str(options.pop("uri")), options)
    store.write(PATH, b"one\n--==0==--\ntwo")
    assert store.read(PATH) == b"one\n--==0==--\ntwo"
    store.close()


# The private servers refuse nothing of this: here are the words that the services answer.
@pytest.mark.parametrize(
    ("failure", "kind", "words"),
    [
        (Failure("gone", "NoSuchBucket", 404), StorageError, "no bucket 'b'"),
        (Failure("gone", "ContainerNotFound", 404), StorageError, "no bucket 'b'"),
        (Failure("moved", "PermanentRedirect", 301), StorageError, "another region: set `region`"),
        (Failure("x", "AuthorizationHeaderMalformed", 400), StorageError, "another region"),
        (Failure("Access Denied", "AccessDenied", 403), StorageError, "no right to it"),
        (Failure("Forbidden", "", 403), StorageError, "no right to it"),
        (Failure("x", "ExpiredToken", 400), ConnectError, "session token has expired"),
        (Failure("x", "InvalidAccessKeyId", 403), ConnectError, "access key is not known"),
        (Failure("x", "RequestTimeTooSkewed", 403), ConnectError, "clock is too far"),
        (Failure("x", "", 401), ConnectError, "credentials are refused"),
        (
            Failure("x", "KMS.DisabledException", 400),
            StorageError,
            "service refuses the requested encryption",
        ),
        (Failure("x", "SlowDown", 503), RateLimitedError, "slow down, tried for 60 s"),
        (Failure("refused", answered=False), ConnectError, "does not answer, tried for 60 s"),
    ],
)
def test_words(failure: Failure, kind: type[Exception], words: str) -> None:
    error = failure.error("write s3://b/x", "b", 60.0)
    assert type(error) is kind
    assert str(error).startswith("cannot write s3://b/x: ")
    assert words in str(error)


def test_no_signature_is_shown() -> None:
    told = Failure("GET https://host/c/b?sv=1&sig=s3cret failed", status=400)
    assert "s3cret" not in str(told.error("read az://c/b", "c", 1.0))


def test_the_rights_that_the_guide_names_suffice(guarded_s3: GuardedS3, tmp_path: Path) -> None:
    """For all that a lake does, large objects in parts and unfinished uploads included."""
    bucket = guarded_s3.create_bucket()
    (policy,) = re.findall(r"```json\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
    rights = json.loads(policy.replace("my-bucket", bucket))
    # Moto asks for the right to delete many of the bucket, Amazon of each object.
    rights["Statement"][0]["Action"].append("s3:DeleteObject")
    user = guarded_s3.user_with(rights)
    storage = guarded_s3.storage(f"s3://{bucket}/memory") | user
    options = dict(storage)
    looks = list(examine(str(options.pop("uri")), options, "it"))
    assert {look.check: look.state for look in looks if look.state != "ok"} == {}
    catalog = f"sqlite:///{tmp_path}/names.db"
    with lakebed.open(catalog=catalog, storage=storage, inline_threshold=10) as lake:
        lake.store("large", bytes(40 << 20))
        lake.store_batch({"key": f"k{n}", "value": f"{n}" * 100} for n in range(10))
        assert lake["k3"] == "3" * 100
        assert lake["large"] == bytes(40 << 20)
        assert lake.presign("k3")
        lake.delete("large")
        lake.compact()
        lake.collect(grace=0, orphan_grace=0, orphans=True)
        assert not lake.verify().problems
    elsewhere = dict(storage) | {"uri": f"s3://{bucket}/another"}
    store = open_store(str(elsewhere.pop("uri")), elsewhere)
    with pytest.raises(StorageError, match="no right to it"):
        store.write(PATH, b"x")
    store.close()


def test_a_bucket_on_google_is_looked_for_once(gcs: GCSServer) -> None:
    """Its answer for a missing object does not say whether the bucket is there."""
    with http_proxy(gcs.port) as proxy:
        store = open_store(
            f"gs://{gcs.create_bucket()}/lake", {"endpoint_url": proxy.url, "token": "anon"}
        )
        for _ in range(3):
            with pytest.raises(FileNotFoundError):
                store.read("absent")
        store.close()
        assert len(proxy.heard) == 4
