"""The servers that the conformance suite runs on."""

from __future__ import annotations

from tests.servers import (
    mariadb,
    pgbouncer,
    postgres_15,
    postgres_18,
    private_mariadb,
    private_postgres,
)
from tests.services.sqld import private_sqld, sqld

__all__ = [
    "mariadb",
    "pgbouncer",
    "postgres_15",
    "postgres_18",
    "private_mariadb",
    "private_postgres",
    "private_sqld",
    "sqld",
]
