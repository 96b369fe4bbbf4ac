"""What is done for many keys is done in statements over many keys: counted."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import lakebed
from lakebed.catalog.postgres.transaction import PostgresTransaction
from lakebed.catalog.sqlite.transaction import SQLiteTransaction
from lakebed.lake.lake import Lake
from lakebed.testing import open_lake

CALLS = ("all", "one", "run", "many", "copy", "script", "insert")


class Statements:
    """Counts the statements of transactions; what `copy` brings counts as one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, kind: type[Any]) -> None:
        self.count = 0
        for name in CALLS:
            monkeypatch.setattr(kind, name, self._counted(name, getattr(kind, name)))

    def _counted(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(tx: Any, sql: str, *given: Any) -> Any:
            if name == "many":
                given = (list(given[0]),)
                self.count += len(given[0])
            else:
                self.count += 1
            return call(tx, sql, *given)

        return counted


@pytest.fixture(params=["sqlite", "postgres"])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lake]:
    if request.param == "sqlite":
        with open_lake(tmp_path / "lake") as lake:
            yield lake
    else:
        url = request.getfixturevalue("postgres_18").url()
        catalog = {"type": "postgres", "url": url, "schema": f"t{secrets.token_hex(6)}"}
        with lakebed.open(catalog=catalog, storage=str(tmp_path / "storage")) as lake:
            yield lake


@pytest.fixture
def statements(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> Statements:
    dialect = lake._catalog._executor.dialect.name  # type: ignore[attr-defined]
    return Statements(
        monkeypatch, PostgresTransaction if dialect == "postgres" else SQLiteTransaction
    )


def store(lake: Lake, prefix: str, count: int, sign: int = 1, **options: Any) -> None:
    lake.store_batch(
        {"key": f"{prefix}/{n:05}", "value": sign * n, **options} for n in range(count)
    )


def taken(statements: Statements, call: Callable[[], object]) -> int:
    before = statements.count
    call()
    return statements.count - before


def test_expired_entries_go_together(lake: Lake, statements: Statements) -> None:
    counts = []
    for count in (100, 1_000):
        store(lake, "e", count, ttl=0.000_001)
        counts.append(taken(statements, lambda: lake.cleanup_expired(batch_size=5_000)))
        assert lake.stats().expired == 0
    # After a thousand a client of Postgres tidies up.
    assert counts[0] <= counts[1] <= counts[0] + 5 < 30


def test_a_restore_stages_together(lake: Lake, statements: Statements) -> None:
    counts = Counter[int]()
    for count in (500, 5_000):
        store(lake, f"r{count}", count)
        before = dict(lake.items())
        lake.create_snapshot(f"s{count}")
        store(lake, f"r{count}", count, sign=-1, metadata={"m": 1})
        store(lake, f"new{count}", count // 2)
        lake.delete(f"r{count}/00003")
        counts[count] = taken(statements, lambda: lake.restore(f"s{count}"))  # noqa: B023
        assert dict(lake.items()) == before
        assert lake.entry(f"r{count}/00004").metadata == {}  # type: ignore[union-attr]
    assert counts[5_000] <= counts[500] + 4_500 / 40  # a diff looks up 500 keys at once
    assert lake.verify().problems == []


def test_a_purge_of_one_key_leaves_the_others_terms_alone(
    lake: Lake, statements: Statements
) -> None:
    catalog: Any = lake._catalog
    table = catalog._queries["drop_metadata_term"].split()[2]

    def terms() -> int:
        ((count,),) = catalog._executor.fetch(f"SELECT count(*) FROM {table}", {})  # noqa: S608
        return int(count)

    lake.store("secret", 1, {"n": -1, "earlier": True})
    counts = []
    for count in (2_000, 6_000):
        store(lake, f"p{count}", count, metadata={"n": count, "kind": "common"})
        catalog._index.catch_up(lambda: False)
        lake.store("secret", count, {"n": -2})
        catalog._index.catch_up(lambda: False)
        counts.append(taken(statements, lambda: lake.purge("secret")))
        lake.store("secret", 1, {"n": -1, "earlier": True})
    # Of replaced metadata as well, every term is gone; in few statements, however many there are.
    lake.purge("secret")
    assert counts[0] == counts[1] < 60
    # Two fields each, and where shapes are noted, the shape that all of them have.
    assert terms() == (3 * 8_000 + 1 if "bare_entries" in catalog._queries else 2 * 8_000)
