"""The text index of a Postgres catalog takes whatever it is given."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

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
