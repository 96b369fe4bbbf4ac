"""What documents of the engine configure, in nested and in flat words."""

from __future__ import annotations

import asyncio
import logging
import secrets
from pathlib import Path
from typing import Any

import pytest

from lakebed.documents import AsyncPostgresMetadataStore, PostgresMetadataStore
from lakebed.engine import YAMLEngine
from lakebed.errors import CatalogError, ConfigurationError, ValidationError
from tests.engine.conftest import Write, refused
from tests.servers import PostgresServer, S3Server
from tests.services.mongodb import MongoDBServer


def test_one_file_for_all(write: Write, folder: Path) -> None:
    path = write(
        """
        name: support-agent
        settings:
          ltm:
            backend: duckdb
            storage: memory
          backends:
            metadata:
              type: lake
              path: documents
            blob:
              type: local
              root: files
          sessions:
            backend: json
            path: sessions
        """
    )
    with YAMLEngine.from_file(path) as engine:
        assert sorted(each.name for each in folder.iterdir()) == ["agent.yaml"]  # nothing is open
        assert engine.ltm.store("k", "x" * 10_000)["success"]
        assert engine.ltm is engine.ltm
        assert engine.metadata.set_document("users", "ada", {"n": 1})["success"]
        assert engine.blobs.upload("a/b.txt", "hello")["success"]
        assert engine.sessions.create_session("Plan", ["ada"]).title == "Plan"
        memory = engine.ltm
    assert (folder / "files" / "a" / "b.txt").read_text() == "hello"
    for name in ("memory", "documents", "sessions"):
        assert (folder / name).is_dir()
    assert memory.retrieve("k")["error_type"] == "catalog_error"  # closed together
    with pytest.raises(CatalogError, match="the engine is closed"):
        assert engine.blobs


def test_only_what_is_used_is_opened(folder: Path) -> None:
    nowhere = "postgresql://ada:CANARY@127.0.0.1:1/d"
    with YAMLEngine(
        {
            "settings": {
                "ltm": {"backend": "sqlite"},
                "backends": {"metadata": {"type": "postgres", "url": nowhere, "timeout": 1}},
            }
        }
    ) as engine:
        assert engine.ltm.store("k", 1)["success"]
        found = engine.metadata.get_document("users", "ada")
        assert found["error_type"] == "connection_error"
        assert "CANARY" not in str(found) + repr(engine)
    assert [each.name for each in folder.iterdir()] == ["lakebed.db"]


def test_sessions_in_the_lake_of_the_memory() -> None:
    with YAMLEngine(ltm_backend="sqlite", ltm_path=":memory:") as engine:
        session = engine.sessions.create_session("Plan", ["ada"])
        assert any(session.id in key for key in engine.lake)


def flat(postgres: PostgresServer, s3: S3Server, bucket: str, database: str) -> dict[str, Any]:
    options = s3.storage("s3://b")
    return {
        "ltm_backend": "postgres",
        "metadata_backend_type": "postgres",
        "postgres_url": postgres.url(database),
        "postgres_pool_size": 2,
        "postgres_pool_max_overflow": 1,
        "postgres_async": False,
        "blob_backend_type": "s3",
        "s3_bucket": bucket,
        "s3_region": "us-east-1",
        "s3_endpoint_url": s3.endpoint_url,
        "s3_access_key": options["key"],
        "s3_secret_key": options["secret"],
    }


@pytest.mark.parametrize("where", ["words", "root", "settings"])
def test_flat_words(where: str, postgres_18: PostgresServer, s3: S3Server) -> None:
    bucket, database = s3.create_bucket(), postgres_18.create_database()
    words = flat(postgres_18, s3, bucket, database)
    engine = {
        "words": lambda: YAMLEngine(**words),
        "root": lambda: YAMLEngine(words),
        "settings": lambda: YAMLEngine({"settings": words}),
    }[where]()
    with engine:
        assert engine.ltm.store("k", 1)["success"]
        assert isinstance(engine.metadata, PostgresMetadataStore)
        assert engine.metadata.set_document("users", "ada", {"n": 1})["success"]
        assert engine.blobs.upload("a.txt", "hello")["success"]
        assert engine.blobs.download("a.txt")["content"] == b"hello"
    rows = postgres_18.execute("SELECT doc_id FROM lakebed_metadata", database)
    assert rows == [("ada",)]
    rows = postgres_18.execute("SELECT key FROM lakebed.entry", database)
    assert rows == [("k",)]


@pytest.mark.parametrize("kind", ["turso", "redis", "mongodb", "blob-sqlite"])
def test_flat_words_of_memories(kind: str, request: pytest.FixtureRequest, folder: Path) -> None:
    words: dict[str, Any] = {"ltm_backend": kind}
    if kind == "turso":
        words |= {"ltm_url": request.getfixturevalue("sqld").create_database()}
        words |= {"ltm_auth_token": "of-nobody"}
    elif kind == "redis":
        words["ltm_url"] = request.getfixturevalue("redis_server").url()
    elif kind == "mongodb":
        server = request.getfixturevalue("mongodb")
        words["ltm_url"] = server.url(server.create_database())
    else:
        words |= {"ltm_blob_uri": str(folder / "blob"), "ltm_lock_backend": "none"}
        words["ltm_lock_ttl"] = 60
    steps = [
        {"uses": "ltm.store", "with": {"key": "k", "value": "{{ input.v }}"}},
        {"uses": "lake.snapshot", "with": {"name": "s"}},
        {"uses": "ltm.delete", "with": {"key": "k"}},
        {"uses": "lake.diff", "with": {"a": "s"}, "as": "diff"},
    ]
    with YAMLEngine(**words, steps=steps) as engine:
        assert engine.run({"v": [1]})["diff"]["removed"] == ["k"]
        assert engine.metadata.set_document("users", "ada", {"n": 1})["success"]
    with YAMLEngine(**words) as engine:
        assert engine.metadata.get_document("users", "ada")["data"] == {"n": 1}


def test_documents_and_memory_in_one_mongodb(
    mongodb: MongoDBServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are chosen from the environment, and do not meet."""
    monkeypatch.setenv("MONGODB_URL", mongodb.url(mongodb.create_database()))
    for _ in range(2):
        with YAMLEngine() as engine:
            assert engine.ltm.store("k", 1)["success"]
            assert engine.metadata.set_document("users", "ada", {"n": 1})["success"]
            assert engine.metadata.count("users")["count"] == 1
            assert list(engine.lake) == ["k"]
    with YAMLEngine(metadata_backend_type="mongodb") as engine:
        assert engine.metadata.get_document("users", "ada")["data"] == {"n": 1}


def test_async_documents(postgres_18: PostgresServer) -> None:
    url = postgres_18.url(postgres_18.create_database())
    words = {"metadata_backend_type": "postgres", "postgres_url": url, "postgres_async": True}

    async def use() -> None:
        async with YAMLEngine(ltm_backend="sqlite", ltm_path=":memory:", **words) as engine:
            assert isinstance(engine.metadata, AsyncPostgresMetadataStore)
            assert (await engine.metadata.set_document("users", "ada", {}))["created"]
            assert engine.ltm.store("k", 1)["success"]

    asyncio.run(use())
    steps = [{"uses": "metadata.count", "with": {"collection": "a"}}]
    named = {"backends": {"metadata": {"type": "postgres_async", "url": url}}}
    for engine in (YAMLEngine(**words, steps=steps), YAMLEngine(settings=named, steps=steps)):
        with pytest.raises(ConfigurationError, match="async: steps do not await"):
            engine.run({})
    assert engine.metadata
    with pytest.raises(ValidationError, match="await aclose"):
        engine.close()


def test_nested_words_of_postgres_and_s3(
    postgres_18: PostgresServer, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = s3.storage("s3://b")
    monkeypatch.setenv("DB_URL", postgres_18.url(postgres_18.create_database()))
    monkeypatch.setenv("POOL", "3")
    monkeypatch.setenv("S3_SECRET", options["secret"])
    settings = {
        "ltm": {"backend": "sqlite", "path": ":memory:", "secrets": {"source": "env"}},
        "backends": {
            "metadata": {
                "type": "postgres",
                "url": "${DB_URL}",
                "pool_size": "${POOL}",
                "async": False,
                "schema": f"s{secrets.token_hex(4)}",
            },
            "blob": {
                "type": "s3",
                "bucket": s3.create_bucket(),
                "region": "us-east-1",
                "endpoint_url": s3.endpoint_url,
                "encryption": "SSE-S3",
                "access_key": options["key"],
                "secret_key": "{{ secrets.s3_secret }}",
            },
        },
    }
    with YAMLEngine(settings=settings) as engine:
        assert engine.metadata.count("users") == {"success": True, "count": 0}
        assert engine.blobs.upload("a.txt", "hello")["success"]
        assert engine.blobs.info("a.txt")["encryption"] == "AES256"


WRONG = [
    ({"settings": {"backend": {}}}, {}, "settings.backend: unknown key: did you mean 'backends'?"),
    (
        {"settings": {"backends": {"metdata": {}}}},
        {},
        "metdata: unknown key: did you mean",
    ),
    ({"settings": {"backends": []}}, {}, "settings.backends: expected a mapping, got a list"),
    ({"settings": {"backends": {"blob": {}}}}, {}, "settings.backends.blob.type: is missing"),
    (
        {"settings": {"backends": {"blob": {"type": "locl"}}}},
        {},
        "settings.backends.blob.type: is 'locl': did you mean 'local'?",
    ),
    (
        {"settings": {"backends": {"blob": {"type": "local", "rot": "a"}}}},
        {},
        "settings.backends.blob.rot: unknown key: did you mean 'root'?",
    ),
    (
        {"settings": {"backends": {"blob": {"type": "s3", "bucket": "b", "regoin": "a"}}}},
        {},
        "settings.backends.blob.regoin: unknown option: did you mean 'region'?",
    ),
    (
        {"settings": {"backends": {"blob": {"type": "s3", "bucket": "b", "encryption": "no"}}}},
        {},
        "settings.backends.blob.encryption: must be one of sse-s3, sse-kms",
    ),
    (
        {"settings": {"backends": {"metadata": {"type": "postgres", "url": "h", "poolsize": 1}}}},
        {},
        "settings.backends.metadata.poolsize: unknown key: did you mean 'pool_size'?",
    ),
    (
        {"settings": {"backends": {"metadata": {"type": "postgres", "host": "h", "port": "x"}}}},
        {},
        "settings.backends.metadata.port: expected a whole number",
    ),
    (
        {"settings": {"ltm": {"backend": "sqlite", "pth": "a"}}},
        {},
        "settings.ltm.pth: unknown key: did you mean 'path'?",
    ),
    ({}, {"ltm_bakend": "sqlite"}, "ltm_bakend: unknown key: did you mean 'ltm_backend'?"),
    ({"ltm_bakend": "sqlite"}, {}, "ltm_bakend: unknown key: did you mean 'ltm_backend'?"),
    ({}, {"ltm_backend": "sqlte"}, "ltm_backend: unknown backend 'sqlte': did you mean 'sqlite'?"),
    (
        {"settings": {"ltm_backend": "sqlite", "ltm_url": 5}},
        {},
        "settings.ltm_url: expected text",
    ),
    (
        {"ltm_backend": "postgres", "postgres_url": 5},
        {},
        "postgres_url: expected text",
    ),
    ({}, {"ltm_backend": "sqlite", "ltm_collection": "a"}, "ltm_collection: "),
    ({}, {"blob_backend_type": "s3"}, "bucket: is missing"),
    (
        {},
        {"blob_backend_type": "local", "s3_bucket": "b"},
        "s3_bucket: is an option of blob",
    ),
    ({}, {"metadata_backend_type": "lake", "postgres_url": "a"}, "postgres_url: is an option of m"),
    ({}, {"postgres_pool_size": 0, "postgres_url": "postgresql://h"}, "postgres_pool_size: expect"),
    (
        {"ltm_path": "a"},
        {"settings": {"ltm_url": "b"}},
        "is misplaced: the other flat words are under",
    ),
    (
        {"settings": {"ltm": {"backend": "sqlite"}, "ltm_path": "b"}},
        {},
        "settings: ltm cannot be combined with flat words for the same: give one of them",
    ),
    ({"env": "HOME"}, {}, "env: expected a list of names"),
]


@pytest.mark.parametrize(("document", "words", "message"), WRONG, ids=lambda part: str(part)[:40])
def test_what_is_wrong(document: Any, words: dict[str, Any], message: str) -> None:
    told = refused(document, **words)
    assert message in told
    assert "CANARY" not in told


def test_places_in_errors(write: Write) -> None:
    path = write(
        """
        settings:
          backends:
            blob:
              type: local
              rot: files
        steps:
          - uses: ltm.retrieve
            with:
              kee: a
        """
    )
    assert refused(path) == (
        f"{path}:6:7: settings.backends.blob.rot: unknown key: did you mean 'root'?"
    )
    path = write("ltm_backend: sqlite\nltm_pth: a\n", "flat.yaml")
    assert refused(path) == f"{path}:2:1: ltm_pth: unknown key: did you mean 'ltm_path'?"
    path = write("steps:\n  - uses: ltm.retrieve\n    with:\n      kee: a\n", "steps.yaml")
    assert refused(path).startswith(
        f"{path}:4:7: steps[0].with.kee: unknown argument: did you mean 'key'?"
    )


def test_auto(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, folder: Path,
    postgres_18: PostgresServer,
) -> None:  # fmt: skip
    caplog.set_level(logging.INFO, "lakebed")
    with YAMLEngine() as engine:
        assert engine.ltm.store("k", 1)["success"]
        assert engine.metadata.set_document("users", "ada", {})["success"]
        assert engine.blobs.upload("a.txt", "x")["success"]
    told = [message for message in caplog.messages if "auto: " in message]
    assert len(told) == 3
    assert told[0].startswith("backend auto: chose ducklake, because neither DATABASE_URL")
    assert told[1].startswith("metadata auto: chose lake, because none of DATABASE_URL")
    assert told[2].startswith("blob auto: chose local, because none of S3_BUCKET")
    assert {each.name for each in folder.iterdir()} == {"lakebed", "blobs"}
    caplog.clear()
    url = postgres_18.url(postgres_18.create_database(), tcp=True)
    monkeypatch.setenv("DATABASE_URL", url)
    with YAMLEngine() as engine:
        assert engine.ltm.store("k", 1)["success"]
        assert engine.metadata.set_document("users", "ada", {})["success"]
    told = [message for message in caplog.messages if "auto: " in message]
    assert "backend auto: chose postgres" in told[0]
    assert "metadata auto: chose postgres at postgresql://postgres:***@127.0.0.1" in told[1]
    assert "because DATABASE_URL is set" in told[1]
    assert "s3cret" not in caplog.text
