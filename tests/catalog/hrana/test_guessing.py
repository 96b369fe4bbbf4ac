"""Commits of one request: what a client guesses, and what happens if it is wrong."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

import lakebed
from lakebed.catalog.hrana import memory
from lakebed.catalog.hrana.server import Server
from lakebed.catalog.opened import CatalogOptions
from lakebed.catalog.registry import open_catalog
from lakebed.errors import ConflictError
from lakebed.lake.lake import Lake
from lakebed.testing import FakeClock, LakeMachine, open_lake
from tests.services.sqld import SqldNamespaces


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A number for each request that this process sends."""
    sent: list[int] = []
    ask = Server.ask

    def counted(server: Server, *arguments: object) -> object:
        sent.append(len(sent))
        return ask(server, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Server, "ask", counted)
    return sent


@pytest.fixture
def clients(sqld: SqldNamespaces, tmp_path: Path) -> Iterator[tuple[Lake, Lake]]:
    """Two clients of one lake."""
    catalog = {"type": "turso", "url": sqld.create_database()}
    with ExitStack() as stack:
        one, other = (
            stack.enter_context(lakebed.open(catalog=catalog, storage=tmp_path / "storage"))
            for _ in range(2)
        )
        yield one, other


def requests(asked: list[int], work: Callable[[], object]) -> int:
    """How many it takes."""
    asked.clear()
    work()
    return len(asked)


def test_a_commit_is_one_request(clients: tuple[Lake, Lake], asked: list[int]) -> None:
    lake, _ = clients
    lake.store("first", 0)
    works: dict[str, Callable[[], object]] = {
        "a new key": lambda: lake.store("a", 1, {"m": 1}),
        "another value": lambda: lake.store("a", 2, ttl=60),
        "the same value": lambda: lake.store("a", 2, {"m": 2}),
        "nothing new": lambda: lake.store("a", 2, {"m": 2}),
        "a value that another key has": lambda: lake.store("b", 0),
        "a delete": lambda: lake.delete("b"),
        "two keys": lambda: two(lake),
    }
    assert {name: requests(asked, work) for name, work in works.items()} == dict.fromkeys(works, 1)
    assert {key: lake[key] for key in lake} == {"first": 0, "a": 2, "c": 5, "d": 5}
    assert lake.entry("a").metadata == {"m": 2}  # type: ignore[union-attr]
    assert not lake.verify().problems


def two(lake: Lake) -> None:
    with lake.transaction() as tx:
        tx.store("c", 5)
        tx.store("d", 5)


def test_a_wrong_guess_costs_a_request_once(clients: tuple[Lake, Lake], asked: list[int]) -> None:
    lake, other = clients
    lake.store("a", 1)
    lake.store("b", 1)
    counts = []
    for n in range(4):
        other.store("theirs", n)
        counts.append(requests(asked, partial(lake.store, f"ours/{n}", n)))
    assert counts == [3, 2, 2, 2]  # who was wrong asks, as long as others write
    counts = [requests(asked, partial(lake.store, f"alone/{n}", n)) for n in range(3)]
    assert counts == [2, 1, 1]
    known = [requests(asked, partial(other.store, f"ours/{n}", -n)) for n in range(4)]
    assert max(known) <= 3
    assert sum(known) <= 9  # keys that it does not know: it stops guessing
    assert [lake[f"ours/{n}"] for n in range(4)] == [0, -1, -2, -3]
    assert not lake.verify().problems


def test_no_condition_is_decided_by_a_guess(clients: tuple[Lake, Lake]) -> None:
    lake, other = clients
    entry = lake.store("k", "ours")
    other.store("k", "theirs")
    with pytest.raises(ConflictError, match="other content"):
        lake.store("k", "ours again", if_match=entry.content_hash)
    theirs = other.entry("k")
    assert theirs is not None
    lake.store("k", "ours again", if_match=theirs.content_hash)
    other.delete("k")
    assert lake.store("k", "new", if_absent=True).created
    other.store("k", "their last", if_match=lake.entry("k").content_hash)  # type: ignore[union-attr]
    with pytest.raises(ConflictError, match="is there already"):
        lake.store("k", 1, if_absent=True)
    other.delete("k")
    assert lake.delete("k") is False
    stored = lake.store("k", "ours")
    assert stored.created
    assert not lake.verify().problems


def test_what_others_do_to_contents_is_seen(clients: tuple[Lake, Lake]) -> None:
    """A guess of an object that has moved to a pack, or has gone, is wrong as well."""
    lake, other = clients
    texts = [f"value {n} " * 20 for n in range(20)]
    for n, text in enumerate(texts):
        lake.store(f"k/{n}", text)
    while not other.entry("k/19").storage_uri:  # type: ignore[union-attr]
        other.compact()  # of what is older than now, of which each client has an estimate
    lake.store("k/19", "another" * 20)  # its old content is no longer in the catalog
    assert lake.store("again", texts[18]).storage_uri
    other.delete("k/19")
    other.collect(grace=0)
    entry = lake.store("again", "another" * 20)
    assert not entry.deduplicated
    assert lake["again"] == "another" * 20
    assert lake["k/18"] == texts[18]
    assert not lake.verify().problems


def test_a_snapshot_of_another_client_is_kept(clients: tuple[Lake, Lake]) -> None:
    lake, other = clients
    lake.store("k", 1)
    other.create_snapshot("then")
    lake.store("k", 2)
    lake.delete("k")
    assert lake.at("then")["k"] == 1


def store_ten(lake: Lake, number: int) -> None:
    for n in range(10):
        lake.store(f"{number}/{n}", n)


def test_threads_lose_nothing_to_wrong_guesses(clients: tuple[Lake, Lake]) -> None:
    lake, other = clients
    lake.store("first", 0)
    threads = [threading.Thread(target=store_ten, args=(lake, number)) for number in range(8)]
    for thread in threads:
        thread.start()
    for n in range(5):
        other.store("theirs", n)  # makes guesses wrong
    for thread in threads:
        thread.join()
    assert len(lake) == 82
    assert other["theirs"] == 4
    assert not lake.verify().problems


def test_machine(
    sqld: SqldNamespaces, tmp_path: Path, soak: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if a client remembers next to nothing, and so guesses wrong."""
    databases: dict[Path, str] = {}

    class OnTurso(LakeMachine):
        def open_lake(self, folder: Path, clock: FakeClock) -> Lake:
            url = databases.setdefault(folder, sqld.create_database())
            options = CatalogOptions(clock=clock, cache=str(tmp_path))
            catalog = open_catalog({"type": "turso", "url": url}, options)
            return open_lake(folder, clock=clock, catalog=catalog, inline_threshold=8)

    monkeypatch.setattr(memory, "_KEYS", 2)
    examples, steps = (300, 50) if soak else (2, 20)
    run_state_machine_as_test(
        OnTurso, settings=settings(max_examples=examples, stateful_step_count=steps)
    )
