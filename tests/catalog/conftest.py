"""The servers of these tests, and how much of the conformance suite runs on each."""

from __future__ import annotations

import os

import pytest

from tests.servers import mariadb, pgbouncer, postgres_15, postgres_18, private_postgres

__all__ = ["mariadb", "pgbouncer", "postgres_15", "postgres_18", "private_postgres"]

# `make test` runs the whole suite on SQLite and Postgres 18 and every tenth test of it here, which
# keeps it within twenty minutes on two cores; `make soak` runs all of it everywhere.
SAMPLED = ("TestPostgres15", "TestPgBouncer", "TestPostgres", "TestMariaDB")
SHARE = 10


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if os.environ.get("LAKEBED_SOAK") == "1":
        return
    sampled = [item for item in items if item.parent is not None and item.parent.name in SAMPLED]
    left = {item.nodeid for number, item in enumerate(sorted(sampled, key=_id)) if number % SHARE}
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid in left])
    items[:] = [item for item in items if item.nodeid not in left]


def _id(item: pytest.Item) -> str:
    return item.nodeid
