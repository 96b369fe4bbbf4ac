"""A scan of the catalog that is left half-read ends, and lets go of what it holds."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import pytest

import lakebed
from lakebed.catalog.scan import Scan
from tests.servers import PostgresServer


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", ["sqlite", "postgres", "mariadb"])
def test_it_ends(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """psycopg's rollback waited for the rows that nobody read any more."""
    options: dict[str, Any] = {"type": kind, "url": f"sqlite:///{tmp_path}/names.db"}
    if kind == "postgres":
        server: PostgresServer = request.getfixturevalue("postgres_18")
        options = {"type": kind, "url": server.url(), "schema": f"t{secrets.token_hex(6)}"}
    elif kind == "mariadb":
        options["url"] = request.getfixturevalue("mariadb").url(f"t{secrets.token_hex(6)}")
    with lakebed.open(catalog=options) as lake:
        lake.store_batch({"key": f"k{n:05}", "value": n} for n in range(3000))
        held = []

        def leave() -> None:
            with lake._catalog.scan([Scan("entries")]) as scan:
                rows = scan.rows(Scan("entries"))
                held.append(rows)  # as a traceback holds them
                assert next(rows).num_rows
                raise ZeroDivisionError

        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                leave()
        assert len(lake) == 3000
        assert lake.sql("SELECT count(*) FROM entries").fetchall() == [(3000,)]
