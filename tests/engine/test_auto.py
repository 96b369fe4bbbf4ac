"""What is chosen from the environment, for each service that it may name."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from lakebed.config.reading.auto import choose_catalog, choose_documents, choose_files, seen
from lakebed.config.reading.loading import load
from lakebed.config.settings.backends import BACKENDS
from tests.config.conftest import opened_with

TOKEN = "CANARY-token"  # noqa: S105 - of nobody
ALL = ("postgres", "mongodb", "dynamodb", "firestore", "lake")
CATALOGS: list[tuple[dict[str, str], str, dict[str, object]]] = [
    ({"DATABASE_URL": "postgresql://u:CANARY@h/d"}, "postgres", {}),
    ({"POSTGRES_HOST": "h", "POSTGRES_PASSWORD": TOKEN}, "postgres", {}),
    ({"DATABASE_URL": "mysql://u:CANARY@h/d"}, "sqlalchemy", {}),
    ({"DATABASE_URL": "sqlite:///a.db"}, "sqlite", {}),
    (
        {"TURSO_DATABASE_URL": "libsql://h", "TURSO_AUTH_TOKEN": TOKEN},
        "turso",
        {"url": "libsql://h", "auth_token": TOKEN},
    ),
    (
        {
            "CLOUDFLARE_ACCOUNT_ID": "a",
            "CLOUDFLARE_D1_DATABASE_ID": "b",
            "CLOUDFLARE_API_TOKEN": TOKEN,
        },
        "d1",
        {"account_id": "a", "database_id": "b", "api_token": TOKEN},
    ),
    ({"MONGODB_URL": "mongodb://u:CANARY@h/d"}, "mongodb", {"url": "mongodb://u:CANARY@h/d"}),
    ({"MONGODB_URI": "mongodb://h/d"}, "mongodb", {"url": "mongodb://h/d"}),
    (
        {"DYNAMODB_TABLE": "t", "AWS_REGION": "eu-west-1"},
        "dynamodb",
        {"table": "t", "region": "eu-west-1"},
    ),
    (
        {"FIRESTORE_PROJECT": "p", "FIRESTORE_COLLECTION": "c"},
        "firestore",
        {"project": "p", "collection": "c"},
    ),
    ({"REDIS_URL": "redis://:CANARY@h/0"}, "redis", {"url": "redis://:CANARY@h/0"}),
    ({"S3_BUCKET": "b", "S3_SECRET_KEY": TOKEN, "S3_ACCESS_KEY": "k"}, "duckdb", {}),
]


@pytest.mark.parametrize(("variables", "kind", "options"), CATALOGS, ids=str)
def test_catalogs(
    variables: dict[str, str],
    kind: str,
    options: dict[str, object],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "lakebed")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    found = load({"backend": "auto"})
    assert found.settings.shown()["backend"] == kind
    (told,) = [message for message in caplog.messages if "auto" in message]
    assert told == found.chosen
    assert f"chose {kind}" in told
    assert "is set" in told
    assert "CANARY" not in caplog.text + repr(found)
    choice = choose_catalog(BACKENDS)
    assert choice is not None
    assert {name: choice.options[name] for name in options} == options


def test_a_bucket_for_names_and_contents(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3_BUCKET", "b")
    monkeypatch.setenv("S3_ENDPOINT_URL", "http://127.0.0.1:1")
    found: Any = opened_with({"backend": "auto"})
    assert found["catalog"]["type"] == "bucket"
    assert found["storage"] == {"uri": "s3://b/lakebed", "endpoint_url": "http://127.0.0.1:1"}


def test_credentials_alone_choose_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "TURSO_AUTH_TOKEN", "CLOUDFLARE_API_TOKEN",
        "CLOUDFLARE_ACCOUNT_ID", "GOOGLE_CLOUD_PROJECT", "AZURE_STORAGE_CONNECTION_STRING",
    ):  # fmt: skip
        monkeypatch.setenv(name, TOKEN)
    assert choose_catalog(BACKENDS) is None
    assert choose_documents(ALL).type == "lake"
    assert choose_files(("s3", "gcs", "azure", "local")).type == "local"


def test_the_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each next one is found only without those before it, and only if there is a backend."""
    for name in ("DATABASE_URL", "TURSO_DATABASE_URL", "MONGODB_URL", "REDIS_URL"):
        monkeypatch.setenv(name, "postgresql://h/d" if name == "DATABASE_URL" else "redis://h")
    for name in ("DYNAMODB_TABLE", "FIRESTORE_PROJECT", "S3_BUCKET", "GCS_BUCKET"):
        monkeypatch.setenv(name, "x")
    known = [*BACKENDS]
    order = []
    while (choice := choose_catalog(known)) is not None and choice.type in known:
        order.append(choice.type)
        known.remove(choice.type)
        if choice.type == "duckdb":
            break
        if choice.type == "postgres":
            monkeypatch.delenv("DATABASE_URL")
    assert order == ["postgres", "turso", "mongodb", "dynamodb", "firestore", "redis", "duckdb"]
    assert choose_documents(ALL).type == "mongodb"
    assert choose_files(("s3", "gcs", "local")).type == "s3"
    assert choose_files(("gcs", "local")).type == "gcs"
    assert seen((), ALL) is None
