"""Filters whose matches lack something, by the metadata index: the evaluator's answer, always."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

import pytest

import lakebed
from lakebed.catalog.sql import filtered, metadata, shapes
from lakebed.filters import parse
from tests.catalog.test_cleaning_together import lake_on
from tests.filters.oracle import holds
from tests.filters.strategies import EDGE_NUMBERS, EDGE_TEXTS, KEYS, escape

STEPS = 60
SCALARS = [None, True, False, *EDGE_NUMBERS, *EDGE_TEXTS]
WIDE = [{str(n): n for n in range(count)} for count in (63, 64, 65)]
ORDERS = ("$gt", "$gte", "$lt", "$lte")


@pytest.fixture(params=["sqlite", "postgres_18", "mariadb"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """Where a new lake lies."""
    server = None if request.param == "sqlite" else request.getfixturevalue(request.param)
    return lake_on(server, tmp_path)


def some_value(rng: Random, depth: int = 0) -> Any:
    match rng.randrange(8 if depth < 2 else 6):
        case 6:
            return [rng.choice(SCALARS) for _ in range(rng.choice((0, 1, 2, 40)))]
        case 7:
            return some_fields(rng, depth + 1)
        case _:
            return rng.choice(SCALARS)


def some_fields(rng: Random, depth: int = 0) -> dict[str, Any]:
    if depth == 0 and rng.random() < 0.3:
        return rng.choice([{}, {}, {"a": "common"}, *WIDE])
    return {rng.choice(KEYS): some_value(rng, depth) for _ in range(rng.randrange(4))}


def some_filter(rng: Random, depth: int = 0) -> dict[str, Any]:
    if depth < 2 and rng.random() < 0.4:
        inner = [some_filter(rng, depth + 1) for _ in range(rng.randrange(1, 3))]
        return rng.choice([{"$not": inner[0]}, {"$and": inner}, {"$or": inner}])
    path = ".".join(escape(rng.choice(KEYS)) for _ in range(rng.choice((1, 1, 2))))
    value = some_value(rng)
    bound = rng.choice([*EDGE_NUMBERS, *EDGE_TEXTS])
    operators = rng.choice(
        [
            {"$ne": value},
            {"$ne": "common"},
            {"$nin": [value, rng.choice(SCALARS), "common"]},
            {"$exists": rng.random() < 0.3},
            {"$not": {"$eq": value}},
            {"$not": {rng.choice(ORDERS): bound}},
            {"$not": {"$in": [value, 1], "$exists": True}},
            {"$not": {"$contains": value}},
            {"$ne": value, rng.choice(ORDERS): bound},
            {"$eq": value},
        ]
    )
    return {path: operators}


def change(lake: Any, rng: Random, step: int) -> None:
    """One change of the lake, or a part of what fills or tidies its index."""
    key, index = f"k/{rng.randrange(40):02}", lake._catalog._index
    match rng.randrange(12):
        case 0:
            lake.delete(key)
        case 1:
            lake.purge(key)
        case 2:
            lake.create_snapshot(f"s{step}")
        case 3 | 4:
            keys = {f"k/{rng.randrange(40):02}" for _ in range(12)}
            lake.store_batch(
                {"key": k, "value": step, "metadata": some_fields(rng)} for k in sorted(keys)
            )
        case 5 | 6 | 7:
            index._take_in()
        case 8:
            index.tidy(lambda: False)
        case _:
            lake.store(key, step, some_fields(rng))


@contextmanager
def eager() -> Iterator[list[int]]:
    """Filters ask the index at once, and it grows in small steps. How many candidates it gave."""
    found: list[int] = []
    indexed = filtered.FilteredPage._indexed

    def counted(page: Any, way: Any, cap: int, low: str, need: int) -> Any:
        keys = indexed(page, way, cap, low, need)
        found.append(-1 if keys is None else len(keys))
        return keys

    with (
        patch.multiple(filtered, _FIRST=2, _OFTEN=0, _WORTH_ASKING=4),
        patch.object(filtered.FilteredPage, "_indexed", counted),
        patch.object(metadata, "_CHUNK", 9),
    ):
        yield found


def test_no_match_is_lost(place: dict[str, Any], rng: Random) -> None:
    with lakebed.open(**place) as lake, eager() as found:
        tells = "bare_entries" in lake._catalog._queries  # type: ignore[attr-defined]
        for step in range(STEPS):
            change(lake, rng, step)
            sources = [some_filter(rng) for _ in range(6)]
            moments = [lake.at(s.name) for s in lake.snapshots()][-2:]
            for state in (lake, *moments):
                entries = {entry.key: entry.metadata for entry in state.list()}
                for source in sources:
                    wanted = [key for key, fields in entries.items() if holds(source, fields)]
                    listed = state.list(metadata_filter=source, limit=1000)
                    assert [entry.key for entry in listed] == wanted, source
        ways = [lake._catalog._index.ways(parse(source)) for source in sources]  # type: ignore[attr-defined]
        assert any(ways) or not tells
        assert len(found) > STEPS or not tells


def test_what_was_indexed_meanwhile_is_found(place: dict[str, Any]) -> None:
    """Its shape was not defined when the definitions were read."""
    with lakebed.open(**place) as lake, eager() as found:
        index: Any = lake._catalog._index  # type: ignore[attr-defined]
        lake.store_batch(
            {"key": f"k/{n:02}", "value": n, "metadata": {"kind": "common"}} for n in range(40)
        )
        index.catch_up(lambda: False)
        lake.store("k/99", 1, {"other": 1})
        ways = index.ways

        def then_indexed(wanted: Any) -> Any:
            resolved = ways(wanted)
            index.catch_up(lambda: False)
            return resolved

        with patch.object(index, "ways", then_indexed):
            missing = {"kind": {"$exists": False}}
            assert [e.key for e in lake.list(metadata_filter=missing, limit=1000)] == ["k/99"]
        if "bare_entries" in lake._catalog._queries:  # type: ignore[attr-defined]
            assert found == [1]


@pytest.mark.parametrize("most", [0, 1, 64])
def test_undefined_shapes_stay_candidates(place: dict[str, Any], most: int) -> None:
    with lakebed.open(**place) as lake, eager(), patch.object(shapes, "_MOST", most):
        for n in range(30):
            lake.store(f"k/{n:02}", n, {"kind": "common", f"other{n % 5}": n})
        lake.store("bare", 1)
        lake.store("x", 1, {"kind": "rare"})
        lake.store("y", 1, {"unkind": 1})
        lake._catalog._index.catch_up(lambda: False)  # type: ignore[attr-defined]
        for condition in ({"$ne": "common"}, {"$not": {"$lte": "common"}}):
            listed = lake.list(metadata_filter={"kind": condition}, limit=1000)
            assert [entry.key for entry in listed] == ["bare", "x", "y"]


def test_scans_and_searches_go_the_same_way(place: dict[str, Any]) -> None:
    with lakebed.open(**place) as lake:
        catalog: Any = lake._catalog  # type: ignore[attr-defined]
        lake.store_batch(
            {"key": f"k/{n:04}", "value": f"words {n}", "metadata": {"kind": "common"}}
            for n in range(500)
        )
        lake.store("x", "words", {"kind": "rare"})
        lake.store("y", "words", {"other": secrets.token_hex(4)})
        lake.store("z", "words")
        lake.maintain()
        rare = {"kind": {"$ne": "common"}}
        for query in ("words", None):
            assert {hit.key for hit in lake.search(query, metadata_filter=rare)} == {"x", "y", "z"}
        if "bare_entries" in catalog._queries:
            scan = catalog._index.narrow(parse(rare))
            sql = f'SELECT e."key" FROM {{entry}} e WHERE 1 = 1 {scan.sql}'  # noqa: S608
            text = catalog._executor.dialect.fill(sql, catalog._executor.schema)
            keys = sorted(key for (key,) in catalog._executor.fetch(text, scan.params))
            assert keys == ["x", "y", "z"]
