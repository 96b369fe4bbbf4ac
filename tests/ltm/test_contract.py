"""Every registered backend passes the contract; and the contract notices what is wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from secrets import token_hex

import pytest

from lakebed.ltm import LTMBackend, create_ltm_backend, get_registered_backends
from lakebed.testing import LTMContract
from tests.servers import MariaDBServer, PostgresServer, mariadb, postgres_18

__all__ = ["mariadb", "postgres_18"]


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


class TestSQLAlchemyOnMariaDB(LTMContract):
    @pytest.fixture(autouse=True)
    def _database(self, mariadb: MariaDBServer) -> None:
        self.url = mariadb.url(f"t_{token_hex(6)}")

    def make_backend(self, folder: Path) -> LTMBackend:  # noqa: ARG002
        return create_ltm_backend("sqlalchemy", url=self.url, lazy=True)


def test_all_backends_are_tested() -> None:
    tested = {"sqlite", "duckdb", "ducklake", "postgres", "sqlalchemy"}
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
        text=True,
        capture_output=True,
        check=False,
    )
    assert ran.returncode == 1, ran.stdout
    assert "AssertionError" in ran.stdout or "assert " in ran.stdout
