"""The text index of a Postgres catalog takes whatever it is given."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from random import Random

import psycopg
import pytest
from lakebed.catalog.text_reading import Document

import lakebed
from lakebed.catalog.postgres import PostgresCatalog
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


def test_it_holds_the_words_of_any_text(lake: Lake, url: str) -> None:
    random = Random(1)
    for name, alphabet in ALPHABETS.items():
        lake.store(name, "".join(map(chr, random.choices(alphabet, k=200_000))))
    lake.maintain()
    with psycopg.connect(url) as connection:
        indexed = connection.execute("SELECT count(*) FROM search_test.entry_text").fetchone()
        waiting = connection.execute("SELECT count(*) FROM search_test.text_unread").fetchone()
    assert (indexed, waiting) == ((len(ALPHABETS),), (0,))


def test_index_and_evaluation_rank_alike(lake: Lake) -> None:
    for number in range(16):
        text = f"{'apple ' * (number % 4)}{'pear ' * (number % 3)}{'padding ' * (number % 11)}"
        lake.store(f"{number:02}", text)
    evaluated = list(lake.search("apple pears", limit=100))
    lake.maintain()
    indexed = list(lake.search("apple pears", limit=100))
    assert [hit.key for hit in indexed] == [hit.key for hit in evaluated]
    assert [hit.score for hit in indexed] == pytest.approx([hit.score for hit in evaluated])


def documents(lake: Lake, keys: Iterable[str]) -> list[Document]:
    rows = [row for key in keys if (row := lake._catalog.get(key))]
    return [Document(row, ["common"], False) for row in rows]


def test_who_finds_nothing_left_to_index_counts_nothing(lake: Lake) -> None:
    """Another, who is about to commit what it has counted, must not be written over."""
    catalog = lake._catalog
    assert isinstance(catalog, PostgresCatalog)
    index, executor = catalog._text_search().index, catalog._executor
    first, second = [f"a{n}" for n in range(20)], [f"b{n}" for n in range(5)]
    for keys in (first, second):
        for key in keys:
            lake.store(key, "common")
        if keys is first:
            lake.maintain()
    assert index.reach(executor.fetch).rows == len(first)

    def settle_what_is_settled() -> None:
        with executor.write() as tx:
            index._settle(documents(lake, first), tx)

    late = threading.Thread(target=settle_what_is_settled)
    with executor.write() as tx:
        index._settle(documents(lake, second), tx)
        late.start()
        late.join(2)  # with nothing to write it waits for nobody
        assert not late.is_alive()
    assert index.reach(executor.fetch).rows == len(first) + len(second)


def test_counters_that_lag_behind_fail_no_search(lake: Lake, url: str) -> None:
    """As between the steps of two that build the index anew."""
    lake.store_batch({"key": f"k{n:02}", "value": "common"} for n in range(40))
    lake.maintain()
    with psycopg.connect(url) as connection:
        connection.execute(
            "UPDATE search_test.lakebed_meta SET value = 0 "
            "WHERE name IN ('text_rows', 'text_tokens')"
        )
    assert lake.search("common").total == 40
    lake.store("new", "common")  # evaluated, beside what the index has
    assert lake.search("common").total == 41
