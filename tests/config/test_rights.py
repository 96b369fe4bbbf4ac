"""The rights that the guide gives are enough, and no more than it says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest

import lakebed
from lakebed.errors import StorageError
from tests.servers import PASSWORD, PostgresServer

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "postgres-self-hosted.md"


class Roles(NamedTuple):
    """The guide's two roles on a database of the test's own."""

    server: PostgresServer
    database: str
    grants: str

    def open(self, role: str, **options: Any) -> lakebed.Lake:
        url = self.server.url(self.database, user=role, tcp=True)
        return lakebed.open({"backend": "postgres", "url": url, **options})


@pytest.fixture
def roles(postgres_18: PostgresServer) -> Iterator[Roles]:
    database = postgres_18.create_database()
    text = GUIDE.read_text("utf-8")
    as_administrator, as_owner = re.findall(r"^```sql\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    begin = as_administrator.replace("DATABASE memory", f"DATABASE {database}")
    begin = begin.replace("change me too", PASSWORD).replace("change me", PASSWORD)
    postgres_18.execute(begin)
    yield Roles(postgres_18, database, as_owner)
    postgres_18.execute(f"DROP DATABASE {database} WITH (FORCE)")
    postgres_18.execute("DROP ROLE memory_app; DROP ROLE memory_owner")


def test_the_least_rights(roles: Roles) -> None:
    roles.open("memory_owner").close()
    owner = roles.server.url(roles.database, user="memory_owner", tcp=True)
    with psycopg.connect(owner, autocommit=True) as connection:
        connection.execute(roles.grants.encode())
    with roles.open("memory_app", auto_migrate=False) as lake:
        lake.store("a", {"text": "what a memory is"}, {"n": 1})
        lake.store_batch([{"key": f"b{i}", "value": i, "metadata": {"n": i}} for i in range(500)])
        with lake.transaction() as tx:
            tx.store("c", 1)
            tx.delete("b0")
        assert [hit.key for hit in lake.search("memory")] == ["a"]
        assert len(list(lake.list(metadata_filter={"n": {"$gt": 497}}))) == 2
        lake.create_snapshot("one")
        lake.store("a", 2)
        assert [change.key for change in lake.diff("one").changed] == ["a"]
        lake.restore("one")
        lake.purge("c")
        lake.maintain()
        assert not lake.verify().problems
    app = roles.server.url(roles.database, user="memory_app", tcp=True)
    with psycopg.connect(app, autocommit=True) as connection:
        for refused in (
            "CREATE SCHEMA more",
            "CREATE TABLE lakebed.more (a int)",
            "DROP TABLE lakebed.entry",
            "TRUNCATE lakebed.entry",
            "ALTER TABLE lakebed.entry ADD COLUMN more int",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(refused.encode())


def test_without_the_grants(roles: Roles) -> None:
    roles.open("memory_owner").close()
    with pytest.raises(StorageError, match="lacks a right"):
        roles.open("memory_app", auto_migrate=False)
    other = f"o_{roles.database}"
    roles.server.execute(f"CREATE ROLE {other} LOGIN PASSWORD '{PASSWORD}'")
    url = roles.server.url(roles.database, user=other, tcp=True)
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(url)
    roles.server.execute(f"DROP ROLE {other}")
