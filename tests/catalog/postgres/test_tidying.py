"""A client of Postgres removes what overwriting leaves, and nothing else."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Mapping
from typing import Any
from unittest.mock import patch

import pytest

import lakebed
from lakebed.catalog.postgres import tidying as postgres_tidying
from lakebed.catalog.postgres.tidying import Tidying
from lakebed.lake.lake import Lake
from tests.catalog.postgres.tidied import World

pytestmark = pytest.mark.sampled("world", 2)


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
