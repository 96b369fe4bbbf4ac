"""Segments of a Postgres catalog: what waits for one, and writers who commit while one is built."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import psycopg
import pytest

import lakebed
from lakebed.lake.lake import Lake
from tests.servers import PostgresServer

ALPHABETS = {
    "chinese": range(0x4E00, 0x9FA0),
    "hangul": range(0xAC00, 0xD7A4),
    "cyrillic and spaces": [*range(0x430, 0x450), 32, 32, 32],
    "latin and spaces": [*range(0x61, 0x7B), 32, 32, 32, 32],
    "all letters": [*range(0x20, 0xD800), *range(0x10000, 0x30000)],
}


@pytest.fixture
def url(postgres_15: PostgresServer) -> str:
    return postgres_15.url(tcp=True)


@pytest.fixture
def lake(url: str) -> Iterator[Lake]:
    catalog = {"type": "postgres", "url": url, "schema": "search_test"}
    with lakebed.open(catalog=catalog) as lake:
        yield lake
    with psycopg.connect(url) as connection:
        connection.execute("DROP SCHEMA search_test CASCADE")


def build(lake: Lake) -> None:
    """Build a segment of all that waits."""
    lake._searcher().build_waiting()


def first(monkeypatch: pytest.MonkeyPatch, lake: Lake, step: str, act: Callable[[], None]) -> None:
    """Once, before a call of the lake's catalog, somebody acts."""
    call, left = getattr(lake._catalog, step), [act]

    def wrapped(*args: Any, **options: Any) -> Any:
        if left:
            left.pop()()
        return call(*args, **options)

    monkeypatch.setattr(lake._catalog, step, wrapped)


def count(url: str, sql: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute(sql.encode()).fetchone()
    assert row is not None
    return int(row[0])


def test_it_holds_the_words_of_any_text(lake: Lake, url: str) -> None:
    random = Random(1)
    for name, alphabet in ALPHABETS.items():
        lake.store(name, "".join(map(chr, random.choices(alphabet, k=200_000))) + " needle")
    lake.maintain()
    assert count(url, "SELECT sum(documents) FROM search_test.segment") == len(ALPHABETS)
    assert count(url, "SELECT count(*) FROM search_test.segment_queue") == 0
    assert lake.search("needle").total == len(ALPHABETS)


def test_segments_and_evaluation_rank_alike(lake: Lake) -> None:
    for number in range(16):
        text = f"{'apple ' * (number % 4)}{'pear ' * (number % 3)}{'padding ' * (number % 11)}"
        lake.store(f"{number:02}", text)
    evaluated = [(hit.key, hit.score) for hit in lake.search("apple pears", limit=100)]
    lake.maintain()
    assert [(h.key, h.score) for h in lake.search("apple pears", limit=100)] == evaluated


@pytest.mark.parametrize("step", ["next_waiting", "get_versions", "add_segment"])
@pytest.mark.parametrize("how", ["new", "new batch", "replaced", "deleted", "batch", "kept"])
def test_who_commits_while_a_segment_is_built_is_not_lost(
    lake: Lake, url: str, monkeypatch: pytest.MonkeyPatch, step: str, how: str
) -> None:
    """What a builder has read may have ended since, and versions are not committed in order."""
    lake.store_batch({"key": f"{n}", "value": "common"} for n in range(5))
    lake.store("single", "common")
    if how == "kept":
        lake.create_snapshot("s")
    expected = {*(f"{n}" for n in range(5)), "single"}

    def write() -> None:
        with lakebed.open(catalog={"type": "postgres", "url": url, "schema": "search_test"}) as b:
            if how == "new":
                b.store("new", "common")
                expected.add("new")
            elif how == "new batch":
                b.store_batch({"key": f"new/{n}", "value": "common"} for n in range(3))
                expected.update(f"new/{n}" for n in range(3))
            elif how in ("replaced", "kept"):
                b.store("1", "common but other")
                b.store("single", "other")
                expected.discard("single")
            elif how == "deleted":
                b.delete("1")
                b.delete("single")
                expected.difference_update(["1", "single"])
            else:
                b.store_batch({"key": key, "value": "common too"} for key in ("1", "x", "single"))
                expected.add("x")

    first(monkeypatch, lake, step, write)
    build(lake)
    for _ in range(2):
        found = lake.search("common", limit=100)
        assert {hit.key for hit in found} == expected
        assert found.total == len(found) == len(expected)
        if how == "kept":
            assert lake.at("s").search("common").total == 6
        build(lake)
    assert count(url, "SELECT count(*) FROM search_test.segment_queue") == 0
    assert count(url, "SELECT count(*) FROM search_test.queued_batch WHERE queue = 'text'") == 0


def test_a_number_drawn_before_a_build_and_committed_after_it(lake: Lake, url: str) -> None:
    """A writer that is under way holds the builder back, and waits for its own segment after."""
    lake.store("a", "common")
    with psycopg.connect(url) as connection:
        connection.execute("SELECT nextval('search_test.version')")  # drawn, and never used
        build(lake)
    lake.store("b", "common")
    assert lake.search("common").total == 2
    build(lake)
    assert lake.search("common").total == 2


def test_writers_builders_and_searchers_at_once(lake: Lake, url: str) -> None:
    """No search misses what was stored before it, or finds what was deleted before it."""
    place = {"type": "postgres", "url": url, "schema": "search_test"}
    failures: list[object] = []
    writing = threading.Event()

    def write(name: str) -> None:
        with lakebed.open(catalog=place) as mine:
            for number in range(40):
                mine.store(f"{name}/stays/{number}", f"common {name}")
                mine.store(f"{name}/goes", f"fleeting {name} {number}")
                if number % 3 == 0:
                    mine.delete(f"{name}/goes")
                found = mine.search(name, prefix=f"{name}/stays/", limit=0)
                gone = mine.search("fleeting", prefix=f"{name}/", limit=5)
                if found.total != number + 1 or gone.total != (number % 3 != 0):
                    failures.append((name, number, found.total, gone.total))

    def build_on() -> None:
        with lakebed.open(catalog=place) as mine:
            while not writing.is_set():
                build(mine)
                hits = mine.search("common", limit=10_000)
                if len(hits) != hits.total or len({hit.key for hit in hits}) != len(hits):
                    failures.append(hits)

    writers = [threading.Thread(target=write, args=(name,)) for name in ("ann", "bob", "carl")]
    builders = [threading.Thread(target=build_on) for _ in range(2)]
    for thread in (*writers, *builders):
        thread.start()
    for thread in writers:
        thread.join()
    writing.set()
    for thread in builders:
        thread.join()
    assert not failures
    assert lake.search("common", limit=0).total == 120
    build(lake)
    assert lake.search("common", limit=0).total == 120
    assert lake.search("fleeting").total == 0
