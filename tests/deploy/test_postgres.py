"""What the guides say of Postgres: PgBouncer for many agents, and the queries of monitoring."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from threading import Thread
from typing import Any, NoReturn

import psycopg
import pytest
from psycopg.rows import dict_row

import lakebed
from lakebed.config.doctor import diagnose
from tests.servers import PostgresServer, running_pgbouncer

DEPLOY = Path(__file__).parents[2] / "docs" / "deploy"


@pytest.fixture
def database(postgres_18: PostgresServer) -> Iterator[str]:
    """The URL of a database of the test's own."""
    name = postgres_18.create_database()
    yield postgres_18.url(name)
    postgres_18.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_thirty_agents_through_pgbouncer(
    postgres_18: PostgresServer, require_server: Callable[[str, str], NoReturn]
) -> None:
    """With the settings of the guide, but for addresses, TLS and passwords."""
    name = postgres_18.create_database()
    kept = [
        line
        for line in (DEPLOY / "postgres" / "pgbouncer.ini").read_text().splitlines()
        if not re.match(r"listen_|auth_|server_tls|client_tls|memory = |default_pool_size", line)
    ]
    place = (
        f"memory = host={postgres_18.folder} port={postgres_18.port} dbname={name} user=postgres"
    )
    settings = "\n".join(kept).replace("[databases]", f"[databases]\n{place}")
    settings += "\nauth_type = any\ndefault_pool_size = 5\n"
    with running_pgbouncer(settings, require_server) as port, ExitStack() as stack:
        catalog = {
            "type": "postgres", "pgbouncer": True, "max_size": 3,
            "connection_string": f"postgresql://postgres@127.0.0.1:{port}/memory",
        }  # fmt: skip
        agents = [stack.enter_context(lakebed.open(catalog=catalog)) for _ in range(30)]

        def work(number: int) -> None:
            for turn in range(5):
                agents[number].store(f"agent/{number:02}/{turn}", {"turn": turn})

        with ThreadPoolExecutor(30) as threads:
            list(threads.map(work, range(30)))
        with psycopg.connect(postgres_18.url()) as connection:
            # Autovacuum has a row there too while it works in the database.
            query = (
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE datname = %s AND backend_type = 'client backend'"
            )
            found = connection.execute(query, (name,)).fetchone()
        assert found is not None
        assert 0 < found[0] <= 5
        assert len(agents[0]) == 150
    postgres_18.execute(f"DROP DATABASE {name} WITH (FORCE)")


def queries() -> dict[str, str]:
    """The queries of the guide, by the words above them."""
    found = {}
    for part in (DEPLOY / "monitoring.md").read_text("utf-8").split("\n**")[1:]:
        query = re.search(r"^```sql\n(.*?)^```", part, re.MULTILINE | re.DOTALL)
        assert query
        found[part.partition("*")[0].rstrip(".")] = query[1]
    return found


def ask(url: str, query: str) -> list[dict[str, Any]]:
    with psycopg.connect(url, row_factory=dict_row) as connection:
        return connection.execute(query.encode()).fetchall()


def test_the_queries_of_monitoring(database: str) -> None:
    asked = queries()
    assert list(asked) == [
        "Connections", "Long transactions", "Who waits for whom", "Space and vacuum",
        "Work for the upkeep", "The largest prefixes",
    ]  # fmt: skip
    with lakebed.open(catalog=database) as lake, psycopg.connect(database) as person:
        lake.store_batch([{"key": f"user/{n}", "value": "x" * 1000} for n in range(5)])
        lake["note"] = 1
        lake.store("gone", 1, ttl=timedelta(milliseconds=1))
        person.execute("LOCK TABLE lakebed.entry")
        writer = Thread(target=lake.store, args=("note", 2))
        writer.start()
        while not (waits := ask(database, asked["Who waits for whom"])):
            time.sleep(0.02)
        assert waits[0]["holder"] == person.info.backend_pid
        assert waits[0]["holder_state"] == "idle in transaction"
        connections = ask(database, asked["Connections"])
        idle = [row for row in connections if row["state"] == "idle in transaction"]
        assert [row["connections"] for row in idle] == [1]
        soon = asked["Long transactions"].replace("5 minutes", "0 seconds")
        assert person.info.backend_pid in {row["pid"] for row in ask(database, soon)}
        assert not ask(database, asked["Long transactions"])
        person.rollback()
        writer.join()
        assert not ask(database, asked["Who waits for whom"])
        tables = {row["table"] for row in ask(database, asked["Space and vacuum"])}
        assert {"entry", "object", "entry_history"} <= tables
        (left,) = ask(database, asked["Work for the upkeep"])
        assert left["expired_entries"] == 1
        assert (left["waiting_files"], left["stale_uploads"]) == (0, 0)
        lake.maintain()
        (left,) = ask(database, asked["Work for the upkeep"])
        assert left["expired_entries"] == 0
        prefixes = ask(database, asked["The largest prefixes"])
        assert [(row["prefix"], row["entries"]) for row in prefixes] == [("user", 5), ("note", 1)]


def test_the_doctor_tells_of_a_clock_as_the_guide_says(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with lakebed.open(catalog=database) as lake:
        lake["a"] = 1
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 3600)
    told = [found for found in diagnose(database) if "its clock is" in found.detail]
    assert [found.state for found in told] == ["note"]
    guide = (DEPLOY / "when-something-breaks.md").read_text("utf-8")
    line = f"-- {told[0].check:<13} {told[0].detail}"
    assert re.sub(r"\d+\.\d", "3600.2", line) in guide
