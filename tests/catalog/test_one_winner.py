"""`if_absent` and `if_match` under contention: exactly one wins each round, on every catalog."""

from __future__ import annotations

import secrets
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import lakebed
from lakebed.errors import ConflictError
from lakebed.lake.lake import Lake

CLIENTS = 4
CATALOGS = ("sqlite", "sqlalchemy sqlite", "sqlalchemy postgres", "mariadb", "duckdb")


@pytest.fixture(params=CATALOGS)
def catalog(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    name = f"t{secrets.token_hex(6)}"
    if request.param == "sqlite":
        return {"type": "sqlite", "path": str(tmp_path / "names.db")}
    if request.param == "duckdb":
        return {"type": "sqlalchemy", "url": f"duckdb:///{tmp_path}/names.db"}
    if request.param == "mariadb":
        return {"type": "mariadb", "url": request.getfixturevalue("mariadb").url(name)}
    if request.param == "sqlalchemy sqlite":
        return {"type": "sqlalchemy", "url": f"sqlite:///{tmp_path}/names.db"}
    url = request.getfixturevalue("postgres_18").url()
    return {"type": "sqlalchemy", "url": url, "schema": name}


def test_one_winner(catalog: dict[str, Any], soak: bool) -> None:
    rounds = 500 if soak else 60  # of each kind
    with lakebed.open(catalog=catalog) as lake:
        barrier = threading.Barrier(CLIENTS)
        with ThreadPoolExecutor(CLIENTS) as pool:
            found = pool.map(lambda client: contend(lake, client, rounds, barrier), range(CLIENTS))
            won = sorted(item for items in found for item in items)
        assert won == sorted((kind, n) for kind in ("absent", "match") for n in range(rounds))
        assert len(lake) == rounds + 1


def contend(
    lake: Lake, client: int, rounds: int, barrier: threading.Barrier
) -> list[tuple[str, int]]:
    """The rounds that one of the clients has won."""
    won = []
    for number in range(rounds):
        barrier.wait(60)
        try:
            lake.store(f"new/{number}", client, if_absent=True)
            won.append(("absent", number))
        except ConflictError:
            pass
        barrier.wait(60)
        known = lake.entry("one")
        barrier.wait(60)
        try:
            if known is None:
                lake.store("one", [client, number], if_absent=True)
            else:
                lake.store("one", [client, number], if_match=known.content_hash)
            won.append(("match", number))
        except ConflictError:
            pass
    return won
