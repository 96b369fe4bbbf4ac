"""What is wrong with a bucket, as Python, the LTM interface and the command line tell it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

import lakebed
from lakebed.cli.app import app
from lakebed.errors import ConfigurationError, ConnectError, LakebedError, StorageError
from lakebed.ltm import create_ltm_backend, parse_backend_config
from lakebed.objects.opening import open_store
from tests.buckets import AZURE_KEY, AzureServer, BucketServer, GCSServer, S3Server
from tests.http_proxy import Answer, HttpProxy, Request, http_proxy
from tests.servers import PASSWORD, free_port

SCHEMES = {"s3": "s3", "gcs": "gs", "azure": "az"}
Refuse = Callable[[Request], Answer | None]


@pytest.fixture(params=SCHEMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def server(request: pytest.FixtureRequest, name: str) -> BucketServer:
    found: BucketServer = request.getfixturevalue(name)
    return found


@pytest.fixture
def proxy(server: BucketServer) -> Iterator[HttpProxy]:
    with http_proxy(server.port) as proxy:
        yield proxy


def at(server: BucketServer, uri: str, port: int) -> dict[str, Any]:
    storage = server.storage(uri) | {"retry_timeout": 0.5}
    if isinstance(server, AzureServer):
        return storage | {"connection_string": server.connection_string(port)}
    return storage | {"endpoint_url": f"http://127.0.0.1:{port}"}


def said(folder: Path, storage: dict[str, Any]) -> tuple[type[LakebedError], str, str]:
    """The error of a store and its `error_type`, which all three say alike, without a secret."""
    settings = {"backend": "duckdb", "catalog": "sqlite:///n.db", "inline_threshold": 10}
    path = folder / "lakebed.yaml"
    path.write_text(yaml.safe_dump(settings | {"storage": storage}))
    with lakebed.open(path) as lake:
        with pytest.raises(LakebedError) as caught:
            lake.store("k", "x" * 100)
        assert "k" not in lake
    told, kind = str(caught.value), caught.value.error_type
    backend, options = parse_backend_config(path)
    with create_ltm_backend(backend, **options) as memory:
        result = memory.store("k", "x" * 100)
    shown = run(path, "put", "k", "x" * 100, "--json")
    for found in (result, json.loads(shown)):
        assert found["error_type"] == kind
        assert without_name(found["error"]) == without_name(told)
    # The command line names the command that finds out more.
    hint = " (`lakebed doctor` tries each part of the configuration)"
    line = f"lakebed: {without_name(told)}" + hint * isinstance(caught.value, ConnectError)
    assert without_name(run(path, "put", "k", "x" * 100)) == line
    for secret in (PASSWORD, AZURE_KEY.rstrip("="), "sig="):
        assert secret not in f"{told}{result}{shown}"
    return type(caught.value), told, kind


def run(path: Path, *arguments: str) -> str:
    """What the command line says on standard error at the end, in one line. Before it, it may say
    what it waits for."""
    command = ("--lake", str(path), *arguments)
    result = CliRunner().invoke(app, command, prog_name="lakebed", catch_exceptions=False)
    assert result.exit_code == 2
    *waits, line = result.stderr.splitlines()
    assert all("; trying for " in wait for wait in waits)
    return line


def without_name(text: str) -> str:
    """The objects have another name each time."""
    words = (word.split("/objects/")[0] for word in text.split(" "))
    return " ".join(words).replace('"', "")


def test_no_bucket(name: str, server: BucketServer, tmp_path: Path) -> None:
    storage = server.storage(f"{SCHEMES[name]}://no-such-bucket/lake")
    kind, told, _ = said(tmp_path, storage)
    assert kind is StorageError
    assert "there is no bucket 'no-such-bucket'" in told


def test_nobody_answers(name: str, server: BucketServer, tmp_path: Path) -> None:
    storage = at(server, f"{SCHEMES[name]}://bucket/lake", free_port())
    kind, told, error_type = said(tmp_path, storage)
    assert (kind, error_type) == (ConnectError, "connection_error")
    assert "the service does not answer, tried for 0 s" in told


# What the emulators do not refuse, the proxy refuses in the words of the services.

EXPIRED = {
    "s3": Answer(400, b"<Error><Code>ExpiredToken</Code><Message>Expired.</Message></Error>"),
    "gcs": Answer(401, json.dumps({"error": {"code": 401, "message": "Expired."}}).encode()),
    "azure": Answer(
        401,
        b"<Error><Code>InvalidAuthenticationInfo</Code><Message>Expired.</Message></Error>",
        {"x-ms-error-code": "InvalidAuthenticationInfo"},
    ),
}
DENIED = {
    "s3": Answer(403, b"<Error><Code>AccessDenied</Code><Message>No.</Message></Error>"),
    "gcs": Answer(403, json.dumps({"error": {"code": 403, "message": "No."}}).encode()),
    "azure": Answer(
        403,
        b"<Error><Code>AuthorizationPermissionMismatch</Code><Message>No.</Message></Error>",
        {"x-ms-error-code": "AuthorizationPermissionMismatch"},
    ),
}
KEY_REFUSED = {
    "s3": Answer(
        400, b"<Error><Code>KMS.DisabledException</Code><Message>Disabled.</Message></Error>"
    ),
    "gcs": Answer(
        403,
        json.dumps(
            {"error": {"code": 403, "message": "Permission denied on Cloud KMS key."}}
        ).encode(),
    ),
    "azure": Answer(
        409,
        b"<Error><Code>EncryptionScopeNotFound</Code><Message>None.</Message></Error>",
        {"x-ms-error-code": "EncryptionScopeNotFound"},
    ),
}


def test_an_expired_token(
    name: str, server: BucketServer, proxy: HttpProxy, tmp_path: Path
) -> None:
    proxy.refuse = lambda _: EXPIRED[name]
    storage = at(server, f"{SCHEMES[name]}://{server.create_bucket()}/lake", proxy.port)
    kind, told, error_type = said(tmp_path, storage)
    assert (kind, error_type) == (ConnectError, "auth_failed")
    assert ("expired" in told) or name == "gcs"  # Google does not say which it is
    assert ("the credentials are refused" in told) == (name == "gcs")


def test_no_right_to_write(
    name: str, server: BucketServer, proxy: HttpProxy, tmp_path: Path
) -> None:
    proxy.refuse = lambda asked: DENIED[name] if asked.method in ("PUT", "POST") else None
    bucket = server.create_bucket()
    kind, told, _ = said(tmp_path, at(server, f"{SCHEMES[name]}://{bucket}/lake", proxy.port))
    assert kind is StorageError
    assert told.startswith(f"cannot write {SCHEMES[name]}://{bucket}/lake/objects/")
    assert f"these credentials have no right to it in the bucket '{bucket}'" in told


def test_a_refused_key_of_encryption(
    name: str, server: BucketServer, proxy: HttpProxy, tmp_path: Path
) -> None:
    proxy.refuse = lambda asked: KEY_REFUSED[name] if asked.method in ("PUT", "POST") else None
    storage = at(server, f"{SCHEMES[name]}://{server.create_bucket()}/lake", proxy.port)
    kind, told, _ = said(tmp_path, storage)
    assert kind is StorageError
    assert "the service refuses the requested encryption" in told


def test_no_right_to_list(
    name: str, server: BucketServer, proxy: HttpProxy, tmp_path: Path
) -> None:
    """A lake lists when it looks for orphans."""

    def refuse(asked: Request) -> Answer | None:
        lists = "prefix=" in asked.path and asked.method == "GET"
        return DENIED[name] if lists else None

    proxy.refuse = refuse
    bucket = server.create_bucket()
    storage = at(server, f"{SCHEMES[name]}://{bucket}/lake", proxy.port)
    catalog = f"sqlite:///{tmp_path}/n.db"
    with lakebed.open(catalog=catalog, storage=storage) as lake:
        lake.store("k", "x" * 9000)
        with pytest.raises(StorageError, match=r"cannot list .*no right to it"):
            lake.collect(grace=0, orphan_grace=0, orphans=True)
        assert lake["k"] == "x" * 9000
    path = tmp_path / "lakebed.yaml"
    path.write_text(yaml.safe_dump({"catalog": catalog, "storage": storage}))
    line = run(path, "collect", "--orphans")
    assert line.startswith(f"lakebed: cannot list {SCHEMES[name]}://{bucket}/lake")
    assert "no right to it" in line


def elsewhere(asked: Request) -> Answer | None:
    """As S3 answers for a bucket of eu-west-1."""
    if "/eu-west-1/s3/" in asked.headers.get("authorization", ""):
        return None
    body = (
        b"<Error><Code>AuthorizationHeaderMalformed</Code><Message>The region 'us-east-1' is "
        b"wrong; expecting 'eu-west-1'</Message><Region>eu-west-1</Region></Error>"
    )
    return Answer(400, body, {"x-amz-bucket-region": "eu-west-1"})


def test_another_region(s3: S3Server, tmp_path: Path) -> None:
    """Amazon's client asks again for the region that it is told; if that does not help, it is
    named."""
    bucket = s3.create_bucket()
    with http_proxy(s3.port) as proxy:
        storage = at(s3, f"s3://{bucket}/lake", proxy.port)
        proxy.refuse = lambda asked: elsewhere(Request(asked.method, asked.path, {}))
        kind, told, _ = said(tmp_path, storage)
        assert kind is StorageError
        assert f"'{bucket}' is in the region eu-west-1: set `region: eu-west-1`" in told
        proxy.refuse = elsewhere
        with lakebed.open(catalog=f"sqlite:///{tmp_path}/o.db", storage=storage) as lake:
            lake.store("k", "x" * 9000)
            assert lake["k"] == "x" * 9000


# Credentials that cannot be used at all.

USER = {"client_id": "i", "client_secret": "s3cret-of-user"}


@pytest.mark.parametrize(
    ("token", "kind", "words"),
    [
        ("/no/such/file.json", ConfigurationError, "storage.token: the file does not exist"),
        ("a.json", ConfigurationError, "storage.token: the file cannot be read as JSON"),
        (
            {"type": "service_account", "private_key": "s3cret"},
            ConfigurationError,
            "storage.token: Service account info was not in the expected format",
        ),
        (USER, ConfigurationError, "a user's credentials: refresh_token is missing"),
        ("google_default", ConnectError, "no credentials were found"),
        ("ya29.s3cret-of-somebody", ConnectError, "cannot open gs://.*: the service does not"),
    ],
    ids=str,
)
def test_credentials_of_google(
    gcs: GCSServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    token: Any,
    kind: type[LakebedError],
    words: str,
) -> None:
    """Those that gcsfs takes at the first request, or asks its service about, which nothing here
    reaches."""
    monkeypatch.chdir(tmp_path)
    Path("a.json").write_text("no json")
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "CLOUDSDK_CONFIG"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{free_port()}")
    storage = gcs.storage(f"gs://{gcs.create_bucket()}/lake") | {"token": token}
    with (
        pytest.raises(kind, match=words) as caught,
        closing(open_store(str(storage.pop("uri")), storage)) as store,
    ):
        store.write("objects/a", b"x")
    assert "s3cret" not in str(caught.value)


def test_credentials_of_azure() -> None:
    for options, words in (
        ({"connection_string": "s3cret"}, "Connection string is either blank or malformed"),
        ({"account_name": None}, "Must provide either a connection_string or account_name"),
    ):
        with (
            pytest.raises(ConfigurationError, match=words) as caught,
            closing(open_store("az://c/lake", options)) as store,
        ):
            store.write("objects/a", b"x")
        assert "s3cret" not in str(caught.value)
    malformed = {"account_name": "a", "account_key": "s3cret no base64", "retry_timeout": 0.1}
    store = open_store("az://c/lake", malformed)
    with pytest.raises(ConnectError, match="the account key or token is wrong") as caught_too:
        store.write("objects/a", b"x")
    assert caught_too.value.error_type == "auth_failed"
    assert "s3cret" not in str(caught_too.value)
    store.close()


def test_the_account_in_an_address_of_azure() -> None:
    """As Spark and Azure's own tools write it."""
    uri = "abfss://files@ada.dfs.core.windows.net/lake"
    store: Any = open_store(uri, {"account_key": AZURE_KEY})
    assert (store._fs.account_name, store._bucket, store._prefix) == ("ada", "files", "lake")
    assert store.uri("objects/a") == f"{uri}/objects/a"
    store.close()


def test_a_region_that_is_none() -> None:
    store = open_store("s3://b", {"region": "nowhere 7", "key": "k", "secret": "s"})
    with pytest.raises(ConfigurationError, match=r"storage\.region: .*'nowhere 7'"):
        store.write("objects/a", b"x")
    store.close()
