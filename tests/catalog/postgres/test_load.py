"""Postgres under a mixed load, and under a load while its server dies."""

from __future__ import annotations

import secrets
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import lakebed
from lakebed.errors import ConflictError
from tests.catalog import load
from tests.servers import PostgresServer

THREADS = 2


def lake_at(url: str, folder: Path, **options: Any) -> dict[str, Any]:
    catalog = {"type": "postgres", "url": url, "schema": f"t{secrets.token_hex(6)}", **options}
    return {"catalog": catalog, "storage": str(folder / "storage"), "inline_threshold": 1000}


@pytest.mark.parametrize("version", ["18", "15"])
def test_mixed_load(
    request: pytest.FixtureRequest, tmp_path: Path, soak: bool, version: str, record_property: Any
) -> None:
    server: PostgresServer = request.getfixturevalue(f"postgres_{version}")
    lake = lake_at(server.url(), tmp_path, max_size=2)
    lakebed.open(**lake).close()
    seconds, processes = (180, 8) if soak else (4, 4)
    spec = {"lake": lake, "seconds": seconds, "threads": THREADS, "faults": False}
    known = load.finish([load.start(spec, n) for n in range(processes)], 600)
    with lakebed.open(**lake) as opened:
        counts = load.check(opened, known)
    assert counts.keys() == load.STEPS.keys()
    record_property(f"mixed load on Postgres {version}", counts)


def test_one_winner(postgres_18: PostgresServer, tmp_path: Path, soak: bool) -> None:
    """`if_absent` and `if_match` under contention: exactly one wins each round."""
    rounds, clients = 1000 if soak else 300, 4
    with lakebed.open(**lake_at(postgres_18.url(), tmp_path, max_size=clients)) as lake:
        barrier = threading.Barrier(clients)

        def contend(client: int) -> list[tuple[str, int]]:
            won = []
            for number in range(rounds // 2):
                barrier.wait()
                try:
                    lake.store(f"new/{number}", client, if_absent=True)
                    won.append(("absent", number))
                except ConflictError:
                    pass
                barrier.wait()
                known = lake.entry("one")
                barrier.wait()
                try:
                    if known is None:
                        lake.store("one", [client, number], if_absent=True)
                    else:
                        lake.store("one", [client, number], if_match=known.content_hash)
                    won.append(("match", number))
                except ConflictError:
                    pass
            return won

        with ThreadPoolExecutor(clients) as pool:
            won = sorted(item for found in pool.map(contend, range(clients)) for item in found)
        assert won == sorted(
            (kind, number) for kind in ("absent", "match") for number in range(rounds // 2)
        )


def test_server_killed_under_load(
    private_postgres: PostgresServer, tmp_path: Path, soak: bool, record_property: Any
) -> None:
    """SIGKILL many times: what was acknowledged is there, and clients recover by themselves."""
    lake = lake_at(private_postgres.url(), tmp_path, max_size=4, timeout=20)
    lakebed.open(**lake).close()
    kills, pause = (10, 3.0) if soak else (5, 0.5)
    seconds = kills * (pause + 1.5)
    spec = {"lake": lake, "seconds": seconds, "threads": 4, "faults": True}
    processes = [load.start(spec, n) for n in range(2)]
    time.sleep(2)
    for _ in range(kills):
        time.sleep(pause)
        private_postgres.kill()
        time.sleep(0.2)
        private_postgres.start()
    known = load.finish(processes, 300)
    with lakebed.open(**lake) as opened:
        counts = load.check(opened, known)
    errors = [item[3] for item in known]
    record_property("steps while the server was killed", counts)
    record_property("errors of those steps", errors)
