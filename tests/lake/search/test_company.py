"""Processes and threads that store, delete, search and build on one lake, some of them killed."""

from __future__ import annotations

import json
import random
import secrets
import signal
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

import lakebed
from lakebed.lake.lake import Lake
from lakebed.lake.search import building as search_building
from lakebed.lake.search import index as search_index
from lakebed.lake.search.tail import Tail
from lakebed.testing.machine.search import check_search, check_threads
from lakebed.testing.model import Kept
from tests.lake.processes import run_together, start
from tests.servers import PostgresServer

pytestmark = pytest.mark.sampled("where", 3)

SMALL = """
from lakebed.lake.search import building as search_building
from lakebed.lake.search import index as search_index
from lakebed.lake.search.tail import Tail
Tail.LIMIT, search_index._ENDED = 20, 20
search_building._SMALLEST, search_building._FAN, search_building._PAGE_ROWS = 8, 2, 16
"""
WORK = (
    """
import json, random, sys
import lakebed
"""
    + SMALL
    + """
where, name, seed = json.loads(sys.argv[1]), sys.argv[2], int(sys.argv[3])
rng, mine = random.Random(seed), {}
with lakebed.open(**where) as lake:
    for round in range(int(sys.argv[4])):
        key, what = f"{name}/{rng.randrange(30)}", rng.randrange(10)
        if what < 5:
            lake.store(key, f"common {name} number{round}", {"n": round % 3})
            mine[key] = round
        elif what == 5:
            keys = {f"{name}/{rng.randrange(30)}" for _ in range(20)}
            lake.store_batch({"key": k, "value": f"common {name} number{round}"} for k in keys)
            mine.update(dict.fromkeys(keys, round))
        elif what == 6:
            lake.delete(key)
            mine.pop(key, None)
        elif what == 7:
            lake._searcher().build_waiting()
        elif what == 8 and rng.random() < 0.2:
            lake.purge(key)
            mine.pop(key, None)
        elif what == 9 and rng.random() < 0.2:
            lake.maintain()
        if round % 3 == 0:
            found = lake.search("common", prefix=f"{name}/", limit=1000)
            assert found.total == len(found) == len(mine), (name, round, found.total, len(mine))
            assert {hit.key for hit in found} == set(mine), (name, round)
            assert all(hit.value.endswith(f"number{mine[hit.key]}") for hit in found)
        print(round, flush=True)
"""
)


def agrees(where: dict[str, Any]) -> None:
    """That the searches of a lake find what its entries say."""
    with lakebed.open(**where) as lake:
        for _ in range(2):
            entries = {
                entry.key: Kept(entry.value, entry.metadata, None, 0) for entry in lake.list()
            }
            for query in ("common", "number7 number8 common", "anna number3"):
                check_search(lake, entries, query, "", None, 5, 2)
                check_search(lake, entries, query, "anna/", {"n": 1}, 5, 2)
                assert lake.search(query, limit=0, thread=True).total <= len(entries)
            check_threads(lake, entries, "number7 number8")
            lake.maintain()
        assert not lake.verify().problems


@pytest.fixture(params=["sqlite", "files", "postgres", "mariadb"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    if request.param == "sqlite":
        return {"catalog": f"sqlite:///{tmp_path}/catalog.db"}
    if request.param == "files":
        return {"where": str(tmp_path / "lake"), "inline_threshold": 20}
    if request.param == "mariadb":
        name = f"company_{secrets.token_hex(6)}"
        return {"catalog": request.getfixturevalue("mariadb").url(name), "inline_threshold": 30}
    postgres: PostgresServer = request.getfixturevalue("postgres_18")
    url = postgres.url(postgres.create_database())
    return {"catalog": url, "storage": str(tmp_path / "storage"), "inline_threshold": 30}


def is_slow(where: dict[str, Any]) -> bool:
    """Whether the rounds are to be few."""
    return str(where.get("catalog")).startswith("mysql")


def test_three_processes_of_their_own_keys(where: dict[str, Any]) -> None:
    with lakebed.open(**where):
        pass
    rounds = 40 if is_slow(where) else 120
    running = [start(WORK, json.dumps(where), name, 1, rounds) for name in ("anna", "bert", "carl")]
    for process in running:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
    agrees(where)


def test_processes_that_are_killed_while_they_build(where: dict[str, Any]) -> None:
    rng = random.Random(7)
    with lakebed.open(**where):
        pass
    for turn in range(2 if is_slow(where) else 4):
        running = [start(WORK, json.dumps(where), f"{name}{turn}", turn, 10_000) for name in "ab"]
        for process in running:
            for _ in range(rng.randrange(10, 60)):
                assert process.stdout is not None
                assert process.stdout.readline(), process.communicate()[1]
        for process in running:
            process.send_signal(signal.SIGKILL)
            process.communicate()
        agrees(where)


@pytest.mark.usefixtures("_small")
def test_eight_threads_of_one_client(where: dict[str, Any]) -> None:
    failures: list[BaseException] = []
    slow = is_slow(where)

    def work(lake: Lake, number: int) -> None:
        rng, mine = random.Random(number), set[str]()
        try:
            for turn in range(20 if slow else 60):
                key = f"{number}/{rng.randrange(10)}"
                if rng.random() < 0.3:
                    lake.delete(key)
                    mine.discard(key)
                else:
                    lake.store(key, f"common words {turn} " + "padding " * rng.randrange(9))
                    mine.add(key)
                if rng.random() < 0.1:
                    lake._searcher().build_waiting()
                found = lake.search("common", prefix=f"{number}/", limit=100)
                assert {hit.key for hit in found} == mine
                assert found.total == len(found) == len(mine)
        except BaseException as error:  # noqa: BLE001 - raised in the test's own thread
            failures.append(error)

    with lakebed.open(**where) as lake:
        threads = [Thread(target=work, args=(lake, number)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    if failures:
        raise failures[0]
    agrees(where)


@pytest.fixture
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tail, "LIMIT", 20)
    monkeypatch.setattr(search_index, "_ENDED", 20)
    monkeypatch.setattr(search_building, "_SMALLEST", 8)
    monkeypatch.setattr(search_building, "_FAN", 2)


def test_the_cache_folder_goes_all_the_time(tmp_path: Path) -> None:
    """Copies are only copies: who deletes them makes no search fail."""
    code = """
import os, shutil
import lakebed
from lakebed.lake.search import segment_files
from lakebed.objects.local import LocalStore
from lakebed.testing import FaultyStore, open_lake
from pathlib import Path
segment_files._COPIED_BYTES = 0
place = Path(folder)
if number == 0:
    while not (place / "done-1").exists() or not (place / "done-2").exists():
        shutil.rmtree(place / "cache", ignore_errors=True)
else:
    for n in range(15):
        store = FaultyStore(LocalStore(place / "lake"))
        with open_lake(place / "lake", objects=store) as lake:
            assert lake.search("common", limit=0).total >= 50
            lake.store(f"{number}/{n}", "common")
            lake._searcher().build_waiting()
            assert lake.search("common", prefix=f"{number}/", limit=0).total == n + 1
    (place / f"done-{number}").touch()
"""
    with lakebed.open(tmp_path / "lake") as lake:
        lake.store_batch({"key": f"{n}", "value": "common"} for n in range(50))
        lake._searcher().build_waiting()
    before = f'import os\nos.environ["XDG_CACHE_HOME"] = {str(tmp_path / "cache")!r}'
    run_together(code, tmp_path, 3, before)
    agrees({"where": tmp_path / "lake"})
