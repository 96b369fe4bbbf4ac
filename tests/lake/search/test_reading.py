"""A search is two statements, and its answer is of one moment whatever happens between them."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import lakebed
from lakebed.catalog.sql.segments import QuickReading, TransactionReading
from lakebed.errors import NotFoundError
from lakebed.lake.lake import Lake

COUNT = 30


class World(NamedTuple):
    """Two clients of one lake, and how often the first one asks the database."""

    a: Lake
    b: Lake
    asked: Callable[[], int]


@pytest.fixture(params=["sqlite", "postgres", "mariadb"])
def world(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    if request.param == "sqlite":
        catalog = f"sqlite:///{tmp_path}/catalog.db"
    elif request.param == "postgres":
        server = request.getfixturevalue("postgres_18")
        catalog = server.url(server.create_database())
    else:
        catalog = request.getfixturevalue("mariadb").url(f"reading_{secrets.token_hex(6)}")
    with lakebed.open(catalog=catalog) as a, lakebed.open(catalog=catalog) as b:
        a.store_batch({"key": f"{n:02}", "value": f"common number{n}"} for n in range(COUNT))
        a._searcher().build_waiting()
        b.search("common")
        yield World(a, b, _counter(request.param, monkeypatch))


_ASKED = {  # through what every statement of a catalog goes
    "sqlite": ("lakebed.catalog.sqlite.executor", "SQLiteExecutor", "fetch"),
    "postgres": ("lakebed.catalog.postgres.connection", "WatchedConnection", "wait"),
    "mariadb": ("pymysql.connections", "Connection", "_execute_command"),
}


def _counter(name: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    module, owner, step = _ASKED[name]
    found, count = getattr(import_module(module), owner), [0]
    call = getattr(found, step)

    def counted(*args: Any, **options: Any) -> Any:
        count[0] += 1
        return call(*args, **options)

    monkeypatch.setattr(found, step, counted)
    return lambda: count[0]


def between(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    """Once, between the two statements of a search, somebody acts."""
    call, left = QuickReading.versions, [act]

    def wrapped(self: QuickReading, versions: Any) -> Any:
        if left:
            left.pop()()
        return call(self, versions)

    monkeypatch.setattr(QuickReading, "versions", wrapped)


def test_a_search_asks_twice(world: World) -> None:
    a, _, asked = world
    for _ in range(2):
        before = asked()
        assert a.search("common").total == COUNT
    assert asked() - before == 2
    a.store("new", "common")
    before = asked()
    assert a.search("common").total == COUNT + 1
    assert asked() - before == 3
    a.create_snapshot("s")
    view = a.at("s")
    before = asked()
    assert view.search("common").total == COUNT + 1
    assert asked() - before == 2


ACTS: dict[str, Callable[[Lake], object]] = {
    "overwrite": lambda lake: lake.store("03", "common replaced"),
    "delete": lambda lake: lake.delete("03"),
    "purge": lambda lake: lake.purge("03"),
    "batch": lambda lake: lake.store_batch(
        {"key": f"{n:02}", "value": f"common replaced {n}"} for n in range(COUNT + 5)
    ),
    "build": lambda lake: (lake.store("03", "common built"), lake.maintain()),
}


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)
def test_what_happens_between_is_seen_or_not_as_a_whole(
    world: World, act: Callable[[Lake], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b, _ = world
    between(monkeypatch, lambda: act(b) and None)
    found = {hit.key: hit.value for hit in a.search("common", limit=100)}
    # Nothing of what the hits showed is there any more as it was: so all is as it is now.
    assert found == dict(b.items())


def test_what_no_hit_shows_is_as_it_was(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b, _ = world
    between(monkeypatch, lambda: b.delete("03") and None)
    found = a.search("common number7", limit=1)
    assert (found[0].key, found.total) == ("07", COUNT)
    assert a.search("common", limit=1).total == COUNT - 1


@pytest.mark.parametrize("act", [a for name, a in ACTS.items() if name != "purge"])
def test_the_past_stays_as_it_was(
    world: World, act: Callable[[Lake], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b, _ = world
    before = dict(a.items())
    a.create_snapshot("s")
    between(monkeypatch, lambda: act(b) and None)
    assert {hit.key: hit.value for hit in a.at("s").search("common", limit=100)} == before


def test_a_snapshot_that_is_dropped_meanwhile(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b, _ = world
    a.create_snapshot("s")
    view = a.at("s")
    a.delete("03")

    def drop() -> None:
        b.drop_snapshot("s")
        b.maintain()

    between(monkeypatch, drop)
    with pytest.raises(NotFoundError, match="dropped"):
        view.search("common", limit=100)


def test_it_takes_a_transaction_only_where_hits_are_gone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b, _ = world
    taken: list[object] = []
    init = TransactionReading.__init__
    monkeypatch.setattr(
        TransactionReading, "__init__", lambda *args: (taken.append(args), init(*args))[1]
    )
    a.search("common")
    b.store("new", "common")
    a.search("common")
    assert not taken
    between(monkeypatch, lambda: b.delete("00") and None)
    assert a.search("common", limit=100).total == COUNT
    assert len(taken) == 1
