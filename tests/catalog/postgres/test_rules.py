"""The rules of `catalog.commit` and of the functions in Postgres are the same rules.

A store on Postgres is one call of a function in the database, whose text repeats the rules of
`commit.py` for the sake of one round trip. Here both are given the same changes, and every answer
and every row that they leave must be alike.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import Any

import pytest

from lakebed.catalog.opened import CatalogOptions
from lakebed.catalog.registry import open_catalog
from lakebed.catalog.statements.executor import Executor
from lakebed.errors import LakebedError
from lakebed.lake.lake import Lake
from lakebed.testing import FakeClock, open_lake
from lakebed.values.codec import encode_value
from tests.servers import PostgresServer

KEYS = ("a", "b", "c")
VALUES = (1, "two", [3], "large" * 20)
HASHES = [f"sha256:{encode_value(value).content_hash.hex()}" for value in VALUES]
DUMPS = {
    "entries": """SELECT e."key", e."version", NULL, NULL, o."content_hash", e."metadata",
        e."expires_at", e."created_at", e."updated_at"
        FROM {entry} e JOIN {object} o ON o."id" = e."object_id" """,
    "history": """SELECT e."key", e."version", e."end_version", e."ended_at", o."content_hash",
        e."metadata", e."expires_at", e."created_at", e."updated_at"
        FROM {entry_history} e JOIN {object} o ON o."id" = e."object_id" """,
    "objects": """SELECT "content_hash", "format", "byte_size", "inline_value" IS NULL,
        "created_at" FROM {object}""",
    "candidates": """SELECT o."content_hash" FROM {candidate} c
        JOIN {object} o ON o."id" = c."object_id" """,
}
Step = Callable[[Lake], Any]


@pytest.fixture(params=["snapshots", "all"])
def lakes(
    request: pytest.FixtureRequest, postgres_18: PostgresServer, tmp_path: Path
) -> Iterator[tuple[Lake, Lake, FakeClock]]:
    """The same empty lake on SQLite and on Postgres, with one clock."""
    clock = FakeClock()
    schema = f"t{secrets.token_hex(6)}"
    given = {"type": "postgres", "url": postgres_18.url(), "schema": schema, "max_size": 2}
    names = (
        {"type": "sqlite", "path": str(tmp_path / "names.db")},
        given,
    )
    with ExitStack() as stack:
        opened = [
            stack.enter_context(
                open_lake(
                    tmp_path / name["type"],
                    clock=clock,
                    catalog=open_catalog(name, CatalogOptions("normal", 60.0, clock)),
                    history=request.param,
                    inline_threshold=30,
                )
            )
            for name in names
        ]
        # SQLite lets go of a content in the catalog with its last name. Postgres leaves it to a
        # collection, and so does SQLite without these statements.
        queries = opened[0]._catalog._queries  # type: ignore[attr-defined]
        for query in ("drop_object", "batch_drop_objects"):
            queries.pop(query)
        noted = queries["batch_candidates"]
        queries["batch_candidates"] = noted.replace('WHERE o."inline_value" IS NULL', "")
        assert queries["batch_candidates"] != noted
        yield opened[0], opened[1], clock


def draw(random: Random, number: int) -> Step:
    """A change, the same for both lakes."""
    kind = random.choices(
        ["store", "delete", "transaction", "batch", "snapshot"], [60, 15, 8, 8, 4]
    )[0]
    if kind == "snapshot":
        return lambda lake: lake.create_snapshot(f"s{number}").name
    if kind == "batch":
        rows = [{"key": key, "value": value, **more} for key, value, more, _ in several(random)]
        return lambda lake: dict(lake.store_batch(rows))
    if kind == "transaction":
        return lambda lake: together(lake, several(random, once=True))
    key, value, more, conditions = one(random)
    if kind == "delete":
        match = conditions.get("if_match")
        return lambda lake: lake.delete(key, if_match=match)
    return lambda lake: shown(lake.store(key, value, **more, **conditions))


def one(random: Random) -> tuple[str, Any, dict[str, Any], dict[str, Any]]:
    more: dict[str, Any] = {"metadata": random.choice([{}, {"n": 1}])}
    if random.random() < 0.4:
        more["ttl"] = random.choice([5, 50])
    conditions: dict[str, Any] = {}
    if random.random() < 0.3:
        conditions = random.choice([{"if_absent": True}, {"if_match": random.choice(HASHES)}])
    return random.choice(KEYS), random.choice(VALUES), more, conditions


def several(random: Random, *, once: bool = False) -> list[Any]:
    found = [one(random) for _ in range(random.randint(1, 5))]
    return list({item[0]: item for item in found}.values()) if once else found


def together(lake: Lake, changes: list[Any]) -> None:
    with lake.transaction() as tx:
        for number, (key, value, more, conditions) in enumerate(changes):
            if number % 3 == 2:
                tx.delete(key)
            else:
                tx.store(key, value, **more, **conditions)


def shown(entry: Any) -> dict[str, Any]:
    """What a store answers, but for what each lake has of its own."""
    return {k: v for k, v in entry.items() if k not in ("version", "storage_uri")}


def outcome(lake: Lake, step: Step) -> object:
    try:
        return step(lake)
    except LakebedError as error:
        return type(error), str(error)


def dump(lake: Lake) -> dict[str, list[tuple[object, ...]]]:
    """All rows, with versions as their ranks: a sequence leaves gaps where a counter does not."""
    executor: Executor = lake._catalog._executor  # type: ignore[attr-defined]
    rows = {
        name: [
            tuple(int(v) if isinstance(v, bool) else v for v in row)
            for row in executor.fetch(executor.dialect.fill(sql, executor.schema), {})
        ]
        for name, sql in DUMPS.items()
    }
    versioned = rows["entries"] + rows["history"]
    drawn = sorted({v for row in versioned for v in row[1:3] if v is not None})
    rank = {None: None, **{version: number for number, version in enumerate(drawn)}}
    for name in ("entries", "history"):
        rows[name] = [(row[0], rank[row[1]], rank[row[2]], *row[3:]) for row in rows[name]]
    return {name: sorted(found, key=repr) for name, found in rows.items()}


def test_the_same_rules(lakes: tuple[Lake, Lake, FakeClock], soak: bool) -> None:
    one_by_one, in_functions, clock = lakes
    steps = 2000 if soak else 250
    for number in range(steps):
        seed = f"rules {number}"
        found = [outcome(lake, draw(Random(seed), number)) for lake in (one_by_one, in_functions)]
        assert found[0] == found[1], seed
        if number % 3 == 0:
            clock.advance(2)
        if number % 25 == 0:
            assert dump(one_by_one) == dump(in_functions), seed
    assert dump(one_by_one) == dump(in_functions)
    rows = dump(in_functions)
    assert rows["entries"]
    assert rows["history"]
    assert rows["objects"]
    # With all history kept, no object loses a reference to a store or a delete.
    assert bool(rows["candidates"]) != in_functions._catalog._keep_all  # type: ignore[attr-defined]
