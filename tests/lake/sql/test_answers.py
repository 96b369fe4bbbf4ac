"""Answers of SQL against the same questions to a plain Python model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lakebed.clock import to_micros
from lakebed.lake.lake import Lake
from lakebed.testing import FakeClock
from lakebed.testing.machine import strategies
from lakebed.testing.model import Kept, LakeModel
from lakebed.values.json import encode
from tests.lake.sql.conftest import OpenLake

pytestmark = pytest.mark.sampled("new_lake", 3)

Kind = tuple[Any, ...]
Entries = Mapping[str, Kept]

_put = st.tuples(
    st.just("store"), strategies.keys, strategies.values, strategies.metadata, strategies.ttls
)
steps = st.lists(
    st.one_of(
        _put,
        _put,
        st.tuples(st.just("delete"), strategies.keys),
        st.tuples(
            st.just("batch"),
            st.dictionaries(
                strategies.keys, st.tuples(strategies.values, strategies.metadata), max_size=6
            ),
        ),
        st.tuples(st.just("advance"), st.sampled_from([1, 1_000_000, 3_000_000])),
        st.tuples(st.just("snapshot")),
        st.tuples(st.just("compact")),
        st.tuples(st.just("look")),
    ),
    max_size=12,
)

# Each condition on a row, in SQL and in Python.
Test = Callable[[str, Kept], bool]


def stored(value: Any) -> bytes:
    """The bytes that the lake stores."""
    return value if isinstance(value, bytes) else encode(value)


def _text(kept: Kept, name: str) -> str | None:
    """A field of the metadata as `->>` gives it."""
    value = kept.metadata.get(name)
    return value if value is None or isinstance(value, str) else stored(value).decode()


CONDITIONS: list[tuple[str, Test]] = [
    ("true", lambda _key, _kept: True),
    ("key LIKE 'a/%'", lambda key, _kept: key.startswith("a/")),
    ("key LIKE 'a_b%'", lambda key, _kept: key[:1] == "a" and key[2:3] == "b"),
    ("starts_with(key, 'a')", lambda key, _kept: key.startswith("a")),
    ("key ^@ '\ud7ff'", lambda key, _kept: key.startswith("\ud7ff")),
    ("key = 'b' OR key = 'B'", lambda key, _kept: key in ("b", "B")),
    ("key IN ('a', 'é', '\U0010ffff')", lambda key, _kept: key in ("a", "é", "\U0010ffff")),
    ("key BETWEEN 'a' AND 'b'", lambda key, _kept: "a" <= key <= "b"),
    ("key > 'a' AND 'b' >= key", lambda key, _kept: "a" < key <= "b"),
    ("NOT (key = 'a')", lambda key, _kept: key != "a"),
    ("(metadata->>'k') = 'x'", lambda _key, kept: _text(kept, "k") == "x"),
    ("(metadata->>'n') = '1'", lambda _key, kept: _text(kept, "n") == "1"),
    ("'xy' = (metadata->>'n')", lambda _key, kept: _text(kept, "n") == "xy"),
    ("(metadata->>'$.n.m') = 'x'", lambda _key, _kept: False),
    (
        "(metadata->>'k') = 'x' AND key >= 'a'",
        lambda key, kept: _text(kept, "k") == "x" and key >= "a",
    ),
    (
        "key < 'b' AND ((metadata->>'k') = 'x' OR key = 'a')",
        lambda key, kept: key < "b" and (_text(kept, "k") == "x" or key == "a"),
    ),
    ("expires_at IS NOT NULL", lambda _key, kept: kept.expires_at is not None),
]


def rows(found: Entries, where: Test) -> list[Kind]:
    return [
        (
            key,
            "sha256:" + hashlib.sha256(stored(kept.value)).hexdigest(),
            "bytes" if isinstance(kept.value, bytes) else "json",
            len(stored(kept.value)),
            stored(kept.metadata).decode(),
            kept.expires_at,
            kept.created_at,
        )
        for key, kept in found.items()
        if where(key, kept)
    ]


COLUMNS = (
    "key, content_hash, format, byte_size, metadata, epoch_us(expires_at), epoch_us(created_at)"
)


def check_entries(lake: Any, table: str, found: Entries) -> None:
    for condition, where in CONDITIONS:
        query = f"SELECT {COLUMNS} FROM {table} WHERE {condition} ORDER BY key"  # noqa: S608
        assert lake.sql(query).fetchall() == rows(found, where), condition


def check_documents(lake: Any, found: Entries) -> None:
    documents = {key: kept for key, kept in found.items() if not isinstance(kept.value, bytes)}
    for condition, where in CONDITIONS[::3]:
        query = f"SELECT key, value FROM documents WHERE {condition} ORDER BY key"  # noqa: S608
        wanted = [(k, stored(d.value).decode()) for k, d in documents.items() if where(k, d)]
        assert lake.sql(query).fetchall() == wanted, condition
    everything = lake.sql("SELECT key, metadata, value FROM documents ORDER BY key").fetchall()
    assert [(k, json.loads(m), json.loads(v)) for k, m, v in everything] == [
        (key, kept.metadata, kept.value) for key, kept in documents.items()
    ]


def check_changes(lake: Lake, a: str, b: str | None, before: Entries, after: Entries) -> None:
    wanted = [
        (key, "added" if key not in before else "removed" if key not in after else "changed")
        for key in sorted({*before, *after}, key=str.encode)
        if (key in before) != (key in after)
        or (key in before and before[key].state() != after[key].state())
    ]
    query = "SELECT key, change FROM changes($a, $b) ORDER BY key"
    assert lake.sql(query, {"a": a, "b": b}).fetchall() == wanted


class Play:
    """A lake and its model, and what was kept of both."""

    def __init__(self, lake: Lake, clock: FakeClock) -> None:
        self.lake = lake
        self.clock = clock
        self.model = LakeModel(clock)
        self.kept: dict[str, Entries] = {}

    def step(self, name: str, *arguments: Any) -> None:
        getattr(self, name)(*arguments)

    def store(self, key: str, value: Any, metadata: dict[str, Any], ttl: int | None) -> None:
        seconds = None if ttl is None else ttl / 1_000_000
        self.lake.store(key, value, metadata, ttl=seconds)
        self.model.store(key, value, metadata, ttl)

    def delete(self, key: str) -> None:
        assert self.lake.delete(key) == self.model.delete(key)

    def batch(self, items: dict[str, tuple[Any, dict[str, Any]]]) -> None:
        entries = [{"key": k, "value": v, "metadata": m} for k, (v, m) in items.items()]
        self.lake.store_batch(entries)
        for key, (value, metadata) in items.items():
            self.model.store(key, value, metadata)

    def advance(self, micros: int) -> None:
        self.clock.advance(micros / 1_000_000)

    def snapshot(self) -> None:
        name = f"s{len(self.kept)}"
        self.lake.create_snapshot(name)
        self.kept[name] = self.model.visible()

    def compact(self) -> None:
        self.lake.compact()

    def look(self) -> None:
        """Rows that are kept for the next query must not show what has been since."""
        check_entries(self.lake, "entries", self.model.visible())
        check_documents(self.lake, self.model.visible())

    def check(self) -> None:
        self.look()
        for name, entries in self.kept.items():
            check_entries(self.lake, f"entries_at('{name}')", entries)
            check_documents(self.lake.at(name), entries)
            check_changes(self.lake, name, None, entries, self.model.visible())
        names = list(self.kept)
        for a, b in zip(names, names[1:] + names[:1], strict=True):
            check_changes(self.lake, a, b, self.kept[a], self.kept[b])
        assert self.lake.sql(
            "SELECT name FROM snapshots ORDER BY version, created_at, name"
        ).fetchall() == [(snapshot.name,) for snapshot in self.lake.snapshots()]
        for key in self.model.entries:
            wanted = [
                (v.version, v.content_hash, to_micros(v.ended_at) if v.ended_at else None)
                for v in self.lake.history(key)
            ]
            query = (
                "SELECT version, content_hash, epoch_us(ended_at) FROM history WHERE key = ? "
                "ORDER BY version DESC"
            )
            assert self.lake.sql(query, [key]).fetchall() == wanted


def test_answers_are_those_of_the_model(new_lake: OpenLake, soak: bool) -> None:
    @settings(
        max_examples=200 if soak else 6,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(steps)
    def run(made: list[Kind]) -> None:
        clock = FakeClock()
        with new_lake(clock) as lake:
            play = Play(lake, clock)
            for step in made:
                play.step(*step)
            play.check()

    run()


def test_a_history_with_everything_in_it(new_lake: OpenLake) -> None:
    clock = FakeClock()
    with new_lake(clock) as lake:
        play = Play(lake, clock)
        play.store("a", {"n": 1}, {"k": "x"}, None)
        play.store("a/b", "x" * 100, {"n": "1"}, 2_000_000)
        play.batch({key: ([key] * 30, {"k": "x", "n": 1}) for key in strategies.KEYS})
        play.check()
        play.snapshot()
        play.batch({key: ([key] * 31, {"n": "xy"}) for key in strategies.KEYS[3:]})
        play.store("é", b"\xff\x00" * 50, {}, 1_000_000)
        play.look()
        play.advance(1_000_000)
        play.check()
        play.snapshot()
        play.delete("b")
        play.compact()
        play.check()


VALUES: list[Any] = [
    "007",
    7,
    7.0,
    10**40,
    -(2**63) - 1,
    1e308,
    "2026-01-01",
    "NULL",
    "",
    None,
    True,
    [1, "1", None, {"a": [1.5, "x"]}],
    {"mixed": 1, "Mixed": "1", "": {"a.b": [[]]}},
    {"long": "x" * 3_000_000},
    "\\ud800 \u0000 \u2028 \U0001f600 \x7f",
    {"\u0000": "\u0000"},
]


def test_any_json_comes_as_it_is(new_lake: OpenLake) -> None:
    with new_lake(FakeClock()) as lake:
        for number, value in enumerate(VALUES):
            lake.store(f"{number}/one", value)
            lake.store(f"{number}/two", [value, "to make it large" * 10])
        lake.store_batch(
            {"key": f"{number}/packed", "value": [value, "x" * 99]}
            for number, value in enumerate(VALUES)
        )
        found = dict(lake.sql("SELECT key, value FROM documents").fetchall())
        assert {key: json.loads(text) for key, text in found.items()} == dict(lake.items())
        assert found == {key: stored(value).decode() for key, value in lake.items()}
        typed = lake.sql("SELECT DISTINCT typeof(value) FROM documents").fetchall()
        assert typed == [("JSON",)]


def test_deep_nesting(new_lake: OpenLake) -> None:
    value: Any = "leaf"
    for _ in range(49):
        value = {"a": [value]}
    with new_lake(FakeClock()) as lake:
        lake.store("deep", value)
        path = "$" + ".a[0]" * 49
        found = lake.sql("SELECT value->>? FROM documents", [path]).fetchall()
        assert found == [("leaf",)]
