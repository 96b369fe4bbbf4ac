"""Tidying beside other writers: stores, batches, removals and indexes at the same moment."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Any
from unittest.mock import patch

import pytest

from lakebed.catalog.postgres import tidying as postgres_tidying
from lakebed.catalog.postgres.batch import PostgresBatch
from lakebed.catalog.postgres.tidying import Tidying
from lakebed.filters import index_terms
from lakebed.values.codec import encode_value
from tests.catalog.postgres.tidied import World
from tests.waiting import until


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
        until(lambda: world.waiting() == 2)
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
    assert world.count("entry_metadata") == 5 + 5 + 1  # terms, shapes, and what the shape is
    assert [e.key for e in lake.list(metadata_filter={"n": {"$gte": 0}})] == ["1", "2", "3", "4"]
    assert [e.key for e in lake.list(metadata_filter={"n": "new"})] == ["0"]
