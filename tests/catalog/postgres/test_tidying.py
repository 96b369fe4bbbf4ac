"""A client of Postgres removes what overwriting leaves, and nothing else."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Any
from unittest.mock import patch

import psycopg
import pytest

import lakebed
from lakebed.catalog.postgres import tidying as postgres_tidying
from lakebed.catalog.postgres.batch import PostgresBatch
from lakebed.catalog.postgres.tidying import Tidying
from lakebed.filters import index_terms
from lakebed.lake.lake import Lake
from lakebed.values.codec import encode_value
from tests.servers import PostgresServer


class World:
    """A lake on Postgres, and a look at its tables."""

    def __init__(self, server: PostgresServer) -> None:
        self.server = server
        self.schema = f"t{secrets.token_hex(6)}"
        self.lake = self.open()

    def open(self, **more: Any) -> Lake:
        catalog = {"type": "postgres", "url": self.server.url(), "schema": self.schema, **more}
        return lakebed.open(catalog=catalog)

    @property
    def tidying(self) -> Tidying:
        catalog: Any = self.lake._catalog
        return catalog._tidying  # type: ignore[no-any-return]

    def tidy(self) -> None:
        self.tidying._tidy()

    def count(self, what: str) -> int:
        sql = f'SELECT count(*) FROM "{self.schema}".{what}'  # noqa: S608 - names of ours
        return int(self.server.execute(sql)[0][0])

    def connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.server.url())


@pytest.fixture(params=["postgres_18", "postgres_15"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    world = World(request.getfixturevalue(request.param))
    with world.lake:
        yield world
    world.server.execute(f'DROP SCHEMA "{world.schema}" CASCADE')


def test_what_has_a_name_stays(world: World) -> None:
    lake = world.lake
    lake.store("a", "shared")
    lake.store("b", "shared")
    lake.store("seen", "by the snapshot")
    lake.create_snapshot("s")
    lake.store("seen", "not any more")
    lake.store("a", "alone")
    world.tidy()
    assert (lake["b"], lake.at("s")["seen"], lake.at("s")["a"]) == (
        "shared", "by the snapshot", "shared",
    )  # fmt: skip
    lake.drop_snapshot("s")
    lake.store("a", "once more")
    world.tidy()
    assert lake["b"] == "shared"
    lake.delete("b")  # "shared" is a candidate already, and has lost its last name only now
    lake.maintain()
    assert lake.stats().objects == 2
    assert lake.verify().problems == []


def test_a_client_tidies_as_it_goes(world: World) -> None:
    with patch.object(postgres_tidying, "EVERY", 10), world.open() as lake:
        for number in range(10):
            lake.store("single", number)
            assert world.count("candidate") == number
        lake.store("single", "last")
        assert (world.count("object"), world.count("candidate")) == (1, 0)
        for turn in range(2):
            lake.store_batch({"key": f"{n}", "value": [turn, n]} for n in range(10))
        assert (world.count("object"), world.count("candidate")) == (11, 0)
        for turn in range(2):
            with lake.transaction() as tx:
                for n in range(5):
                    tx.store(f"{n}", f"{turn} {n}")
        assert (world.count("object"), world.count("candidate")) == (11, 0)
        for n in range(10):
            lake.store(f"{n}", "brief", ttl=0.001)
        time.sleep(0.01)
        lake.cleanup_expired()
        assert (world.count("object"), world.count("candidate")) == (1, 0)
        assert world.lake.verify().problems == []


def test_what_has_to_stay_is_no_obstacle(world: World) -> None:
    lake = world.lake
    for value in ("first", "second"):  # all of the first are candidates, and live on
        lake.store_batch({"key": f"{value}/{n}", "value": f"kept {n}"} for n in range(100))
    lake.store_batch({"key": f"second/{n}", "value": n} for n in range(100))
    assert world.count("candidate") == 100
    with patch.object(postgres_tidying, "_PAGE", 20):
        for turn in range(60):
            lake.store_batch({"key": f"third/{n}", "value": [turn, n]} for n in range(10))
            world.tidy()
        assert world.count("object") < 200 + 10 + 200
        while world.count("object") > 210:
            world.tidy()
    assert world.count("candidate") == 100
    assert lake.verify().problems == []


def test_content_that_is_being_reused_stays(world: World) -> None:
    """A writer that has found a content holds it until its commit."""
    world.lake.store("a", "content")
    world.lake.store("a", "other")
    hash_ = encode_value("content").content_hash
    with world.connect() as writer:
        for form in ("name_object", "find_ids"):
            if form == "name_object":
                name = f'"{world.schema}"."name_object"'
                content = "'\"content\"', NULL, NULL, NULL, 0"
                writer.execute(f"SELECT {name}(%s, 'json', 9, {content})".encode(), [hash_])
            else:
                catalog: Any = world.lake._catalog
                text = catalog._queries["find_ids"].replace(":hashes", "%s")
                writer.execute(text.encode(), [[hash_]])
            world.tidy()
            assert world.count("object") == 2
            writer.rollback()
    world.tidy()
    assert world.count("object") == 1


def test_content_that_a_batch_is_reusing_stays(world: World) -> None:
    lake = world.lake
    for value in ("content", "other"):
        lake.store("a", value)
    match = PostgresBatch.match

    def watched(batch: PostgresBatch) -> None:
        match(batch)
        with world.open() as other:
            catalog: Any = other._catalog
            catalog._tidying._tidy()

    with patch.object(PostgresBatch, "match", watched):
        # So many that only some are looked for before they are staged; this one is not of them.
        rows = [{"key": f"b/{n:02}", "value": "content" if n == 1 else n} for n in range(40)]
        lake.store_batch([*rows, {"key": "a", "value": 1}])
    assert lake["b/01"] == "content"
    assert lake.verify().problems == []


def test_content_that_is_being_removed_is_stored_anew(world: World) -> None:
    """A writer that comes upon a removal which has not been committed waits for it, no longer."""
    world.lake.store("a", "content")
    world.lake.store("a", "other")
    with world.connect() as tidying:
        row = tidying.execute(f'SELECT "{world.schema}"."tidy"(10)'.encode()).fetchone()
        assert row == (1,)
        threads = [
            threading.Thread(target=world.lake.store, args=("b", "content")),
            threading.Thread(
                target=world.lake.store_batch,
                args=([{"key": "c", "value": "content"}, {"key": "a", "value": 1}],),
            ),
        ]
        for thread in threads:
            thread.start()
        time.sleep(0.2)
        tidying.commit()
        for thread in threads:
            thread.join()
    assert dict(world.lake) == {"a": 1, "b": "content", "c": "content"}
    assert world.lake.verify().problems == []


def test_it_waits_for_nobody(world: World) -> None:
    world.lake.store("a", 1)
    world.lake.store("a", 2)
    with world.connect() as other:
        lock = f'SELECT * FROM "{world.schema}".object FOR UPDATE'  # noqa: S608 - names of ours
        other.execute(lock.encode())
        world.tidy()
        assert world.count("object") == 2
    lock = world.lake._catalog._queries["begin_exclusive"]  # type: ignore[attr-defined]
    with world.connect() as other:
        other.execute(lock.partition("pg_advisory_xact_lock(")[2].partition(")")[0].join(
            ("SELECT pg_advisory_xact_lock(", ")")).encode())  # fmt: skip
        world.tidy()
        assert world.count("object") == 2
    world.tidy()
    assert world.count("object") == 1


def test_a_failure_is_told_and_fails_nothing(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.server.execute(f'DROP FUNCTION "{world.schema}"."tidy"')
    with (
        patch.object(postgres_tidying, "EVERY", 2),
        caplog.at_level(logging.WARNING, "lakebed.catalog"),
        world.open() as lake,
    ):
        for number in range(4):
            lake.store("a", number)
        assert lake["a"] == 3
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert "maintain()" in caplog.text
        for number in range(2):
            lake.store("a", -number)
        assert len(caplog.records) == 2
    world.lake.maintain()
    assert world.count("object") == 1


def test_short_lives_tidy_as_well(world: World) -> None:
    """The first time comes somewhere within the first round."""
    with patch.object(postgres_tidying, "first_turn", lambda: 1), world.open() as lake:
        lake.store("a", 1)
        lake.store("a", 2)
    assert world.count("object") == 1


def test_what_indexes_queued_of_versions_that_are_gone(world: World) -> None:
    lake = world.lake
    for turn in range(5):
        lake.store_batch(
            {"key": f"{n}", "value": f"word{turn}", "metadata": {"n": turn}} for n in range(20)
        )
        lake.store("single", "word", {"n": turn})
    assert (world.count("segment_ended"), world.count("queued_batch")) == (80, 10)
    while world.count("queued_batch") > 2:
        world.tidy()
    assert (world.count("segment_ended"), world.count("metadata_queue")) == (0, 1)
    assert world.count("metadata_ended") == 0
    lake.store("3", "another", {"n": 9})
    world.tidy()
    assert world.count("segment_ended") == 1  # too few for the others to be read again
    for _ in range(2):
        assert lake.search("word4").total == 19
        assert lake.search("word3").total == 0
        assert len(list(lake.list(metadata_filter={"n": 4}))) == 20
        lake.maintain()


@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize("drawn", [False, True])
def test_a_segment_that_is_being_built_meanwhile(world: World, drawn: bool, single: bool) -> None:
    """It learns that what it holds has ended, though no row says so any more."""
    lake, catalog = world.lake, world.lake._catalog
    if single:
        for number in range(5):
            lake.store(f"{number}", "common")
    else:
        for number in range(5):
            lake.store_batch([{"key": f"{number}", "value": "common"}])
    read = catalog.get_versions
    # So many that what a batch queued is worth looking at.
    sql = 'SELECT "{}".delete_entry(k::text, NULL, NULL, false, NULL, NULL) FROM {} k'
    delete = sql.format(world.schema, "generate_series(1, 3)").encode()
    with world.connect() as writer:
        if drawn:  # a version that is older than what the build reads, and is committed later
            writer.execute(delete)

        def late(versions: Sequence[int]) -> Any:
            found = read(versions)
            if not drawn:
                writer.execute(delete)
            writer.commit()
            if not single:
                world.tidy()
            assert world.count("segment_ended") == 0
            return found

        with patch.object(catalog, "get_versions", late):
            lake._searcher().build_waiting()
    assert world.count("segment") == 1
    found = lake.search("common")
    assert (len(found), found.total) == (2, 2)


def test_space_is_given_back(world: World) -> None:
    with patch.object(postgres_tidying, "EVERY", 100), world.open() as lake:
        lake.store_batch({"key": f"{n}", "value": f"0 {n} {'x' * 400}"} for n in range(100))
        size = f"SELECT pg_total_relation_size('\"{world.schema}\".object')"
        sizes = []
        for turn in range(1, 40):
            lake.store_batch({"key": f"{n}", "value": f"{turn} {'x' * 400}{n}"} for n in range(100))
            sizes.append(world.server.execute(size)[0][0])
        assert sizes[-1] <= 1.2 * sizes[5]
        assert sizes[-1] <= 4 * sizes[0]


def test_what_somebody_may_still_see_is_not_tried_each_time(world: World) -> None:
    runs = list[str]()
    run = Tidying._run

    def counted(tidying: Tidying, sql: str, params: Mapping[str, int]) -> Any:
        if "VACUUM" in sql:
            runs.append(sql)
        return run(tidying, sql, params)

    def overwrite(lake: Lake, turns: int) -> int:
        runs.clear()
        for turn in range(turns):
            lake.store_batch({"key": f"{n}", "value": [turn, n, "x" * 400]} for n in range(100))
        return len(runs)

    with (
        patch.object(postgres_tidying, "EVERY", 100),
        patch.object(Tidying, "_run", counted),
        world.open() as lake,
    ):
        overwrite(lake, 3)
        assert overwrite(lake, 10) >= 8
        with world.connect() as reader:
            reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            reader.execute(f'TABLE "{world.schema}".entry'.encode())
            assert overwrite(lake, 20) < 10
        overwrite(lake, 60)
        assert overwrite(lake, 10) >= 8


def test_who_does_not_own_the_tables_leaves_their_space_to_the_server(world: World) -> None:
    role = f"r{secrets.token_hex(4)}"
    grants = f"""CREATE ROLE {role} LOGIN PASSWORD 'x';
        GRANT USAGE ON SCHEMA "{world.schema}" TO {role};
        GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA "{world.schema}" TO {role};
        GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA "{world.schema}" TO {role};
        GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA "{world.schema}" TO {role}"""
    world.server.execute(grants)
    url = world.server.url(user=role)
    given = {"type": "postgres", "url": url, "schema": world.schema, "auto_migrate": False}
    try:
        with patch.object(postgres_tidying, "EVERY", 5), lakebed.open(catalog=given) as lake:
            for number in range(30):
                lake.store("a", number)
            catalog: Any = lake._catalog
            worn = catalog._queries["worn_tables"]
            assert catalog._tidying._run(worn, {"replaced": 30, "least": 5}) == []
        assert world.count("object") < 10
    finally:
        world.server.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_it_works_behind_sqlalchemy(world: World) -> None:
    given = {"type": "sqlalchemy", "url": world.server.url(), "schema": world.schema}
    with patch.object(postgres_tidying, "EVERY", 10), lakebed.open(catalog=given) as lake:
        for number in range(101):
            lake.store("a", number)
    assert (world.count("object"), world.count("candidate")) == (1, 0)


def test_stores_of_few_contents_beside_tidying(
    world: World, soak: bool, record_property: Any
) -> None:
    """Contents lose their last name and get another all the time, in every way there is."""
    until = time.monotonic() + (120 if soak else 5)
    stores, errors = [0], list[Exception]()

    def write(number: int) -> None:
        random = Random(number)
        try:
            with world.open(max_size=1) as lake:
                while time.monotonic() < until:
                    keys = [f"{random.randrange(6)}" for _ in range(random.randint(1, 4))]
                    values = {key: f"content {random.randrange(8)}" for key in keys}
                    how = random.randrange(4)
                    if how == 0:
                        lake.store_batch({"key": k, "value": v} for k, v in values.items())
                    elif how == 1:
                        with lake.transaction() as tx:
                            for key, value in values.items():
                                tx.store(key, value)
                    elif how == 2:
                        lake.delete(keys[0])
                    else:
                        lake.store(keys[0], values[keys[0]])
                    stores[0] += 1
                    for found in lake.retrieve_batch(values).values():
                        assert str(found).startswith("content")
        except Exception as error:  # noqa: BLE001 - whatever it is, the test fails
            errors.append(error)

    with (
        patch.object(postgres_tidying, "EVERY", 1),
        patch.object(Tidying, "_vacuum", lambda _: None),  # which takes most of the time
    ):
        threads = [threading.Thread(target=write, args=(n,)) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert errors == []
    record_property("stores beside tidying", stores[0])
    assert world.lake.verify().problems == []
    world.lake.collect()
    assert world.lake.stats().objects == len({str(value) for value in world.lake.values()})


def test_what_ends_while_the_metadata_index_takes_it_in(world: World) -> None:
    """Its terms come after it has ended, and are dropped nonetheless."""
    lake = world.lake
    index: Any = lake._catalog._index  # type: ignore[attr-defined]
    lake.store_batch({"key": f"{n}", "value": n, "metadata": {"n": n}} for n in range(5))
    reading, go_on = threading.Event(), threading.Event()

    def slowly(metadata: Any) -> Any:
        reading.set()
        assert go_on.wait(20)
        return index_terms(metadata)

    with patch("lakebed.filters.index_terms", slowly), ThreadPoolExecutor(2) as threads:
        taking = threads.submit(index._take_in)
        assert reading.wait(20)
        lake.store("0", "other", {"n": "new"})
        assert world.count("metadata_ended") == 1
        dropping = threads.submit(lambda: index.tidy(lambda: False))
        with pytest.raises(TimeoutError):
            dropping.result(timeout=0.3)
        index.tidy(lambda: False, patient=False)  # nor does who cannot wait drop anything
        assert world.count("metadata_ended") == 1
        go_on.set()
        assert taking.result(timeout=20)
        dropping.result(timeout=20)
    assert world.count("metadata_ended") == 0
    index.catch_up(lambda: False)
    assert world.count("entry_metadata") == 5
    assert [e.key for e in lake.list(metadata_filter={"n": {"$gte": 0}})] == ["1", "2", "3", "4"]
    assert [e.key for e in lake.list(metadata_filter={"n": "new"})] == ["0"]
