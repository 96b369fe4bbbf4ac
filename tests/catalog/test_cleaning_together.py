"""Sixteen threads in eight processes write to one lake and clean it; some die, and the server too.

What no order of steps shows is looked for here: real locks, real connections, real deaths.
"""

from __future__ import annotations

import random
import secrets
import time
from pathlib import Path
from typing import Any

import pytest

import lakebed
from tests.catalog import cleaning_load
from tests.servers import MariaDBServer, PostgresServer
from tests.waiting import until

PROCESSES, THREADS = 8, 2


def lake_on(server: PostgresServer | MariaDBServer | None, folder: Path) -> dict[str, Any]:
    name = f"t{secrets.token_hex(6)}"
    catalog: object = f"sqlite:///{folder}/catalog.db"
    if isinstance(server, MariaDBServer):
        catalog = {"type": "sqlalchemy", "url": server.url(name)}
    elif server is not None:
        catalog = {"type": "postgres", "url": server.url(), "schema": name, "max_size": 3}
    return {"catalog": catalog, "storage": str(folder / "storage"), "inline_threshold": 1000}


def spec_of(
    lake: dict[str, Any], number: int, rng: random.Random, *, faults: bool
) -> dict[str, Any]:
    numbers = {"number": number, "threads": THREADS, "seed": rng.randrange(2**32)}
    return {"lake": lake, "faults": faults, **numbers}


@pytest.mark.parametrize("kind", ["sqlite", "postgres_18", "mariadb"])
def test_nothing_is_lost_together(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    rng: random.Random,
    soak: bool,
    kind: str,
    record_property: Any,
) -> None:
    server = None if kind == "sqlite" else request.getfixturevalue(kind)
    lake = lake_on(server, tmp_path)
    lakebed.open(**lake).close()
    with cleaning_load.at_work(tmp_path):
        processes = [
            cleaning_load.Process(spec_of(lake, number, rng, faults=False), tmp_path)
            for number in range(PROCESSES)
        ]
        while min(process.acknowledged() for process in processes) < (2000 if soak else 30):
            time.sleep(0.05)
    for process in processes:
        process.finish(600)
    with lakebed.open(**lake) as opened:
        done = cleaning_load.check(opened, tmp_path)
    assert done
    record_property(f"changes beside cleaning on {kind}", done)


@pytest.mark.parametrize("kind", ["sqlite", "private_postgres", "private_mariadb"])
def test_nothing_is_lost_when_processes_and_the_server_die(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    rng: random.Random,
    soak: bool,
    kind: str,
    record_property: Any,
) -> None:
    server = None if kind == "sqlite" else request.getfixturevalue(kind)
    lake = lake_on(server, tmp_path)
    lakebed.open(**lake).close()
    deaths = 100 if soak else 3
    with cleaning_load.at_work(tmp_path):
        processes = {
            number: cleaning_load.Process(spec_of(lake, number, rng, faults=True), tmp_path)
            for number in range(PROCESSES if soak else PROCESSES // 2)
        }
        for _ in range(deaths):
            number = rng.choice(list(processes))
            until(processes[number].acknowledged)
            time.sleep(rng.uniform(0.0, 1.0))  # any moment of its work
            processes[number].kill()
            if server is not None and rng.random() < 0.4:
                server.kill()
                server.start()
            again = spec_of(lake, number, rng, faults=True)
            processes[number] = cleaning_load.Process(again, tmp_path)
        for process in processes.values():
            until(process.acknowledged)
    for process in processes.values():
        process.finish(600)
    with lakebed.open(**lake) as opened:
        done = cleaning_load.check(opened, tmp_path)
        opened.maintain()
        opened.collect(0)
        assert cleaning_load.check(opened, tmp_path) == done > 0
    record_property(f"{deaths} deaths on {kind}, acknowledged changes", done)
