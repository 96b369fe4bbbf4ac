"""Every registered backend passes the contract; and the contract notices what is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from secrets import token_hex

import pytest

from lakebed.ltm import LTMBackend, create_ltm_backend, get_registered_backends
from lakebed.testing import LTMContract
from tests.servers import MariaDBServer, PostgresServer
from tests.services.d1 import D1Server
from tests.services.dynamodb import DynamoDBServer
from tests.services.firestore import FirestoreServer
from tests.services.mongodb import MongoDBServer
from tests.services.redis import RedisServer
from tests.services.sqld import SqldNamespaces


class TestSQLite(LTMContract):
    def make_backend(self, folder: Path) -> LTMBackend:
        return create_ltm_backend("sqlite", path=folder / "memory.db")


class TestSQLiteInMemory(LTMContract):
    def make_backend(self, folder: Path) -> LTMBackend:  # noqa: ARG002
        return create_ltm_backend(path=":memory:")


class TestDuckDB(LTMContract):
    def make_backend(self, folder: Path) -> LTMBackend:
        return create_ltm_backend(
            "duckdb", catalog=f"sqlite:///{folder}/names.db", storage=folder / "contents"
        )


class TestDuckLake(LTMContract):
    def make_backend(self, folder: Path) -> LTMBackend:
        return create_ltm_backend("ducklake", path=folder / "lake", lazy=True)


class OnPostgres(LTMContract):
    @pytest.fixture(autouse=True)
    def _database(self, postgres_18: PostgresServer) -> None:
        self.url = postgres_18.url()
        self.schema = f"t_{token_hex(6)}"


class TestPostgres(OnPostgres):
    def make_backend(self, folder: Path) -> LTMBackend:  # noqa: ARG002
        return create_ltm_backend("postgres", connection_string=self.url, schema=self.schema)


class TestDuckDBOnPostgres(OnPostgres):
    def make_backend(self, folder: Path) -> LTMBackend:
        catalog = {"type": "postgres", "url": self.url, "schema": self.schema}
        return create_ltm_backend("duckdb", catalog=catalog, storage=folder / "contents")


class TestSQLAlchemyOnSQLite(LTMContract):
    def make_backend(self, folder: Path) -> LTMBackend:
        return create_ltm_backend("sqlalchemy", url=f"sqlite:///{folder}/memory.db")


class TestSQLAlchemyOnPostgres(OnPostgres):
    def make_backend(self, folder: Path) -> LTMBackend:  # noqa: ARG002
        return create_ltm_backend("sqlalchemy", url=self.url, schema=self.schema)


class TestLitestream(LTMContract):
    def make_backend(self, folder: Path) -> LTMBackend:
        return create_ltm_backend(
            "litestream", path=folder / "memory.db", replica=folder / "replica", fence_ttl=5
        )


class TestTurso(LTMContract):
    @pytest.fixture(autouse=True)
    def _database(self, sqld: SqldNamespaces) -> None:
        self.url = sqld.create_database()

    def make_backend(self, folder: Path) -> LTMBackend:  # noqa: ARG002
        return create_ltm_backend("turso", url=self.url, lazy=True)


class TestSQLAlchemyOnMariaDB(LTMContract):
    @pytest.fixture(autouse=True)
    def _database(self, mariadb: MariaDBServer) -> None:
        self.url = mariadb.url(f"t_{token_hex(6)}")

    def make_backend(self, folder: Path) -> LTMBackend:  # noqa: ARG002
        return create_ltm_backend("sqlalchemy", url=self.url, lazy=True)


@pytest.mark.usefixtures("in_aws")
class TestDynamoDB(LTMContract):
    @pytest.fixture(autouse=True)
    def _table(self, dynamodb: DynamoDBServer) -> None:
        self.options = {"table": dynamodb.new_name(), "endpoint_url": dynamodb.endpoint_url}

    def make_backend(self, folder: Path) -> LTMBackend:  # noqa: ARG002
        return create_ltm_backend("dynamodb", **self.options)


@pytest.mark.usefixtures("in_firestore")
class TestFirestore(LTMContract):
    @pytest.fixture(autouse=True)
    def _project(self, firestore: FirestoreServer) -> None:
        self.project = firestore.create_project()

    def make_backend(self, folder: Path) -> LTMBackend:  # noqa: ARG002
        return create_ltm_backend("firestore", collection="agent_memory", project=self.project)


class TestMongoDB(LTMContract):
    @pytest.fixture(autouse=True)
    def _database(self, mongodb: MongoDBServer) -> None:
        self.url = mongodb.url(mongodb.create_database())

    def make_backend(self, folder: Path) -> LTMBackend:  # noqa: ARG002
        return create_ltm_backend("mongodb", url=self.url)


class TestD1(LTMContract):
    @pytest.fixture(autouse=True)
    def _database(self, d1: D1Server) -> None:
        self.options = {
            "account_id": d1.account_id,
            "database_id": d1.create_database(),
            "api_token": d1.api_token,
            "endpoint_url": d1.endpoint_url,
        }

    def make_backend(self, folder: Path) -> LTMBackend:  # noqa: ARG002
        return create_ltm_backend("d1", **self.options, lazy=True)


class TestRedis(LTMContract):
    @pytest.fixture(autouse=True)
    def _prefix(self, redis_server: RedisServer) -> None:
        self.options = {"url": redis_server.url(), "prefix": redis_server.create_prefix()}

    def make_backend(self, folder: Path) -> LTMBackend:  # noqa: ARG002
        return create_ltm_backend("redis", **self.options)


class TestBucket(LTMContract):
    def make_backend(self, folder: Path) -> LTMBackend:
        return create_ltm_backend("bucket", uri=folder / "log")


class TestBlobSQLite(LTMContract):
    def make_backend(self, folder: Path) -> LTMBackend:
        return create_ltm_backend("blob-sqlite", blob_uri=folder / "log")


def test_all_backends_are_tested() -> None:
    tested = {"sqlite", "duckdb", "ducklake", "postgres", "sqlalchemy", "turso", "litestream"}
    tested |= {"dynamodb", "firestore", "mongodb", "d1", "redis", "bucket", "blob-sqlite"}
    assert set(get_registered_backends()) == tested


BROKEN = {
    "an expiry that nobody reads": (
        "adapter.expiry_of = lambda *_: (None, None)",
        "test_expiry_in_metadata",
    ),
    "a total after the limit": (
        "search = LTMBackend.search\n"
        "def counted(*a, **k):\n"
        "    result = search(*a, **k)\n"
        "    return result | {'total': result.get('count')}\n"
        "LTMBackend.search = counted",
        "test_search_total",
    ),
    "a transaction that drops what was refused": (
        "transactions.LTMTransaction._refused = property(lambda s: None, lambda s, e: None)",
        "test_a_transaction_with_a_refused_change",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_it_notices(tmp_path: Path, name: str) -> None:
    patch, test = BROKEN[name]
    (tmp_path / "test_it.py").write_text(
        "from lakebed.ltm import LTMBackend, adapter, create_ltm_backend, transactions\n"
        "from lakebed.testing import LTMContract\n"
        f"{patch}\n"
        "class TestIt(LTMContract):\n"
        "    def make_backend(self, folder):\n"
        "        return create_ltm_backend('sqlite', path=':memory:')\n"
    )
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", test],
        cwd=tmp_path,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},  # loading all takes longer
        text=True,
        capture_output=True,
        check=False,
    )
    assert ran.returncode == 1, ran.stdout
    assert "AssertionError" in ran.stdout or "assert " in ran.stdout
