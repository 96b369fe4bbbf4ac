"""The parts of the guide on moving that need a server, run against one of the tests' own."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

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


def test_from_langgraph(folder: Path) -> None:
    memory = pytest.importorskip("langgraph.store.memory")
    store = memory.InMemoryStore()
    for number in range(1500):
        store.put(("users", str(number % 3)), f"k{number}", {"n": number})
    names: dict[str, object] = {"lakebed": lakebed, "datetime": datetime, "UTC": UTC}
    names["store"] = store
    exec(block("From LangGraph's store", "def from_langgraph"), names)  # noqa: S102
    exec(block("From LangGraph's store", "store_batch"), names)  # noqa: S102
    with lakebed.open(folder / "graph") as lake:
        assert len(lake) == 1500
        assert lake["users/1/k4"] == {"n": 4}
