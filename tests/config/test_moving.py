"""The parts of the guide on moving that need a server or more items than it shows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from langgraph.store.memory import InMemoryStore

import lakebed
from tests.servers import PostgresServer

GUIDE = (Path(__file__).parents[2] / "docs" / "guides" / "moving.md").read_text("utf-8")


def block(heading: str, words: str) -> str:
    """The Python block under a heading that has these words."""
    section = GUIDE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"^```python\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    (found,) = [text for text in blocks if words in text]
    return str(found)


def test_from_a_postgres_table(
    postgres_18: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = postgres_18.create_database()
    postgres_18.execute(
        "CREATE TABLE memory AS SELECT 'user/' || i AS key, jsonb_build_object('n', i) AS value, "
        "ARRAY['a', 'b'] AS tags FROM generate_series(1, 5000) i",
        database,
    )
    url = postgres_18.url(database)
    monkeypatch.setenv("DATABASE_URL", url)
    exec(block("From a Postgres table", "connection"), {})  # noqa: S102
    with lakebed.open(catalog=url) as lake:
        assert len(lake) == 5000
        assert lake["user/7"] == {"n": 7}
        assert lake.entry("user/7").metadata == {"tags": ["a", "b"]}


def test_from_langgraph_in_pages(folder: Path) -> None:
    store = InMemoryStore()
    for number in range(1500):
        store.put(("users", str(number % 3)), f"k{number}", {"n": number})
    names: dict[str, Any] = {}
    text = block("From LangGraph's store", "def from_langgraph").partition("\nwith ")[0]
    exec(text, names)  # noqa: S102
    with lakebed.open(folder / "graph") as lake:
        lake.store_batch(names["from_langgraph"](store))
        assert len(lake) == 1500
        assert lake["users/1/k4"] == {"n": 4}
