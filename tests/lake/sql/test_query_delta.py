"""SQL after a change reads what has changed, and gives what a session that loads all would give."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from lakebed.catalog.opened import CatalogOptions
from lakebed.catalog.registry import open_catalog
from lakebed.catalog.scan import CatalogScan
from lakebed.lake.lake import Lake
from lakebed.lake.sql import delta as query_delta
from lakebed.lake.sql import row_cache
from lakebed.lake.sql.rows import LoadedRows
from lakebed.objects.opening import open_store
from lakebed.testing import FakeClock, open_lake
from tests.servers import MariaDBServer, PostgresServer

pytestmark = pytest.mark.sampled("catalog", 3)

CATALOGS = ("sqlite", "postgres", "mariadb")
BASE = 60
"""Entries that no rule touches: rows are brought up to date only while few of them have changed."""
VALUES: list[Any] = [
    {"n": 1},
    {"n": 2, "text": "x" * 30},
    {"n": 3, "text": "y" * 300},
    {"n": 4, "text": "z" * 3000},
    b"bytes",
    b"b" * 300,
]
KEYS = st.sampled_from([f"k{n}" for n in range(8)])
VALUE = st.integers(0, len(VALUES) - 1)


@pytest.fixture(params=CATALOGS)
def catalog(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    """Gives the URL of a new catalog."""
    if request.param == "postgres":
        server: PostgresServer = request.getfixturevalue("postgres_18")
        return lambda: server.url(server.create_database())
    if request.param == "mariadb":
        other: MariaDBServer = request.getfixturevalue("mariadb")
        return lambda: other.url(f"delta_{secrets.token_hex(6)}")
    return lambda: f"sqlite:///{tmp_path / secrets.token_hex(6)}.db"


class Counted:
    """How often rows were brought up to date, and how often that was given up."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done: list[bool] = []

        def counting(scan: CatalogScan, rows: LoadedRows) -> bool:
            self.done.append(query_delta.bring_up_to_date(scan, rows))
            return self.done[-1]

        monkeypatch.setattr(row_cache, "bring_up_to_date", counting)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    return Counted(monkeypatch)


def entries(lake: Any) -> list[tuple[Any, ...]]:
    return [
        (e.key, e.content_hash, e.format, e.inlined, e.storage_uri, e.metadata, e.expires_at)
        for e in lake.list()
    ]


def entries_by_sql(lake: Any) -> list[tuple[Any, ...]]:
    query = (
        "SELECT key, content_hash, format, inlined, storage_uri, metadata, expires_at FROM entries"
    )
    return [(*row[:5], json.loads(row[5]), row[6]) for row in sorted(lake.sql(query).fetchall())]


def documents(lake: Any) -> list[tuple[str, Any]]:
    return [(key, value) for key, value in lake.items() if not isinstance(value, bytes)]


def documents_by_sql(lake: Any) -> list[tuple[str, Any]]:
    rows = lake.sql("SELECT key, value FROM documents").fetchall()
    return [(key, json.loads(value)) for key, value in sorted(rows)]


class DeltaMachine(RuleBasedStateMachine):
    """A writer, and a reader whose session lives on."""

    new_catalog: Callable[[], str]
    folder: Path

    @initialize(packed=st.booleans())
    def open(self, packed: bool) -> None:
        self.clock = FakeClock()
        url, storage = self.new_catalog(), str(self.folder / secrets.token_hex(6))
        self.writer, self.reader = (
            open_lake(
                catalog=open_catalog(url, CatalogOptions(clock=self.clock)),
                objects=open_store(storage),
                inline_threshold=100,
            )
            for _ in range(2)
        )
        for n in range(BASE):
            self.writer.store(f"base/{n:02}", {"n": n, "text": "t" * (200 if n % 3 == 0 else 5)})
        if packed:
            self.writer.compact()
        self.held: list[Any] = []
        self.snapshots: list[str] = []
        self.query()
        self.writer.store("first", 1)
        self.query()  # in each example, whatever rules it is made of

    @rule(key=KEYS, value=VALUE, metadata=st.integers(0, 1), ttl=st.sampled_from([None, 5, 50]))
    def store(self, key: str, value: int, metadata: int, ttl: float | None) -> None:
        self.writer.store(key, VALUES[value], {"m": metadata}, ttl=ttl)

    @rule(values=st.dictionaries(KEYS, VALUE, min_size=1))
    def store_batch(self, values: dict[str, int]) -> None:
        self.writer.store_batch([{"key": k, "value": VALUES[v]} for k, v in values.items()])

    @rule(key=KEYS)
    def delete(self, key: str) -> None:
        self.writer.delete(key)

    @rule(number=st.integers(0, BASE - 1))
    def delete_of_base(self, number: int) -> None:
        self.writer.delete(f"base/{number:02}")

    @rule(key=KEYS)
    def purge(self, key: str) -> None:
        self.writer.purge(key)

    @rule()
    def create_snapshot(self) -> None:
        self.snapshots.append(secrets.token_hex(4))
        self.writer.create_snapshot(self.snapshots[-1])

    @rule(data=st.data())
    def restore(self, data: st.DataObject) -> None:
        if self.snapshots:
            self.writer.restore(data.draw(st.sampled_from(self.snapshots)))

    @rule(data=st.data())
    def drop_snapshot(self, data: st.DataObject) -> None:
        if self.snapshots:
            name = data.draw(st.sampled_from(self.snapshots))
            self.snapshots.remove(name)
            self.writer.drop_snapshot(name)

    @rule()
    def clean(self) -> None:
        self.writer.cleanup_expired()
        self.writer.collect(grace=0)

    @rule()
    def compact(self) -> None:
        self.writer.compact()

    @rule(seconds=st.sampled_from([1.0, 10.0, 100.0, -20.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule()
    def hold(self) -> None:
        """A result that nobody has read to its end keeps its rows."""
        result = self.reader.sql("SELECT key, value FROM documents ORDER BY key")
        self.held.append((result, documents(self.reader)))

    @rule()
    def read_held(self) -> None:
        for result, expected in self.held:
            rows = [(key, json.loads(value)) for key, value in result.fetchall()]
            assert rows == expected
        self.held = []

    @rule()
    def query(self) -> None:
        assert entries_by_sql(self.reader) == entries(self.reader)

    @rule()
    def query_documents(self) -> None:
        assert documents_by_sql(self.reader) == documents(self.reader)

    @rule()
    def query_snapshots(self) -> None:
        for name in self.snapshots[-2:]:
            view = self.reader.at(name)
            assert entries_by_sql(view) == entries(view)
            assert documents_by_sql(view) == documents(view)

    def teardown(self) -> None:
        for name in ("reader", "writer"):
            lake: Lake | None = getattr(self, name, None)
            if lake is not None:
                lake.close()


def test_as_if_loaded_anew(
    catalog: Callable[[], str], tmp_path: Path, counted: Counted, soak: bool
) -> None:
    from hypothesis.stateful import run_state_machine_as_test

    machine = type(
        "Machine", (DeltaMachine,), {"folder": tmp_path, "new_catalog": staticmethod(catalog)}
    )
    run_state_machine_as_test(
        machine,
        settings=settings(max_examples=300 if soak else 12, stateful_step_count=40, deadline=None),
    )
    assert counted.done.count(True) > 5


CHANGES: dict[str, Callable[[Lake], object]] = {
    "a store": lambda lake: lake.store("new", {"n": 1}),
    "a large store": lambda lake: lake.store("new", {"n": 1, "text": "x" * 3000}),
    "an overwrite": lambda lake: lake.store("base/00", {"n": -1}),
    "other metadata": lambda lake: lake.store("base/00", lake["base/00"], {"other": True}),
    "a copy": lambda lake: lake.store("copy", lake["base/00"]),
    "bytes in place of a document": lambda lake: lake.store("base/00", b"bytes"),
    "a delete": lambda lake: lake.delete("base/01"),
    "a delete and a store": lambda lake: (lake.delete("base/01"), lake.store("new", {"n": 1})),
    "a batch": lambda lake: lake.store_batch(
        [{"key": f"new/{n}", "value": {"n": n, "text": "x" * 300}} for n in range(5)]
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_changed_is_read(
    catalog: Callable[[], str], tmp_path: Path, counted: Counted, change: str
) -> None:
    machine = DeltaMachine()
    machine.folder, machine.new_catalog = tmp_path, catalog  # type: ignore[method-assign]
    machine.open(packed=True)
    try:
        machine.query_documents()
        counted.done.clear()
        CHANGES[change](machine.writer)
        machine.query_documents()
        machine.query()
        assert counted.done == [True, True]
        machine.hold()
        machine.delete_of_base(5)
        machine.query_documents()
        machine.read_held()
    finally:
        machine.teardown()
