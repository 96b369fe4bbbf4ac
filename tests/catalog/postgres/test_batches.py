"""Batches on Postgres: what is new is copied straight into the tables, with the same result."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest

import lakebed
from lakebed.catalog.postgres import batch as postgres_batch
from lakebed.catalog.postgres.batch import PostgresBatch
from lakebed.catalog.postgres.transaction import PostgresTransaction
from lakebed.catalog.statements.executor import Row
from lakebed.errors import ValidationError
from lakebed.lake.lake import Lake
from tests.catalog.batch_scenes import SCENES, entries, state
from tests.servers import PostgresServer


@pytest.fixture
def place(postgres_18: PostgresServer) -> dict[str, Any]:
    schema = f"t{secrets.token_hex(6)}"
    return {"type": "postgres", "url": postgres_18.url(), "schema": schema, "max_size": 4}


@pytest.fixture
def lake(place: dict[str, Any]) -> Iterator[Lake]:
    with lakebed.open(catalog=place) as lake:
        yield lake


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which way each commit of a batch has gone."""
    taken: list[str] = []
    create, match = PostgresBatch._create, PostgresBatch.match

    def direct(self: PostgresBatch, tx: PostgresTransaction, rows: Any) -> Any:
        taken.append("direct")
        return create(self, tx, rows)

    def staged(self: PostgresBatch) -> None:
        taken.append("staged")
        match(self)

    monkeypatch.setattr(PostgresBatch, "_create", direct)
    monkeypatch.setattr(PostgresBatch, "match", staged)
    return taken


@pytest.mark.parametrize("scene", SCENES)
def test_both_ways_give_the_same(
    place: dict[str, Any], scene: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExitStack() as stack:
        lakes = [
            stack.enter_context(lakebed.open(catalog=place | {"schema": place["schema"] + way}))
            for way in ("direct", "staged")
        ]
        for batch in SCENES[scene]:
            monkeypatch.setattr(postgres_batch, "DIRECT", 20_000)
            direct = lakes[0].store_batch(batch)
            monkeypatch.setattr(postgres_batch, "DIRECT", 0)
            assert lakes[1].store_batch(batch) == direct
        assert state(lakes[0]) == state(lakes[1])
        assert lakes[0].stats() == lakes[1].stats()
        for one in lakes:
            versions = [entry.version for entry in one.list()]
            assert len(set(versions)) == len(versions)
            assert not one.verify().problems
        found = [[e.key for e in x.list(metadata_filter={"n": 33})] for x in lakes]
        assert found[0] == found[1]


def test_which_way(lake: Lake, ways: list[str]) -> None:
    lake.store_batch(entries(100))
    assert ways == ["direct"]
    lake.store_batch([e | {"key": "x" + e["key"]} for e in entries(100)])  # contents are known
    assert ways == ["direct"] * 2
    lake.store_batch(entries(100, 50))
    assert ways == ["direct"] * 3 + ["staged"]
    assert len(lake) == 250


def test_a_key_that_another_is_storing(lake: Lake, place: dict[str, Any], ways: list[str]) -> None:
    """The batch waits for it, and then replaces it."""
    with lakebed.open(catalog=place) as other, psycopg.connect(place["url"]) as connection:
        schema = place["schema"]
        other.store("there", 1)
        connection.execute(
            f"""INSERT INTO {schema}.entry
            SELECT 'k00033', nextval('{schema}.version'), object_id, '{{}}', NULL, 1, 1
            FROM {schema}.entry"""  # noqa: S608 - a name of ours
        )
        batch = threading.Thread(target=lake.store_batch, args=(entries(100),))
        batch.start()
        batch.join(0.3)
        assert batch.is_alive()
        connection.commit()
        batch.join()
    assert ways == ["direct", "staged"]
    assert lake["k00033"] == {"n": 33}
    assert len(lake) == 101


def test_two_batches_with_the_same_contents_at_once(place: dict[str, Any]) -> None:
    with lakebed.open(catalog=place) as lake:
        start = threading.Barrier(4)
        failed: list[Exception] = []

        def store(number: int) -> None:
            for turn in range(5):
                batch = [
                    {"key": f"{number if n % 2 else 'shared'}/{turn}/{n}", "value": f"{turn} {n}"}
                    for n in range(300)
                ]
                start.wait()
                try:
                    lake.store_batch(batch)
                except Exception as error:  # noqa: BLE001 - reported below
                    failed.append(error)

        threads = [threading.Thread(target=store, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failed
        assert len(lake) == 5 * (150 * 4 + 150)
        assert lake.stats().objects == 5 * 300
        assert not lake.verify().problems


def test_a_key_stored_and_deleted_meanwhile(
    place: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its versions never invert, in the history neither."""
    with (
        lakebed.open(catalog=place, history="all") as lake,
        lakebed.open(catalog=place) as other,
    ):
        copy_in = PostgresTransaction.copy_in

        def interrupted(self: PostgresTransaction, sql: str, *rest: Any) -> None:
            if "object" in sql and other.entry("seen") is None:
                other.store("seen", 1)
                other.store("k00033", "theirs")
                other.delete("k00033")
            copy_in(self, sql, *rest)

        monkeypatch.setattr(PostgresTransaction, "copy_in", interrupted)
        assert lake.store_batch(entries(100)).created == 100
        ours, theirs = lake.history("k00033")
        sql = "SELECT max(end_version) FROM {}.entry_history WHERE key = 'k00033'"
        with psycopg.connect(place["url"]) as connection:
            row = connection.execute(sql.format(place["schema"]).encode()).fetchone()
        assert row is not None
        assert ours.version > row[0] > theirs.version


def test_a_key_stored_between_locking_and_matching(
    lake: Lake, place: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else others could replace the row while the batch does: both would note that it has ended."""
    lake.store("k00003", "ours")
    script, locked = PostgresTransaction.script, list[bool]()

    def interrupted(self: PostgresTransaction, sql: str) -> None:
        if not locked and "matched" in sql:
            locked.append(False)
            with lakebed.open(catalog=place) as other:
                other.store("k00007", "theirs")
        script(self, sql)

    def is_locked(key: str) -> bool:
        sql = "SELECT 1 FROM {}.entry WHERE key = %s FOR UPDATE NOWAIT"
        with psycopg.connect(place["url"]) as connection:
            try:
                connection.execute(sql.format(place["schema"]).encode(), [key])
            except psycopg.errors.LockNotAvailable:
                return True
        return False

    def watched(self: PostgresBatch, newest_snapshot: int) -> None:
        locked.extend(map(is_locked, ("k00003", "k00007")))
        write(self, newest_snapshot)

    write = PostgresBatch._write
    monkeypatch.setattr(PostgresTransaction, "script", interrupted)
    monkeypatch.setattr(PostgresBatch, "_write", watched)
    lake.store_batch(entries(10))
    assert locked == [False, True, True]
    assert lake["k00007"] == {"n": 7}


@pytest.mark.parametrize("count", [10, 5000])
def test_the_indexes_hear_of_it(lake: Lake, place: dict[str, Any], count: int) -> None:
    lake.store_batch(
        {"key": f"{n:05}", "value": f"word{n} common", "metadata": {"n": n}} for n in range(count)
    )
    assert [e.key for e in lake.list(metadata_filter={"n": 7})] == ["00007"]
    assert [hit.key for hit in lake.search("word7")] == ["00007"]
    assert lake.search("common").total == count

    def counted(sql: str) -> Row:
        with psycopg.connect(place["url"]) as connection:
            row = connection.execute(sql.format(place["schema"]).encode()).fetchone()
        assert row is not None
        return row

    lake.maintain()
    lake.store_batch({"key": f"x{n:05}", "value": "more", "metadata": {"n": -n}} for n in range(5))
    lake.store_batch([{"key": "00007", "value": "word7 again"}])
    assert [e.key for e in lake.list(metadata_filter={"n": -3})] == ["x00003"]
    assert [e.key for e in lake.list(metadata_filter={"n": 7})] == []
    assert {hit.key for hit in lake.search("again more")} == {
        "00007",
        *(f"x{n:05}" for n in range(5)),
    }
    lake.maintain()
    assert counted("SELECT count(*) FROM {}.segment_queue") == (0,)
    assert counted("SELECT count(*) FROM {}.queued_batch WHERE queue = 'text'") == (0,)
    (documents,) = counted("SELECT sum(documents) FROM {}.segment")
    assert count + 5 <= documents <= count + 6  # with or without what was replaced


def test_searches_at_once_index_each_entry_once(lake: Lake, place: dict[str, Any]) -> None:
    lake.store_batch({"key": f"{n:05}", "value": f"common {n}"} for n in range(3000))
    with ExitStack() as stack:
        others = [stack.enter_context(lakebed.open(catalog=place)) for _ in range(3)]
        totals: list[int] = []

        def search(one: Lake) -> Callable[[], None]:
            return lambda: totals.append(one.search("common").total)

        threads = [threading.Thread(target=search(one)) for one in others]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert totals == [3000] * 3
    lake.maintain()
    with psycopg.connect(place["url"]) as connection:
        sql = "SELECT sum(documents) FROM {}.segment"
        assert connection.execute(sql.format(place["schema"]).encode()).fetchone() == (3000,)


def test_nothing_of_a_batch_that_is_refused(lake: Lake) -> None:
    with pytest.raises(ValidationError):
        lake.store_batch([*entries(10), {"key": "", "value": 1}])
    assert len(lake) == 0
    assert lake.stats().objects == 0
