"""Two clients of one lake find what a dictionary and the analyser find, whatever they do."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from lakebed.catalog.opened import CatalogOptions, OpenedCatalog
from lakebed.catalog.registry import open_catalog
from lakebed.lake.lake import Lake
from lakebed.lake.search import building as search_building
from lakebed.lake.search import index as search_index
from lakebed.lake.search import tail as search_tail
from lakebed.lake.search.tail import Tail
from lakebed.objects.local import LocalStore
from lakebed.testing import FakeClock, open_lake
from lakebed.testing.machine.clients import ClientsMachine, clients
from tests.servers import MariaDBServer, PostgresServer

SOAK = os.environ.get("LAKEBED_SOAK") == "1"
URLS: list[str] = []
MARIADB: list[MariaDBServer] = []
STEPS = ["get_versions", "add_segment", "replace_segments"]


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that builds and merges happen all the time."""
    monkeypatch.setattr(Tail, "LIMIT", 2)
    monkeypatch.setattr(search_tail, "_PARTS", 2)
    monkeypatch.setattr(search_index, "_AT_HAND", 1)
    monkeypatch.setattr(search_index, "_ENDED", 2)
    monkeypatch.setattr(search_building, "_SMALLEST", 2)
    monkeypatch.setattr(search_building, "_FAN", 2)
    monkeypatch.setattr(search_building, "_PAGE_ROWS", 3)
    monkeypatch.setattr(search_building, "_INLINE_DOCUMENTS", 8)


@pytest.fixture(scope="module")
def _server(postgres_18: PostgresServer) -> Iterator[None]:
    URLS.append(postgres_18.url(postgres_18.create_database()))
    yield
    URLS.clear()


@pytest.fixture(scope="module")
def _mariadb(mariadb: MariaDBServer) -> Iterator[None]:
    MARIADB.append(mariadb)
    yield
    MARIADB.clear()


class _Interrupted(Exception):
    """A builder that goes no further."""


def _once(owner: Any, name: str, act: Callable[[], None]) -> Callable[[], None]:
    """Before the next call of that name somebody acts; what takes it back."""
    call, left = getattr(owner, name), [act]

    def wrapped(*args: Any, **options: Any) -> Any:
        if left:
            left.pop()()
        return call(*args, **options)

    setattr(owner, name, wrapped)
    return lambda: setattr(owner, name, call)


class Attacked(ClientsMachine):
    """With what goes wrong beside the calls of the lake."""

    @rule(number=clients, name=st.sampled_from(["add_segment", "replace_segments"]))
    def a_builder_is_interrupted(self, number: int, name: str) -> None:
        client = self.client(number)

        def stop() -> None:
            raise _Interrupted

        restore = _once(client._catalog, name, stop)
        try:
            client._searcher().build_waiting()
        except _Interrupted:
            pass
        finally:
            restore()

    @rule(number=clients, name=st.sampled_from([*STEPS, "next_waiting", "unheld_versions"]))
    def one_builds_between_the_steps_of_another(self, number: int, name: str) -> None:
        client, other = self.client(number), self.client(1 - number)
        restore = _once(client._catalog, name, other._searcher().build_waiting)
        try:
            client._searcher().build_waiting()
        finally:
            restore()

    @rule(number=clients, key=st.sampled_from(["a/0", "a/1", "é/3"]),
          name=st.sampled_from(STEPS),
          deletes=st.booleans())  # fmt: skip
    def a_write_between_the_steps_of_a_builder(
        self, number: int, key: str, name: str, deletes: bool
    ) -> None:
        client, other = self.client(number), self.client(1 - number)

        def write() -> None:
            if deletes:
                self.model.delete(key)
                other.delete(key)
            else:
                self.model.store(key, "x large", {"n": 1})
                other.store(key, "x large", {"n": 1})

        restore = _once(client._catalog, name, write)
        try:
            client._searcher().build_waiting()
        finally:
            restore()

    @rule(number=clients, key=st.sampled_from(["a/0", "a/1", "é/3"]),
          name=st.sampled_from(STEPS))  # fmt: skip
    def a_purge_between_the_steps_of_a_builder(self, number: int, key: str, name: str) -> None:
        client, other = self.client(number), self.client(1 - number)

        def purge() -> None:
            self._purge(lambda found: found == key)
            other.purge(key)

        restore = _once(client._catalog, name, purge)
        try:
            client._searcher().build_waiting()
        finally:
            restore()

    @rule(number=clients, key=st.sampled_from(["a/0", "a/1", "é/3"]))
    def a_purge_is_interrupted(self, number: int, key: str) -> None:
        client = self.client(number)

        def stop() -> None:
            raise _Interrupted

        self._purge(lambda found: found == key)
        restore = _once(client._searcher(), "forget", stop)
        try:
            client.purge(key)
        except _Interrupted:
            pass
        finally:
            restore()

    @rule()
    def two_build_at_once(self) -> None:
        failures: list[BaseException] = []

        def build(client: Lake) -> None:
            try:
                client._searcher().build_waiting()
            except BaseException as error:  # noqa: BLE001 - raised below
                failures.append(error)

        threads = [Thread(target=build, args=(self.client(number),)) for number in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]


class Files(Attacked):
    """Segments lie in the storage, and the copies of them may go or be spoilt."""

    @precondition(lambda self: self.REOPENS)
    @rule(how=st.sampled_from(["delete", "spoil", "cut"]), which=st.integers(0, 3),
          number=clients)  # fmt: skip
    def a_segment_is_damaged(self, how: str, which: int, number: int) -> None:
        named = sorted(row.uri for row in self.lake._catalog.segments() if row.uri)
        if named:
            path = Path(self._folder.name) / named[which % len(named)]
            data = path.read_bytes() if path.exists() else b""
            path.unlink(missing_ok=True)
            if how != "delete":
                path.write_bytes(data[: len(data) // 2] if how == "cut" else b"x" + data[1:])
            self.reopen_one(number)


class SQLiteInline(Attacked):
    """All segments lie in the catalog."""

    def open_lake(self, folder: Path, clock: FakeClock) -> Lake:
        options = CatalogOptions("normal", 60.0, clock)
        catalog = open_catalog(f"sqlite:///{folder}/catalog.db", options)
        return open_lake(clock=clock, catalog=catalog)


class SQLiteFiles(Files):
    """All segments are files."""

    def open_lake(self, folder: Path, clock: FakeClock) -> Lake:
        return open_lake(folder, clock=clock, inline_threshold=8)


class SQLiteHistory(Files):
    """All versions are kept."""

    def open_lake(self, folder: Path, clock: FakeClock) -> Lake:
        return open_lake(folder, clock=clock, inline_threshold=30, history="all")


def _catalog(folder: Path, clock: FakeClock) -> OpenedCatalog:
    given = {"type": "postgres", "url": URLS[0], "schema": folder.name.replace("-", "_").lower()}
    return open_catalog(given, CatalogOptions("normal", 60.0, clock))


class PostgresInline(Attacked):
    """All segments lie in the catalog."""

    def open_lake(self, folder: Path, clock: FakeClock) -> Lake:
        return open_lake(clock=clock, catalog=_catalog(folder, clock))


class PostgresFiles(Files):
    """All segments are files."""

    def open_lake(self, folder: Path, clock: FakeClock) -> Lake:
        objects = LocalStore(folder)
        return open_lake(
            clock=clock, catalog=_catalog(folder, clock), objects=objects, inline_threshold=30
        )


class MariaDBInline(Attacked):
    """The same on MariaDB."""

    def open_lake(self, folder: Path, clock: FakeClock) -> Lake:
        url = MARIADB[0].url(folder.name.replace("-", "_").lower())
        catalog = open_catalog(
            {"type": "mariadb", "url": url}, CatalogOptions("normal", 60.0, clock)
        )
        return open_lake(clock=clock, catalog=catalog)


TestSQLiteInline = SQLiteInline.TestCase
TestSQLiteFiles = SQLiteFiles.TestCase
TestSQLiteHistory = SQLiteHistory.TestCase
TestPostgresInline = pytest.mark.usefixtures("_server")(PostgresInline.TestCase)
TestPostgresFiles = pytest.mark.usefixtures("_server")(PostgresFiles.TestCase)
TestMariaDBInline = pytest.mark.usefixtures("_mariadb")(MariaDBInline.TestCase)

for case in (TestSQLiteInline, TestSQLiteFiles, TestSQLiteHistory):
    case.settings = settings(max_examples=1000 if SOAK else 10, stateful_step_count=30)
for case in (TestPostgresInline, TestPostgresFiles):
    case.settings = settings(max_examples=300 if SOAK else 3, stateful_step_count=30)
TestMariaDBInline.settings = settings(max_examples=200 if SOAK else 3, stateful_step_count=30)
del case
