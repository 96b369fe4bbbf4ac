"""Copies from and to LangGraph's stores: their tables and times, and what they cannot hold."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langgraph.store.memory import InMemoryStore
from langgraph.store.postgres import PostgresStore
from langgraph.store.sqlite import SqliteStore

import lakebed
from lakebed.errors import ConfigurationError, DependencyMissingError, ValidationError
from tests.moving.conftest import FEW, SOON, times, told
from tests.servers import PostgresServer

labels = st.text("ab%2F5 é", min_size=1, max_size=4)
names = st.text("ab/.%2F5é", min_size=1, max_size=5)
objects = st.dictionaries(
    st.text("ab é", max_size=3),
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text('x\n"é', max_size=5),
    max_size=3,
)


@FEW
@given(
    st.dictionaries(st.tuples(labels, labels, names), objects, max_size=8),
    st.sampled_from(["", "?namespace=team/blue"]),
)
def test_there_and_back(found: dict[tuple[str, str, str], Any], query: str) -> None:
    """Every namespace and key becomes an entry of its own, and comes back as it was."""
    with tempfile.TemporaryDirectory() as folder, lakebed.open(":memory:") as lake:
        with SqliteStore.from_conn_string(f"{folder}/a.db") as store:
            store.setup()
            for (first, second, name), value in found.items():
                store.put((first, second), name, value)
        assert lakebed.copy(f"langgraph+sqlite:///{folder}/a.db", lake).copied == len(found)
        assert len(lake) == len(found)
        report = lakebed.copy(lake, f"langgraph+sqlite:///{folder}/b.db{query}")
        assert (report.copied, report.differing) == (len(found), [])
        below = ("team", "blue") if query else ()
        with SqliteStore.from_conn_string(f"{folder}/b.db") as store:
            for (first, second, name), value in found.items():
                item = store.get((*below, first, second), name)
                assert item is not None
                assert item.value == value
        with lakebed.open(":memory:") as again:
            lakebed.copy(f"langgraph+sqlite:///{folder}/b.db{query}", again)
            assert told(again) == told(lake)


@contextmanager
def in_sqlite(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[str, Any]]:
    del request
    with SqliteStore.from_conn_string(str(tmp_path / "graph.db")) as store:
        store.setup()
        yield f"langgraph+sqlite:///{tmp_path}/graph.db", store


@contextmanager
def in_postgres(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[str, Any]]:
    del tmp_path
    server: PostgresServer = request.getfixturevalue("postgres_18")
    url = server.url(server.create_database())
    with PostgresStore.from_conn_string(url) as store:
        store.setup()
        yield f"langgraph+{url}", store


@pytest.mark.parametrize("where", [in_sqlite, in_postgres])
def test_expiry_and_times(where: Any, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    with where(tmp_path, request) as (url, store), lakebed.open(tmp_path / "lake") as lake:
        store.put(("users", "42"), "name", {"first": "Ada"})
        store.put(("users", "42"), "session", {"step": 1}, ttl=30)  # minutes
        begun = datetime.now(UTC)
        report = lakebed.copy(url, lake)
        assert (report.copied, report.notes) == (2, [])
        assert lake["users/42/name"] == {"first": "Ada"}
        entry, plain = lake.entry("users/42/session"), lake.entry("users/42/name")
        assert entry is not None
        assert plain is not None
        assert entry.expires_at is not None
        assert abs(entry.expires_at - begun - timedelta(minutes=30)) < timedelta(minutes=2)
        assert abs(plain.created_at - begun) < timedelta(minutes=2)
        assert plain.expires_at is None
        assert lakebed.copy(url, lake).unchanged == 2

        lake.store("users/43/offer", {"n": 1}, expires_at=SOON)
        lake.delete("users/42/name")
        back = lakebed.copy(lake, url)
        assert (back.copied, back.unchanged, back.differing) == (1, 1, [])
        assert "does not keep when entries were created" in back.notes[0]
        with lakebed.open(tmp_path / "again") as again:
            lakebed.copy(url, again, "users/43/")
            (offer,) = again.list()
            assert offer.expires_at is not None
            assert abs(offer.expires_at - SOON) < timedelta(seconds=2)


def test_a_store_that_is_open(tmp_path: Path) -> None:
    """One in memory tells no expiry and holds none."""
    store = InMemoryStore()
    for number in range(1500):
        store.put(("users", str(number % 3)), f"k{number}", {"n": number})
    with lakebed.open(tmp_path / "lake") as lake:
        report = lakebed.copy(store, lake)
        assert (report.copied, report.differing) == (1500, [])
        assert "does not tell when entries expire" in report.notes[0]
        assert lake["users/1/k4"] == {"n": 4}
        other = InMemoryStore()
        assert lakebed.copy(lake, other).differing == []
        assert len(other.search((), limit=2000)) == 1500
        assert times(lake)["users/1/k4"][0].date() >= SOON.date().replace(year=2020)
        lake.store("users/1/brief", {}, ttl=3600)
        with pytest.raises(ValidationError, match="expires, but the store has no expiry"):
            lakebed.copy(lake, other)


def test_what_it_cannot_hold(tmp_path: Path) -> None:
    url = f"langgraph+sqlite:///{tmp_path}/graph.db"
    with SqliteStore.from_conn_string(str(tmp_path / "graph.db")) as store:
        store.setup()
        for key, value, metadata, words in (
            ("a/b", 1, {}, "has a value that is not an object"),
            ("a/b", b"x", {}, "has a value that is not an object"),
            ("a/b", {"n": [2**70]}, {}, "more than 64 bits"),
            ("a/b", {}, {"by": "ada"}, "has metadata"),
            ("plan", {}, {}, "has no slash: give a namespace"),
            ("a//b", {}, {}, "has an empty part"),
            ("a.b/c", {}, {}, "has a dot"),
            ("langgraph/c", {}, {}, "LangGraph reserves"),
            ("a/%2%25", {}, {}, "has an escape"),
        ):
            with lakebed.open(":memory:") as lake:
                lake.store("fine/a", {"n": 1})
                lake.store(key, value, metadata)
                with pytest.raises(ValidationError, match="cannot hold 1 of 2 entries") as caught:
                    lakebed.copy(lake, url)
                assert words in str(caught.value)
        assert store.search(()) == []
    with lakebed.open(":memory:") as lake:
        lake["plan"] = {}
        assert lakebed.copy(lake, f"{url}?namespace=team").copied == 1
        for query, words in (("namespace=a.b", "without dots"), ("name=a", "unknown option")):
            with pytest.raises(ConfigurationError, match=words):
                lakebed.copy(lake, f"{url}?{query}")


@pytest.mark.parametrize(
    ("url", "module", "package"),
    [
        ("langgraph+sqlite:///x.db", "langgraph.store.sqlite", "langgraph-checkpoint-sqlite"),
        ("langgraph+postgresql://h/d", "langgraph.store.postgres", "langgraph-checkpoint-postgres"),
        ("diskcache:///x", "diskcache", "diskcache"),
    ],
)
def test_packages_that_are_not_installed(
    url: str, module: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(DependencyMissingError, match=f"pip install {package}$"):
        lakebed.copy(url, ":memory:")
