"""`lakebed doctor` of a storage in a bucket, as the shell calls it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

import lakebed
from lakebed.cli.app import app
from tests.buckets import AZURE_KEY, AzureServer, BucketServer, GuardedS3, S3Server
from tests.config.conftest import Write
from tests.http_proxy import Answer, HttpProxy, http_proxy
from tests.servers import PASSWORD

SCHEMES = {"s3": "s3", "gcs": "gs", "azure": "az"}


@pytest.fixture(params=SCHEMES)
def service(request: pytest.FixtureRequest) -> tuple[str, BucketServer]:
    return SCHEMES[request.param], request.getfixturevalue(request.param)


def doctor(*arguments: str, code: int = 0) -> dict[str, tuple[str, str]]:
    """What it finds, by check."""
    command = (*arguments, "doctor", "--json")
    result = CliRunner().invoke(app, command, prog_name="lakebed", catch_exceptions=False)
    assert result.exit_code == code, result.output
    for secret in (PASSWORD, AZURE_KEY, AZURE_KEY.rstrip("=")):
        assert secret not in result.output
    return {
        found["check"]: (found["state"], found["detail"]) for found in json.loads(result.stdout)
    }


def of_file(write: Write, storage: dict[str, Any], code: int = 0) -> dict[str, tuple[str, str]]:
    write(yaml.safe_dump({"backend": "duckdb", "catalog": "sqlite:///n.db", "storage": storage}))
    return doctor("--lake", "lakebed.yaml", code=code)


def test_a_bucket(service: tuple[str, BucketServer], write: Write, folder: Path) -> None:
    scheme, server = service
    storage = server.storage(f"{scheme}://{server.create_bucket()}/memory")
    before = of_file(write, storage)
    assert {check: state for check, (state, _) in before.items() if state != "ok"} == {
        "catalog": "note", "lake": "note"
    }  # fmt: skip
    assert before["storage"][1].startswith(f"{scheme}://")
    assert [path.name for path in folder.iterdir()] == ["lakebed.yaml"]
    with lakebed.open("lakebed.yaml") as lake:
        lake.store("k", "x" * 9000)
        assert {state for state, _ in of_file(write, storage).values()} == {"ok"}
        assert lake.collect(grace=0, orphan_grace=0, orphans=True).orphans == 0
        assert lake["k"] == "x" * 9000


def test_no_bucket(service: tuple[str, BucketServer], write: Write) -> None:
    scheme, server = service
    found = of_file(write, server.storage(f"{scheme}://no-such-bucket/memory"), code=2)
    assert found["storage"][0] == "wrong"
    assert "there is no bucket 'no-such-bucket'" in found["storage"][1]
    assert "lake" not in found


def test_denied_rights(guarded_s3: GuardedS3, write: Write) -> None:
    user = guarded_s3.user("s3:ListBucket", "s3:GetObject", "s3:DeleteObject")
    storage = guarded_s3.storage(f"s3://{guarded_s3.create_bucket()}/memory") | user
    found = of_file(write, storage, code=2)
    assert {check for check, (state, _) in found.items() if state == "wrong"} == {"write"}
    assert user["secret"] not in str(found)


@pytest.fixture
def expired(s3: S3Server) -> Iterator[HttpProxy]:
    """A service that answers as S3 does when a session token has expired; moto knows no end."""
    body = b"<Error><Code>ExpiredToken</Code><Message>The token has expired.</Message></Error>"
    with http_proxy(s3.port) as proxy:
        proxy.refuse = lambda asked: Answer(400, b"" if asked.method == "HEAD" else body)
        yield proxy


def test_an_expired_token(
    s3: S3Server, expired: HttpProxy, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the keys stand in the file or in the environment."""
    storage = s3.storage(f"s3://{s3.create_bucket()}/memory") | {"endpoint_url": expired.url}
    token = "FwoGZXIvYXdzEXAMPLE-of-a-session"  # noqa: S105
    for name, value in (
        ("AWS_ACCESS_KEY_ID", storage.pop("key")),
        ("AWS_SECRET_ACCESS_KEY", storage.pop("secret")),
        ("AWS_SESSION_TOKEN", token),
    ):
        monkeypatch.setenv(name, value)
    state, detail = of_file(write, storage, code=2)["storage"]
    assert state == "wrong"
    assert "the session token has expired" in detail
    assert token not in detail


def test_the_storage_that_the_catalog_names(
    s3: S3Server, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who gives only the catalog is told of the storage too, with keys of the environment."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", PASSWORD)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.endpoint_url)
    uri = f"s3://{s3.create_bucket()}/memory"
    catalog = f"sqlite:///{folder}/names.db"
    with lakebed.open(catalog=catalog, storage=uri) as lake:
        lake["k"] = 1
    found = doctor("--lake", catalog)
    assert {state for state, _ in found.values()} == {"ok"}
    assert found["storage"][1].startswith(f"{uri} answers")
    assert (
        "none: the catalog keeps all values"
        in doctor("--lake", f"sqlite:///{folder}/o.db")["storage"][1]
    )


def test_text_for_people(azure: AzureServer, write: Write) -> None:
    container = azure.create_bucket()
    storage = {"uri": f"az://{container}/memory", **azure.limited(container, "rwl")}
    write(yaml.safe_dump({"catalog": "sqlite:///n.db", "storage": storage}))
    command = ("--lake", "lakebed.yaml", "doctor")
    shown = CliRunner().invoke(app, command, prog_name="lakebed", catch_exceptions=False)
    assert shown.exit_code == 2
    assert f"ok storage       az://{container}/memory answers in" in shown.stdout
    assert "!! delete        cannot delete az://" in shown.stdout
    assert "-- write         not tested, because without the right to delete" in shown.stdout
    signature = storage["connection_string"].partition("sig=")[2]
    assert len(signature) > 20
    assert signature not in shown.stdout
