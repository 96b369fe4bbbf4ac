"""MariaDB under a mixed load, over a network that fails, and while its server dies."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import lakebed
from lakebed.errors import ConnectError
from lakebed.lake.lake import Lake
from tests.catalog import load
from tests.proxy import FaultyProxy, faulty_proxy
from tests.servers import PASSWORD, MariaDBServer
from tests.waiting import in_time

THREADS = 2
COMMIT = b"\x03COMMIT"  # as the protocol has it: not the word in READ COMMITTED


def lake_at(server: MariaDBServer, folder: Path, **options: Any) -> dict[str, Any]:
    url = server.url(f"t{secrets.token_hex(6)}")
    catalog = {"type": "mariadb", "url": url, "pool_size": 2, **options}
    return {"catalog": catalog, "storage": str(folder / "storage"), "inline_threshold": 1000}


def test_mixed_load(
    mariadb: MariaDBServer, tmp_path: Path, soak: bool, record_property: Any
) -> None:
    lake = lake_at(mariadb, tmp_path)
    lakebed.open(**lake).close()
    seconds, processes = (180, 8) if soak else (5, 4)
    spec = {"lake": lake, "seconds": seconds, "threads": THREADS, "faults": False}
    known = load.finish([load.start(spec, n) for n in range(processes)], 600)
    with lakebed.open(**lake) as opened:
        counts = load.check(opened, known)
    assert counts.keys() == load.STEPS.keys()
    record_property("mixed load on MariaDB", counts)


def test_server_killed_under_load(
    private_mariadb: MariaDBServer, tmp_path: Path, soak: bool, record_property: Any
) -> None:
    """SIGKILL many times: what was acknowledged is there, and clients recover by themselves."""
    lake = lake_at(private_mariadb, tmp_path, pool_size=4, timeout=20)
    lakebed.open(**lake).close()
    kills, pause = (10, 3.0) if soak else (5, 0.3)
    seconds = kills * (pause + 1.2)
    spec = {"lake": lake, "seconds": seconds, "threads": 4, "faults": True}
    processes = [load.start(spec, n) for n in range(2)]
    time.sleep(1)
    for _ in range(kills):
        time.sleep(pause)
        private_mariadb.kill()
        time.sleep(0.2)
        private_mariadb.start()
    known = load.finish(processes, 300)
    with lakebed.open(**lake) as opened:
        counts = load.check(opened, known)
    record_property("steps while MariaDB was killed", counts)
    record_property("errors of those steps", [item[3] for item in known])


@pytest.fixture
def proxy(mariadb: MariaDBServer) -> Iterator[FaultyProxy]:
    with faulty_proxy(mariadb.port) as opened:
        yield opened


@pytest.fixture
def both(mariadb: MariaDBServer, proxy: FaultyProxy) -> tuple[str, str]:
    """The URLs of a database: through the proxy, and past it."""
    user = mariadb.create_user("proxied", "ALL ON *.*")
    name = f"t{secrets.token_hex(6)}"
    return mariadb.tcp_url(name, user, proxy.port), mariadb.url(name)


def run_load(lake: Lake, seconds: float, meanwhile: Callable[[], None]) -> list[list[Any]]:
    """Four threads of mixed load, and something that happens to them."""
    workers = [load.Worker(lake, str(n), seconds, faults=True) for n in range(4)]
    with ThreadPoolExecutor(5) as pool:
        running = [pool.submit(worker.run) for worker in workers]
        meanwhile()
        for future in running:
            future.result(120)
    return [[w.expected, w.snapshots, w.counts, w.errors] for w in workers]


def test_a_network_that_fails(
    both: tuple[str, str], proxy: FaultyProxy, tmp_path: Path, soak: bool
) -> None:
    """Delayed, cut and half-closed at any moment: only documented errors, and nothing is lost."""
    through, past = both
    storage = str(tmp_path / "storage")
    rounds = 200 if soak else 12

    def fail() -> None:
        for number in range(rounds):
            time.sleep(0.35)
            proxy.delay = 0.02 if number % 3 == 0 else 0
            (proxy.cut if number % 2 else proxy.half_close)()
        proxy.delay = 0

    catalog = {"type": "mariadb", "url": through, "timeout": 10, "statement_timeout": 5}
    with lakebed.open(catalog=catalog, storage=storage, inline_threshold=1000) as lake:
        known = run_load(lake, rounds * 0.4, fail)
    with lakebed.open(catalog=past, storage=storage) as lake:
        load.check(lake, known)


@pytest.mark.parametrize("single", [True, False])
def test_the_answer_to_a_commit_is_lost(
    both: tuple[str, str], proxy: FaultyProxy, single: bool
) -> None:
    """The commit happened, its answer never came: settled, neither repeated nor reported failed."""
    through, past = both
    with (
        lakebed.open(catalog={"type": "mariadb", "url": through, "timeout": 10}) as lake,
        lakebed.open(catalog=past) as other,
    ):
        for number in range(1, 6):
            cutter = threading.Thread(target=_cut_when_stored, args=(proxy, other, f"k{number}"))
            cutter.start()
            proxy.lose_answers_to = COMMIT
            _store(lake, number, single)
            cutter.join()
            assert not proxy.lose_answers
            assert lake[f"k{number}"] == number
            assert len(lake.history(f"k{number}")) == 1


def _cut_when_stored(proxy: FaultyProxy, other: Lake, key: str) -> None:
    deadline = time.monotonic() + 10
    while key not in other and time.monotonic() < deadline:
        time.sleep(0.005)
    proxy.lose_answers_to = b""
    proxy.cut()
    proxy.lose_answers = False


def _store(lake: Lake, number: int, single: bool) -> None:
    if single:
        assert lake.store(f"k{number}", number, {"n": number}, if_absent=True).created
        return
    with lake.transaction() as tx:
        tx.store(f"k{number}", number, if_absent=True)
        tx.store(f"other{number}", number, if_absent=True)


@pytest.mark.parametrize("single", [True, False])
def test_a_commit_that_never_arrives(
    both: tuple[str, str], proxy: FaultyProxy, single: bool
) -> None:
    """The same error for the client, but nothing has happened: so it is done again."""
    with lakebed.open(catalog={"type": "mariadb", "url": both[0], "timeout": 10}) as lake:
        for number in range(1, 6):
            proxy.cut_before = COMMIT
            _store(lake, number, single)
            assert not proxy.cut_before
            assert lake[f"k{number}"] == number


def test_whether_a_commit_happened_cannot_be_found_out(
    both: tuple[str, str], proxy: FaultyProxy
) -> None:
    through, past = both
    catalog = {"type": "mariadb", "url": through, "timeout": 0.5}
    with lakebed.open(catalog=catalog) as lake, lakebed.open(catalog=past) as other:
        proxy.lose_answers_to = COMMIT
        closing = threading.Thread(target=_fall_silent_when_stored, args=(proxy, other, "k"))
        closing.start()
        with pytest.raises(ConnectError, match="could not be found out"):
            lake.store("k", 1)
        closing.join()


def _fall_silent_when_stored(proxy: FaultyProxy, other: Lake, key: str) -> None:
    deadline = time.monotonic() + 10
    while key not in other and time.monotonic() < deadline:
        time.sleep(0.005)
    proxy.swallow = True
    proxy.cut()


def test_a_server_that_falls_silent(both: tuple[str, str], proxy: FaultyProxy) -> None:
    """Found out in time, and over once it speaks again."""
    catalog = {"type": "mariadb", "url": both[0], "timeout": 2, "statement_timeout": 1}
    with lakebed.open(catalog=catalog, lock_timeout=1) as lake:
        lake.store("k", 0)
        proxy.swallow = True
        with in_time(30), pytest.raises(ConnectError) as caught:
            lake.retrieve("k")
        assert PASSWORD not in str(caught.value)
        proxy.swallow = False
        proxy.cut()
        assert lake["k"] == 0
