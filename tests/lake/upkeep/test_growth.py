"""A lake that is only overwritten does not grow, though nobody keeps it clean."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import lakebed
from lakebed.lake.lake import Lake
from lakebed.testing import open_lake
from tests.servers import MariaDBServer

KEYS = [f"k{n:03}" for n in range(100)]
MANY = [f"k{n:04}" for n in range(1000)]


def value(key: str, turn: int) -> str:
    return f"{key} {turn} {'x' * 480}"


def in_batches(lake: Lake, turn: int, keys: Sequence[str] = KEYS) -> None:
    lake.store_batch({"key": key, "value": value(key, turn)} for key in keys)


def one_by_one(lake: Lake, turn: int, keys: Sequence[str] = KEYS) -> None:
    for key in keys:
        lake.store(key, value(key, turn))


def in_transactions(lake: Lake, turn: int, keys: Sequence[str] = KEYS) -> None:
    with lake.transaction() as tx:
        for key in keys:
            tx.store(key, value(key, turn))


def anew(lake: Lake, turn: int, keys: Sequence[str] = KEYS) -> None:
    for key in keys:
        lake.delete(key)
    in_batches(lake, turn, keys)


def used(lake: Lake) -> int:
    """Bytes of the catalog's pages, those that are free included."""
    executor: Any = lake._catalog._executor
    ((size,),) = executor.fetch(
        "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size", {}
    )
    return int(size)


@pytest.mark.parametrize("overwrite", [in_batches, one_by_one, in_transactions, anew])
def test_overwriting_takes_no_room(
    tmp_path: Path, overwrite: Callable[..., None], record_property: Any
) -> None:
    with open_lake(tmp_path) as lake:
        in_batches(lake, 0)
        live = used(lake)
        for turn in range(1, 201):
            overwrite(lake, turn)
        record_property(f"size after 200 overwrites, {overwrite.__name__}", used(lake) / live)
        assert used(lake) <= 2.5 * live
        assert lake.stats().objects == len(KEYS)
        assert [lake[key] for key in KEYS] == [value(key, 200) for key in KEYS]
        assert lake.verify().problems == []


SIZES = {
    "postgres": """SELECT sum(pg_total_relation_size(c.oid))::bigint FROM pg_class c
        JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = 'lakebed' AND c.relkind = 'r'""",
    "mysql": """SELECT CAST(sum(data_length + index_length) AS SIGNED)
        FROM information_schema.tables WHERE table_schema = database()""",
}


def taken(lake: Lake) -> int:
    """Bytes of the tables of a lake on a server, and of their indexes."""
    executor: Any = lake._catalog._executor
    if executor.dialect.name == "mysql":  # which remembers sizes until it is asked to look
        for table in ("object", "entry", "candidate", "segment_ended"):
            executor.alone(f"ANALYZE TABLE lakebed_{table}", {})
    return int(executor.fetch(SIZES[executor.dialect.name], {})[0][0])


def let_purge(server: MariaDBServer) -> None:
    """Wait for what frees the space of dead rows, which lies behind on a busy machine."""
    deadline = time.monotonic() + 20
    status = "SHOW GLOBAL STATUS LIKE 'Innodb_history_list_length'"
    while int(server.execute(status)[0][1]) > 1 and time.monotonic() < deadline:
        time.sleep(0.05)


@pytest.mark.sampled("server", 2)
@pytest.mark.parametrize("server", ["postgres_18", "mariadb"])
@pytest.mark.parametrize(
    ("overwrite", "turns"), [(in_batches, 25), (one_by_one, 6), (in_transactions, 6), (anew, 6)]
)
def test_overwriting_takes_no_room_on_a_server(
    request: pytest.FixtureRequest,
    server: str,
    overwrite: Callable[..., None],
    turns: int,
    record_property: Any,
) -> None:
    """Without any upkeep, and without waiting for what the server does in its own time. (Where
    nothing is done the fifth overwrite ends at four times the size.)"""
    place = request.getfixturevalue(server)
    if server == "mariadb":
        catalog = place.url(f"growth_{overwrite.__name__}")
    else:
        catalog = place.url(place.create_database())
    with lakebed.open(catalog=catalog) as lake:
        in_batches(lake, 0, MANY)
        live = taken(lake)
        for turn in range(1, turns + 1):
            overwrite(lake, turn, MANY)
            if server == "mariadb":
                let_purge(place)
        size = taken(lake)
        record_property(f"size on {server} after {turns}, {overwrite.__name__}", size / live)
        assert size <= 2.5 * live
        assert [lake[key] for key in MANY] == [value(key, turns) for key in MANY]
        assert lake.verify().problems == []


def test_what_something_refers_to_stays(tmp_path: Path) -> None:
    with open_lake(tmp_path, inline_threshold=100) as lake:
        lake.store("a", "shared")
        lake.store("b", "shared")
        lake.store("seen", "by the snapshot")
        lake.create_snapshot("s")
        lake.store("a", "other")
        assert lake["b"] == "shared"
        lake.store_batch([{"key": "b", "value": 1}, {"key": "c", "value": "other"}])
        lake.delete("seen")
        assert lake.at("s")["a"] == lake.at("s")["b"] == "shared"
        assert lake.at("s")["seen"] == "by the snapshot"
        with lake.transaction() as tx:  # the content goes from one key to another
            tx.store("c", "third")
            tx.delete("a")
            tx.store("d", "other")
        assert (lake["c"], lake["d"]) == ("third", "other")
        lake.drop_snapshot("s")
        lake.maintain()
        assert lake.stats().objects == 3
        assert lake.verify().problems == []


def test_what_lies_in_the_storage_waits_for_a_collection(tmp_path: Path) -> None:
    with open_lake(tmp_path, inline_threshold=10) as lake:
        lake.store_batch({"key": key, "value": value(key, 0)} for key in KEYS)
        lake.store_batch({"key": key, "value": value(key, 1)} for key in KEYS)
        lake.store(KEYS[0], value(KEYS[0], 2))
        assert lake.stats().objects == 2 * len(KEYS) + 1
        assert lake.collect(grace=0).objects == len(KEYS) + 1
