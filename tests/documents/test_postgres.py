"""What only Postgres has: its table, its types, its faults."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from lakebed.documents import PostgresMetadataStore, create_metadata_store
from lakebed.documents.postgres.conditions import Text
from lakebed.documents.query.query import read_query
from lakebed.errors import ConfigurationError
from lakebed.testing.documents import blocking
from lakebed.testing.documents.base import failed
from tests.servers import PASSWORD, PostgresServer


@pytest.fixture
def url(postgres_18: PostgresServer) -> str:
    return postgres_18.url(postgres_18.create_database())


@pytest.fixture(params=["postgres", "postgres_async"])
def store(url: str, request: pytest.FixtureRequest) -> Iterator[Any]:
    with blocking(create_metadata_store(request.param, url=url)) as store:
        yield store


def test_the_table_is_for_other_tools(url: str, store: Any) -> None:
    store.set_document("users", "ada", {"name": "Ada", "tags": ["a"], "n": 1e22})
    with psycopg.connect(url, autocommit=True) as connection:
        columns = connection.execute(
            "SELECT column_name, data_type FROM information_schema.columns "
            "WHERE table_name = 'lakebed_metadata' ORDER BY ordinal_position"
        ).fetchall()
        assert columns == [
            ("id", "bigint"), ("collection", "text"), ("doc_id", "text"), ("data", "jsonb"),
            ("created_at", "timestamp with time zone"), ("updated_at", "timestamp with time zone"),
        ]  # fmt: skip
        indexes = connection.execute(
            "SELECT indexdef FROM pg_indexes WHERE tablename = 'lakebed_metadata'"
        ).fetchall()
        text = "\n".join(one for (one,) in indexes)
        assert "gin (data" in text
        assert "gin (to_tsvector('english'::regconfig, data))" in text
        assert "UNIQUE INDEX" in text
        assert "(collection, doc_id)" in text
        found = connection.execute(
            'SELECT doc_id FROM lakebed_metadata WHERE data @> \'{"tags": ["a"]}\''
        ).fetchall()
        assert found == [("ada",)]
        connection.execute(
            "INSERT INTO lakebed_metadata (collection, doc_id, data) VALUES "
            "('users', 'bob', '{\"name\": \"Bob\", \"big\": 123456789012345678901234567890}')"
        )
        with pytest.raises(psycopg.errors.CheckViolation):
            connection.execute("UPDATE lakebed_metadata SET data = '[1]'")
    assert store.get_document("users", "bob")["data"]["big"] == 123456789012345678901234567890
    assert store.query("users", filters=[("name", ">", "B")])["count"] == 1
    created, updated = _times(url, "ada")
    store.update_document("users", "ada", {"n": 1})
    later = _times(url, "ada")
    assert later[0] == created
    assert later[1] > updated


def _times(url: str, doc_id: str) -> Any:
    with psycopg.connect(url) as connection:
        return connection.execute(
            "SELECT created_at, updated_at FROM lakebed_metadata WHERE doc_id = %s", (doc_id,)
        ).fetchone()


def test_queries_use_the_indexes(url: str) -> None:
    with create_metadata_store("postgres", url=url) as store:
        rows = [
            {"collection": "c", "doc_id": f"{i}", "data": {"n": i, "t": f"word{i}"}}
            for i in range(5000)
        ]
        assert store.batch_set(rows)["count"] == 5000
        backend = store._backend
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("ANALYZE lakebed_metadata")

            def plan(statement: Text) -> str:
                sql = f"EXPLAIN {statement.sql}"
                return str(connection.execute(sql, statement.params).fetchall())

            query = read_query("c", [("n", "==", 7)], None, 10, 0)
            assert "lakebed_metadata_data" in plan(backend.select(query))
            page = read_query("c", None, None, 10, 0)
            assert "lakebed_metadata_document" in plan(backend.select(page))
            for statement in backend.select_words(page, "word77 word78"):
                assert "lakebed_metadata_text" in plan(statement)


def test_many_migrate_at_once(url: str) -> None:
    def begin(number: int) -> Any:
        with create_metadata_store("postgres", url=url) as store:
            return store.set_document("c", str(number), {})

    with ThreadPoolExecutor(6) as pool:
        assert [one for one in pool.map(begin, range(6)) if not one["success"]] == []


def test_tables_of_others_are_left_alone(url: str) -> None:
    with create_metadata_store("postgres", url=url, auto_migrate=False) as store:
        assert "auto_migrate" in failed(store.get_document("c", "a"), "configuration_error")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE lakebed_metadata (a int)")
    with create_metadata_store("postgres", url=url) as store:
        assert "not made for documents" in failed(
            store.get_document("c", "a"), "configuration_error"
        )
    with create_metadata_store("postgres", url=url, schema='odd "name"') as store:
        assert store.set_document("c", "a", {})["success"]
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            'COMMENT ON TABLE "odd ""name""".lakebed_metadata IS '
            "'Documents of Lakebed, schema 99'"
        )
    with create_metadata_store("postgres", url=url, schema='odd "name"') as store:
        assert "newer" in failed(store.get_document("c", "a"), "catalog_error")


def test_on_postgres_15_and_behind_pgbouncer(postgres_15: PostgresServer, pgbouncer: str) -> None:
    for options in ({"url": postgres_15.url()}, {"url": pgbouncer, "pgbouncer": True}):
        for kind in ("postgres", "postgres_async"):
            with blocking(create_metadata_store(kind, **options)) as store:
                for _ in range(12):  # prepared statements would begin here
                    assert store.set_document("c", "a", {"n": 1})["success"]
                store.update_document("c", "a", {"n": store.increment(1)})
                assert store.run_transaction(lambda tx: tx.get_document("c", "a"))["success"]
                assert store.get_document("c", "a")["data"] == {"n": 2}


@pytest.mark.parametrize(
    "options",
    [{"pool_size": 0}, {"pool_size": "5"}, {"max_overflow": -1}, {"timeout": 0}, {"schema": ""},
     {"schema": "x" * 64}, {"auto_migrate": "no"}, {"pgbouncer": 1}, {"statement_timeout": True},
     {"wrong": 1}, {"host": "h"}, {"url": "mysql://h/db"}, {"url": 5}, {"async": "yes"}],
    ids=repr,
)  # fmt: skip
def test_malformed_options(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        create_metadata_store("postgres", **({"url": "postgresql://h/db"} | options))


def test_the_address_in_parts_and_in_the_environment(
    postgres_18: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = postgres_18.create_database()
    parts = {"host": "127.0.0.1", "port": postgres_18.port, "user": "postgres",
             "password": PASSWORD, "database": database}  # fmt: skip
    with create_metadata_store("postgres", **parts) as store:
        assert store.set_document("c", "a", {})["created"] is True
    url = postgres_18.url(database, tcp=True)
    with create_metadata_store("postgres", connection_string=url) as store:
        assert store.document_exists("c", "a")["exists"] is True
    monkeypatch.setenv("DATABASE_URL", url.replace("postgresql://", "postgresql+psycopg://"))
    with PostgresMetadataStore() as store:
        assert store.document_exists("c", "a")["exists"] is True


@pytest.mark.parametrize("kind", ["postgres", "postgres_async"])
def test_no_secret_is_shown(
    kind: str, postgres_18: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    canary = "c4n4ry-p4ssw0rd"
    url = postgres_18.url(tcp=True).replace(PASSWORD, canary)
    shown = []
    with blocking(create_metadata_store(kind, url=url, timeout=3.0)) as store:
        for result in (
            store.get_document("c", "a"),
            store.run_transaction(lambda tx: tx.get_document("c", "a")),
        ):
            failed(result, "auth_failed")
            shown.append(json.dumps(result))
        shown += [repr(store), repr(store.documents), str(store)]
    with pytest.raises(ConfigurationError) as wrong:
        create_metadata_store(kind, url=f"postgresql://u:{canary}@x@h/db?nonsense")
    shown += [str(wrong.value), repr(wrong.value), caplog.text]
    assert not [text for text in shown if canary in text]


@pytest.mark.parametrize("kind", ["postgres", "postgres_async"])
def test_a_server_that_is_killed(kind: str, private_postgres: PostgresServer) -> None:
    """In the middle of transactions. What was acknowledged is there, once; nothing hangs.

    A writer cannot know of a commit without an answer, if the other writer has replaced its row.
    """
    server = private_postgres
    with blocking(create_metadata_store(kind, url=server.url(), timeout=60.0)) as store:
        store.set_document("c", "n", {"n": 0})
        inside, killed = threading.Event(), threading.Event()
        runs: list[int] = []

        def work(tx: Any) -> int:
            n: int = tx.get_document("c", "n")["data"]["n"]
            runs.append(n)
            if len(runs) == 1:
                inside.set()
                assert killed.wait(30)
            tx.set_document("c", "n", {"n": n + 1})
            return n

        def increments() -> tuple[int, int]:
            done = unknown = 0
            while not killed.is_set() or done < 20:
                result = store.update_document("c", "direct", {"n": store.increment(1)})
                if not result["success"]:
                    told = failed(result, "connection_error")
                    assert told.count("it is unknown whether it happened") == 1
                    unknown += 1
                else:
                    done += 1
            return done, unknown

        store.set_document("c", "direct", {"n": 0})
        with ThreadPoolExecutor(3) as pool:
            transaction = pool.submit(store.run_transaction, work)
            direct = [pool.submit(increments) for _ in range(2)]
            assert inside.wait(30)
            time.sleep(0.2)
            server.kill()
            killed.set()
            time.sleep(0.2)
            server.start()
            assert transaction.result(120) == {"success": True, "result": 0}
            done, unknown = map(sum, zip(*(future.result(120) for future in direct), strict=True))
        assert runs[:1] == [0]
        assert len(runs) > 1
        assert store.get_document("c", "n")["data"] == {"n": 1}
        assert unknown <= 2  # the commits that were under way
        assert done <= store.get_document("c", "direct")["data"]["n"] <= done + unknown


def test_text_that_the_index_cannot_hold_is_an_error(store: Any) -> None:
    many = " ".join(f"aa{i:x}-bb{i:x}" for i in range(60_000))
    result = store.set_document("c", "a", {"text": many})
    assert "text" in failed(result, "validation_error")
    assert store.document_exists("c", "a")["exists"] is False


def test_a_lake_beside_it(url: str, store: Any) -> None:
    store.set_document("c", "a", {"n": 1})
    with create_metadata_store("lake", catalog=url) as lake:
        assert lake.count("c")["count"] == 0
        lake.set_document("c", "a", {"n": 2})
    assert store.get_document("c", "a")["data"] == {"n": 1}
