"""A lake on Postgres whose tables the tests of tidying look at."""

from __future__ import annotations

import secrets
from typing import Any

import psycopg

import lakebed
from lakebed.catalog.postgres.tidying import Tidying
from lakebed.lake.lake import Lake
from tests.servers import PostgresServer


class World:
    """A lake on Postgres, and a look at its tables."""

    def __init__(self, server: PostgresServer) -> None:
        self.server = server
        self.schema = f"t{secrets.token_hex(6)}"
        self.lake = self.open()

    def open(self, **more: Any) -> Lake:
        catalog = {"type": "postgres", "url": self.server.url(), "schema": self.schema, **more}
        return lakebed.open(catalog=catalog)

    @property
    def tidying(self) -> Tidying:
        catalog: Any = self.lake._catalog
        return catalog._tidying  # type: ignore[no-any-return]

    def tidy(self) -> None:
        self.tidying._tidy()

    def count(self, what: str) -> int:
        sql = f'SELECT count(*) FROM "{self.schema}".{what}'  # noqa: S608 - names of ours
        return int(self.server.execute(sql)[0][0])

    def waiting(self) -> int:
        """How many sessions in the lake's database wait for a lock."""
        sql = (
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return int(self.server.execute(sql)[0][0])

    def connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.server.url())
