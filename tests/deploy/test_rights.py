"""What the roles of docs/deploy may do is enough for their work, and no more."""

from __future__ import annotations

import json
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

import lakebed
from lakebed.errors import StorageError
from tests.buckets import GuardedS3
from tests.servers import PostgresServer

DEPLOY = Path(__file__).parents[2] / "docs" / "deploy"
LARGE = "text " * 2000


class Roles:
    """The roles of roles.sql, under names of the test's own, in its own database."""

    def __init__(self, server: PostgresServer) -> None:
        self.server = server
        self.prefix = f"t{secrets.token_hex(4)}"
        self.database = server.create_database()
        script = (DEPLOY / "postgres" / "roles.sql").read_text()
        self.script = script.replace("lake_", f"{self.prefix}_")
        self.members: list[str] = []

    def run(self) -> None:
        """As an administrator of a managed server, who is no superuser."""
        name = self.member("administrator", "CREATEROLE")
        self.server.execute(f"ALTER DATABASE {self.database} OWNER TO {name}")
        for _ in range(2):  # it can be run again
            subprocess.run(
                [
                    self.server.binaries / "psql", "--quiet", "--no-psqlrc", "--variable",
                    f"database={self.database}", "--file", "-",
                    self.server.url(self.database, user=name),
                ],
                input=self.script, text=True, check=True, capture_output=True,
            )  # fmt: skip

    def member(self, name: str, options: str = "") -> str:
        made = f"{self.prefix}_{name}"
        if made not in self.members:
            self.server.execute(f"CREATE ROLE {made} LOGIN {options}")
            self.members.append(made)
        return made

    def options(self, role: str, **more: Any) -> dict[str, Any]:
        url = self.server.url(self.database, user=f"{self.prefix}_{role}")
        return {"type": "postgres", "connection_string": url, **more}

    def drop(self) -> None:
        self.server.execute(f"DROP DATABASE {self.database} WITH (FORCE)")
        roles = [f"{self.prefix}_{name}" for name in ("owner", "writer", "reader")]
        for role in [*roles, *self.members]:
            self.server.execute(f"DROP ROLE IF EXISTS {role}")


@pytest.fixture
def roles(postgres_18: PostgresServer) -> Iterator[Roles]:
    made = Roles(postgres_18)
    made.run()
    yield made
    made.drop()


def test_the_roles_of_postgres(roles: Roles) -> None:
    lakebed.open(catalog=roles.options("owner")).close()
    with lakebed.open(catalog=roles.options("writer", auto_migrate=False)) as lake:
        lake.store("a", "what a memory is", {"n": 1})
        lake.store_batch([{"key": f"b{n}", "value": n, "metadata": {"n": n}} for n in range(300)])
        lake.create_snapshot("one")
        lake.delete("b0")
        assert [hit.key for hit in lake.search("memory")] == ["a"]
        lake.maintain()
        assert not lake.verify().problems
    with lakebed.open(catalog=roles.options("reader"), read_only=True) as lake:
        assert lake["a"] == "what a memory is"
        assert [hit.key for hit in lake.search("memory")] == ["a"]
        assert len(list(lake.list(metadata_filter={"n": {"$gt": 297}}))) == 2
        assert [entry.key for entry in lake.diff("one").removed] == ["b0"]
        assert lake.sql("SELECT count(*) AS n FROM entries").fetchall() == [(300,)]
    with lakebed.open(catalog=roles.options("reader", auto_migrate=False)) as lake:
        with pytest.raises(StorageError, match="lacks a right"):
            lake["a"] = 2
        assert lake["a"] == "what a memory is"
    url = roles.server.url(roles.database, user=f"{roles.prefix}_writer")
    with psycopg.connect(url, autocommit=True) as connection:
        for refused in ("CREATE TABLE lakebed.t (a int)", "DROP TABLE lakebed.entry",
                        "TRUNCATE lakebed.entry", "CREATE SCHEMA more"):  # fmt: skip
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(refused.encode())


def test_an_identity_of_a_cloud_that_is_a_member(roles: Roles) -> None:
    """What its owner makes belongs to lake_owner, so that the others may use it."""
    owner, writer = roles.member("a"), roles.member("b")
    roles.server.execute(f"GRANT {roles.prefix}_owner TO {owner}")
    roles.server.execute(f"GRANT {roles.prefix}_writer TO {writer}")
    roles.server.execute(f"ALTER ROLE {owner} SET role = '{roles.prefix}_owner'")
    lakebed.open(catalog=roles.options("a")).close()
    with lakebed.open(catalog=roles.options("b", auto_migrate=False)) as lake:
        lake["a"] = 1
    (found,) = roles.server.execute(
        "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'lakebed'", roles.database
    )
    assert found == (f"{roles.prefix}_owner",)


def test_the_policies_of_the_bucket(guarded_s3: GuardedS3, tmp_path: Path) -> None:
    bucket = guarded_s3.create_bucket()

    def lake(role: str, root: str = "production", **options: Any) -> lakebed.Lake:
        text = (DEPLOY / "aws" / f"{role}.json").read_text()
        policy = json.loads(text.replace("my-agents", bucket))
        for statement in policy["Statement"]:
            if "s3:DeleteObject" in statement["Action"]:
                # Moto asks for it at the bucket where several objects are deleted, AWS at each.
                statement["Resource"] = [statement["Resource"], f"arn:aws:s3:::{bucket}"]
        where = guarded_s3.storage(f"s3://{bucket}/{root}") | guarded_s3.user_with(policy)
        catalog = f"sqlite:///{tmp_path / root}.db"
        return lakebed.open(catalog=catalog, storage=where, **options)

    with lake("writer") as writer:
        writer.store_batch({"key": f"b{n}", "value": f"{n} {LARGE}"} for n in range(3))
        writer.create_snapshot("one")
        writer["report"] = LARGE
        writer["report"] = LARGE + "changed"  # the old content is garbage
        assert [hit.key for hit in writer.search("changed")] == ["report"]
        with pytest.raises(StorageError, match=r"no right to (it|delete)"):
            writer.collect(grace=0)
        assert writer["report"] == LARGE + "changed"
    with lake("reader", read_only=True) as reader:
        assert reader["report"] == LARGE + "changed"
        assert len(reader.retrieve_batch(["b0", "b1", "b2"])) == 3
    with lake("reader") as reader, pytest.raises(StorageError, match="no right to it"):
        reader["other"] = LARGE + "by a reader"
    with lake("upkeep") as upkeep:
        upkeep.collect(grace=0)
        assert upkeep.maintain().finished
        assert not upkeep.verify().problems
        upkeep.purge("b0")
    with (
        lake("writer", "elsewhere") as strange,
        pytest.raises(StorageError, match="no right to it"),
    ):
        strange["report"] = LARGE
