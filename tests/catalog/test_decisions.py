"""`decide` is the rule of every way to commit: row by row, as sets, by functions and by COPY."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pytest

from lakebed.catalog.opened import CatalogOptions
from lakebed.catalog.registry import open_catalog
from lakebed.catalog.rules import EVERY_VERSION, Decision, decide
from lakebed.errors import ConflictError
from lakebed.lake.lake import Lake
from lakebed.model import Change, Content, Delete, EntryRow, Put
from lakebed.testing import FakeClock, open_lake
from lakebed.values.codec import encode_value

NOW = 1_000
OLD = Content(b"old", "json", 3, b"old")
NEW = Content(b"new", "json", 3, b"new")
KEYS = tuple("abcdef")
VALUES = (1, "two", [3], "large" * 20)


def row(version: int = 5, expires_at: int | None = None, metadata: str = "{}") -> EntryRow:
    return EntryRow("k", version, metadata, expires_at, 10, 20, *OLD[:4], None, None)


@pytest.mark.parametrize(
    ("change", "state", "newest", "decision"),
    [
        (Put("k", NEW, "{}"), None, 0, Decision("create", True, True, False, None, NOW)),
        (Put("k", NEW, "{}"), row(), 4, Decision("replace", True, False, False, None, 10)),
        (Put("k", NEW, "{}"), row(), 5, Decision("replace", True, False, True, None, 10)),
        (Put("k", OLD, "{}"), row(), 5, Decision("nothing", False, False, False, None, 10)),
        (Put("k", OLD, "[]"), row(), 0, Decision("replace", True, False, False, None, 10)),
        (Put("k", OLD, "{}", ttl=7), row(), 0, Decision("replace", True, False, False, 1007, 10)),
        (Put("k", OLD, "{}", ttl=7, keep_expiry=True), row(expires_at=1001), 0,
         Decision("nothing", False, False, False, 1001, 10)),
        # An entry that expires at this moment is there no more, but its row is.
        (Put("k", OLD, "{}", expires_at=NOW), row(expires_at=NOW), EVERY_VERSION,
         Decision("replace", True, True, True, NOW, NOW)),
        (Put("k", NEW, "{}", if_absent=True), row(expires_at=NOW), 0,
         Decision("replace", True, True, False, None, NOW)),
        (Delete("k"), None, 9, Decision("nothing", False, False, False, None, NOW)),
        (Delete("k"), row(expires_at=NOW), 9, Decision("delete", False, False, True, None, NOW)),
        (Delete("k", if_match=b"old"), row(), 0, Decision("delete", True, False, False, None, NOW)),
    ],
)  # fmt: skip
def test_decisions(change: Change, state: EntryRow | None, newest: int, decision: Decision) -> None:
    assert decide(change, state, NOW, newest) == decision


@pytest.mark.parametrize(
    ("change", "state", "said"),
    [
        (Put("k", NEW, "{}", if_absent=True), row(), "if_absent: 'k' is there already"),
        (Put("k", NEW, "{}", if_match=b"new"), row(), "if_match: 'k' has other content by now"),
        (Delete("k", if_match=b"old"), row(expires_at=NOW), "if_match: 'k' is not there"),
        (Delete("k", if_match=b"old"), None, "if_match: 'k' is not there"),
    ],
)
def test_refusals(change: Change, state: EntryRow | None, said: str) -> None:
    with pytest.raises(ConflictError, match=said):
        decide(change, state, NOW, 0)


class Ended(NamedTuple):
    row: EntryRow
    end_version: int
    ended_at: int


class Oracle:
    """A catalog in a dictionary, by what `decide` says."""

    def __init__(self, *, keep_all: bool) -> None:
        self.rows: dict[str, EntryRow] = {}
        self.history: list[Ended] = []
        self.version = 0
        self.newest_snapshot = EVERY_VERSION if keep_all else 0

    def apply(self, changes: Sequence[Change], now: int) -> list[Decision]:
        """What all changes do, or ConflictError."""
        before = self.rows.copy(), self.history.copy(), self.version
        try:
            return [self._apply(change, now) for change in sorted(changes, key=lambda c: c.key)]
        except ConflictError:
            self.rows, self.history, self.version = before
            raise

    def _apply(self, change: Change, now: int) -> Decision:
        old = self.rows.get(change.key)
        decision = decide(change, old, now, self.newest_snapshot)
        if decision.kind == "nothing":
            return decision
        self.version += 1
        if old is not None:
            del self.rows[change.key]
            if decision.kept:
                self.history.append(Ended(old, self.version, now))
        if isinstance(change, Put):
            content = change.content
            self.rows[change.key] = EntryRow(
                change.key, self.version, change.metadata, decision.expires_at,
                decision.created_at, now, *content[:3], None, None, None,
            )  # fmt: skip
        return decision


@pytest.fixture(params=["sqlite", "postgres", "sqlalchemy-postgres", "mariadb", "duckdb"])
def name(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    kind = request.param
    if kind == "sqlite":
        return {"type": "sqlite", "path": str(tmp_path / "names.db")}
    if kind == "duckdb":
        return {"type": "sqlalchemy", "url": f"duckdb:///{tmp_path}/names.duckdb"}
    if kind == "mariadb":
        server, database = request.getfixturevalue("mariadb"), f"rules_{secrets.token_hex(6)}"
        server.execute(f"CREATE DATABASE {database}")
        return {"type": "mariadb", "url": server.url(database)}
    url = request.getfixturevalue("postgres_18").url()
    options = {"schema": f"t{secrets.token_hex(6)}"}
    if kind == "postgres":
        return {"type": "postgres", "url": url, "max_size": 2, **options}
    return {
        "type": "sqlalchemy",
        "url": url.replace("postgresql:", "postgresql+psycopg:"),
        **options,
    }


@pytest.fixture(params=["snapshots", "all"])
def lake(
    request: pytest.FixtureRequest, name: dict[str, Any], tmp_path: Path
) -> Iterator[tuple[Lake, FakeClock, Oracle]]:
    clock = FakeClock()
    with open_lake(
        tmp_path / "lake",
        clock=clock,
        catalog=open_catalog(name, CatalogOptions("normal", 60.0, clock)),
        history=request.param,
        inline_threshold=1000,
    ) as lake:
        yield lake, clock, Oracle(keep_all=request.param == "all")


def draw(random: Random, keys: Sequence[str]) -> dict[str, Any]:
    """An entry of a batch."""
    entry = {"key": random.choice(keys), "value": random.choice(VALUES)}
    if random.random() < 0.5:
        entry["metadata"] = {"n": random.randint(0, 1)}
    if random.random() < 0.4:
        entry["ttl"] = random.choice([5, 50])
    return entry


def as_put(entry: dict[str, Any]) -> Put:
    encoded = encode_value(entry["value"])
    data = encoded.data
    ttl = entry.get("ttl")
    metadata = json.dumps(entry.get("metadata", {}), separators=(",", ":"))
    return Put(
        entry["key"],
        Content(encoded.content_hash, encoded.format, len(data), data),
        metadata,
        None if ttl is None else ttl * 1_000_000,
    )


def shape(rows: Sequence[EntryRow], ranks: dict[int, int]) -> list[tuple[object, ...]]:
    return sorted(
        (r.key, ranks[r.version], r.metadata, r.expires_at, r.created_at, r.updated_at,
         r.content_hash, r.format, r.byte_size)
        for r in rows
    )  # fmt: skip


def ranks_of(rows: Sequence[EntryRow], history: Sequence[Ended]) -> dict[int, int]:
    """Versions by their rank: a sequence leaves gaps where a counter does not."""
    versions = {row.version for row in rows}
    versions |= {version for ended in history for version in (ended.row.version, ended.end_version)}
    return {version: rank for rank, version in enumerate(sorted(versions))}


def check(lake: Lake, oracle: Oracle, keys: Sequence[str]) -> None:
    """All rows of the catalog, those that have expired as well."""
    catalog: Any = lake._catalog
    read = catalog._queries["entry_versions"]
    standing, history = [], []
    for key in keys:
        params = {"key": key, "page": 10**6, "before": 2**62}
        for found in catalog._executor.fetch(read, params):
            width = len(EntryRow._fields)
            entry = EntryRow._make(found[:width])
            if found[width] is None:
                standing.append(entry)
            else:
                history.append(Ended(entry, found[width], found[width + 1]))
    own = ranks_of(standing, history)
    wanted = ranks_of([*oracle.rows.values()], oracle.history)
    assert shape(standing, own) == shape([*oracle.rows.values()], wanted)
    assert shape([e.row for e in history], own) == shape([e.row for e in oracle.history], wanted)
    ends = [
        sorted((ranks[e.row.version], ranks[e.end_version], e.ended_at) for e in all_of)
        for all_of, ranks in ((history, own), (oracle.history, wanted))
    ]
    assert ends[0] == ends[1]


def test_every_way_is_as_decided(lake: tuple[Lake, FakeClock, Oracle], soak: bool) -> None:
    """Batches that are new altogether, that replace, and single changes, on a clock that lets
    entries expire."""
    opened, clock, oracle = lake
    random, keys = Random(7), list(KEYS)
    for number in range(300 if soak else 40):
        kind = random.choice(["batch", "batch", "new", "change", "snapshot", "later"])
        if kind == "later":
            clock.advance(random.choice([1, 6]))
        elif kind == "snapshot":
            opened.create_snapshot(f"s{number}")
            if oracle.newest_snapshot != EVERY_VERSION:
                oracle.newest_snapshot = oracle.version
        elif kind == "change":
            store_or_delete(opened, oracle, draw(random, keys), random.random(), clock())
        else:
            fresh = [f"{number}/{n}" for n in range(random.randint(1, 6))]
            chosen = fresh if kind == "new" else random.sample(keys, random.randint(1, 5))
            batch = [draw(random, [key]) for key in chosen]
            keys += [key for key in chosen if key not in keys]
            report = opened.store_batch(batch)
            decisions = oracle.apply([as_put(entry) for entry in batch], clock())
            assert report.created == sum(d.created for d in decisions)
            assert report.changed == sum(d.changed and not d.created for d in decisions)
        if number % 10 == 9:
            check(opened, oracle, keys)
    check(opened, oracle, keys)
    assert oracle.history


def store_or_delete(
    lake: Lake, oracle: Oracle, entry: dict[str, Any], chance: float, now: int
) -> None:
    if chance < 0.3:
        (decision,) = oracle.apply([Delete(entry["key"])], now)
        assert lake.delete(entry["key"]) == decision.changed
        return
    put = as_put(entry)._replace(if_absent=chance > 0.8)
    more = {name: value for name, value in entry.items() if name not in ("key", "value")}
    refused = None
    try:
        (decision,) = oracle.apply([put], now)
    except ConflictError as error:
        refused = str(error)
    if refused is not None:
        with pytest.raises(ConflictError) as caught:
            lake.store(entry["key"], entry["value"], if_absent=put.if_absent, **more)
        assert str(caught.value) == refused
        return
    stored = lake.store(entry["key"], entry["value"], if_absent=put.if_absent, **more)
    assert (stored.created, stored.changed) == (decision.created, decision.changed)
