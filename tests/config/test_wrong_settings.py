"""What is wrong with settings, by path and with a suggestion."""

from __future__ import annotations

from typing import Any

import pytest

from tests.config.conftest import Write, refused

WRONG = [
    ({"backend": "duckbd"}, "backend", "unknown backend 'duckbd': did you mean 'duckdb'?"),
    ({"backend": 7}, "backend", "unknown backend a whole number: expected one of auto, "),
    ({"storge": "a", "backend": "duckdb"}, "storge", "unknown key: did you mean 'storage'?"),
    ({"catalog": {"type": "sqlite", "pth": "a"}}, "catalog.pth", "did you mean 'path'?"),
    ({"catalog": {"type": "sqlit"}}, "catalog.type", "is 'sqlit': did you mean 'sqlite'?"),
    (
        {"catalog": {"path": "a"}},
        "catalog.type",
        "is missing: expected one of ",
    ),
    ({"catalog": "postgress"}, "catalog", "did you mean 'postgres'?"),
    ({"catalog": 7}, "catalog", "expected a word such as postgres, a URL, or a mapping"),
    ({"catalog": "sqlite://host/x"}, "catalog", "three slashes"),
    ({"backend": "sqlalchemy"}, "url", "is missing"),
    ({"storage": {"url": "a"}}, "storage.uri", "is missing: did you misspell it as 'url'?"),
    ({"storage": 5}, "storage", "expected a path, a URI"),
    ({"storage": ""}, "storage.uri", "is empty"),
    ({"inline_threshold": -1}, "inline_threshold", "expected 0 or more"),
    ({"inline_threshold": 1.5}, "inline_threshold", "expected a whole number, got a number"),
    ({"inline_threshold": True}, "inline_threshold", "got true or false"),
    ({"lock_timeout": "long"}, "lock_timeout", "text such as 90s, 1h30m or 30d, got"),
    ({"lock_timeout": float("inf")}, "lock_timeout", "expected a finite number"),
    ({"lazy": 1}, "lazy", "expected true or false, got a whole number"),
    ({"history": "some"}, "history", "'some' is unknown: expected 'snapshots' or 'all'"),
    ({"durability": "high"}, "durability", "'high' is unknown: expected 'normal' or 'full'"),
    ({"backend": "sqlite", "path": 12}, "path", "expected text, got a whole number: put it in"),
    ({"backend": "postgres", "host": "h", "port": 70000}, "port", "expected 65535 or less"),
    ({"secrets": {"source": "gpc"}}, "secrets.source", "is 'gpc': did you mean 'gcp'?"),
    ({"secrets": "env"}, "secrets", "expected a mapping, got text"),
    # misplaced
    ({"pool_size": 5}, "pool_size", "is an option of the catalog: write it under catalog"),
    ({"catalog": {"type": "sqlite", "history": "all"}}, "catalog.history", "belongs one level up"),
    ({"catalog": {"type": "sqlite", "echo": True}}, "catalog.echo", "of catalog type sqlalchemy"),
    ({"storage": {"uri": "s3://b", "lazy": True}}, "storage.lazy", "write it beside storage"),
    ({"backend": "sqlite", "url": "sqlite:///a", "echo": True}, "echo", "of backend sqlalchemy"),
    ({"backend": "duckdb", "settings": {}}, "backend", "misplaced: write it under settings.ltm"),
    ({"settings": {"backend": "duckdb"}}, "settings.backend", "misplaced: write it under"),
    ({"settings": {"lmt": {}}}, "settings.lmt", "unknown key: did you mean 'ltm'?"),
    ({"settings": {}}, "settings.ltm", "is missing"),
    ({"settings": {"ltm": "duckdb"}}, "settings.ltm", "expected a mapping, got text"),
    ({"setings": {"ltm": {}}}, "setings", "did you mean 'settings'?"),
    ({"agents": []}, "agents", "no settings of a lake found: expected settings.ltm, or backend"),
    # impossible together
    ({"backend": "sqlite", "storage": "a"}, "storage", "backend sqlite has no storage"),
    ({"backend": "ducklake", "path": "a", "storage": "b"}, "path", "cannot be combined with stor"),
    ({"backend": "sqlite", "catalog": "postgres"}, "catalog", "expected type sqlite with backend"),
    ({"backend": "postgres", "catalog": {"type": "postgress"}}, "catalog.type", "mean 'postgres'?"),
    (
        {"backend": "sqlalchemy", "catalog": {"type": "sqlalchemy", "url": "a", "pol_size": 3}},
        "catalog.pol_size",
        "unknown key: did you mean 'pool_size'?",
    ),
    ({"backend": "sqlalchemy", "catalog": {"type": "mysql"}}, "catalog.url", "is missing"),
    (
        {"backend": "sqlalchemy", "url": "a", "catalog": {"type": "sqlalchemy", "url": "b"}},
        "url",
        "cannot be combined with catalog.url",
    ),
    (
        {"backend": "postgres", "host": "h", "pool_size": 3, "max_size": 4},
        "pool_size",
        "cannot be combined with max_size",
    ),
    (
        {"backend": "postgres", "host": "h", "pool_size": 3, "min_size": 4},
        "pool_size",
        "expected min_size (4) or more",
    ),
    ({"backend": "postgres", "host": "h", "max_overflow": -1}, "max_overflow", "expected 0 or mo"),
    (
        {"storage": {"uri": "s3://b", "encryption": "SSE-S4"}},
        "storage.encryption",
        "must be one of sse-s3, sse-kms",
    ),
    ({"storage": "memory://x"}, "storage", "is lost when the process ends"),
    (
        {"storage": {"uri": "s3://b", "endpont_url": "http://h"}},
        "storage.endpont_url",
        "unknown option: did you mean 'endpoint_url'?",
    ),
    ({"storage": {"uri": "gs://b", "tokn": "k"}}, "storage.tokn", "did you mean 'token'?"),
    (
        {"storage": {"uri": "abfs://b", "acount_key": "k"}},
        "storage.acount_key",
        "did you mean 'account_key'?",
    ),
    (
        {"storage": {"uri": "az://b", "zzz": "k"}},
        "storage.zzz",
        "neither Lakebed nor the filesystem knows it",
    ),
    ({"storage": {"uri": "data", "key": "k"}}, "storage", "a local folder has no options"),
    (
        {"backend": "postgres", "host": "h", "min_size": 5, "max_size": 4},
        "max_size",
        "expected min_size (5) or more",
    ),
    ({"history_retention": 5}, "history_retention", "requires history: all"),
    ({"history": "all", "history_retention": 0}, "history_retention", "expected more than 0"),
    (
        {"backend": "postgres", "host": "h", "url": "postgresql://h"},
        "host",
        "cannot be combined with connection_string: give one of them",
    ),
    ({"backend": "sqlite", "path": "a", "url": "b"}, "url", "cannot be combined with path"),
]


@pytest.mark.parametrize(("settings", "path", "message"), WRONG, ids=lambda part: str(part)[:40])
def test_what_is_wrong(settings: dict[str, Any], path: str, message: str) -> None:
    found = refused(settings)
    assert path in found.paths
    assert message in found.text


def test_a_mapping_that_holds_itself() -> None:
    settings: dict[str, Any] = {"backend": "sqlite"}
    settings["path"] = {"a": [settings]}
    assert "nested too deeply" in refused(settings).text


def test_every_problem_is_told_with_its_place(write: Write) -> None:
    path = write(
        """
        settings:
          ltm:
            backend: duckdb
            catalog:
              type: postgres
              host: h
              pol_size: 3
            lazy: perhaps
            histroy: all
        """
    )
    found = refused(path)
    assert found.paths == [
        "settings.ltm.catalog.pol_size",
        "settings.ltm.lazy",
        "settings.ltm.histroy",
    ]
    for place in (f"{path}:8:7: ", f"{path}:9:5: ", f"{path}:10:5: "):
        assert place in found.text
