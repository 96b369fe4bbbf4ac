"""An adversary who may say anything in SQL, against values that no query may show.

Two walls stand in his way: what a statement may say, and what the filesystem opens. Each is tried
alone, with the other taken away, and both together.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lakebed.duckdb.filesystem import PROTOCOL, ReadOnlyFiles
from lakebed.duckdb.statement import Statement, unjudged
from lakebed.errors import NotFoundError, QueryError
from lakebed.lake.sql import engine as query_engine
from lakebed.objects.local import LocalStore
from lakebed.testing import FakeClock, open_lake
from tests.lake.sql.statements import Grammar

HIDDEN = ("canary-deleted", "canary-expired", "canary-packed", "canary-beside")
LATER = "canary-later"
STATEMENTS = 50  # of one example

Ask = Callable[[str], object]
chances = st.integers(0, 2**64).map(random.Random)
few = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
many = settings(few, max_examples=2000 if settings().max_examples > 100 else 30)


class Watched(LocalStore):
    """A store that tells which files were read."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.seen = set[str]()

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        self.seen.add(path)
        return super().read(path, offset, length)


class Breach(AssertionError):
    """What was hidden has been seen."""


class World:
    """A lake with canaries: values deleted, expired, later than a view; files beside it."""

    def __init__(self, folder: Path) -> None:
        clock = FakeClock()
        self.root = folder / "lake"
        self.store = Watched(self.root)
        self.lake = lake = open_lake(self.root, clock=clock, objects=self.store, inline_threshold=0)
        lake.store("stays", "plain")
        kept = self.places()
        lake.store("deleted", "canary-deleted")
        lake.store("expires", "canary-expired", ttl=1)
        self.gone = self.places() - kept
        lake.store_batch(
            {"key": f"p/{n}", "value": "canary-packed" if n == 3 else n} for n in range(5)
        )
        lake.store("table", pa.table({"n": [1]}))
        lake.delete("deleted")
        lake.delete("p/3")
        clock.advance(2)
        lake.create_snapshot("then")
        kept = self.places()
        lake.store("later", LATER)
        self.later = self.places() - kept
        self.view = lake.at("then")
        (folder / "beside.csv").write_text("x\ncanary-beside\n")
        (folder / "beside.json").write_text('{"x":"canary-beside"}')
        pq.write_table(pa.table({"x": ["canary-beside"]}), folder / "beside.parquet")
        self.files = [
            *(f"{PROTOCOL}://{path}" for path in self.places()),
            *(str(self.root / path) for path in self.places()),
            *(str(path) for path in folder.glob("beside.*")),
            str(self.root / "catalog.db"),
            f"{PROTOCOL}://objects",
        ]
        self.files.sort()
        # Some statements would never end, or take all the memory and disk that there is.
        lake.query_settings(timeout=10, memory_limit="500MB", spill_limit="1GB")
        # All of it is loaded, so that it is there to be found.
        lake.ibis()
        lake.table("table")
        for source in ("documents", "entries", "history", "objects", "snapshots"):
            lake.sql(f"FROM {source}")
        self.view.sql("FROM documents")
        rows = [f"lakebed_rows.r{n}" for n in range(20)]
        self.tables = [*rows, *(f"memory.{name}" for name in rows), "lake.documents"]

    def places(self) -> set[str]:
        """The files of the storage."""
        found = [*self.root.glob("objects/*/*"), *self.root.glob("packs/**/*")]
        return {str(path.relative_to(self.root)) for path in found if path.is_file()}

    def try_all(
        self, chance: random.Random, ask: Ask, *, view: bool = False, judged: bool = True
    ) -> None:
        """Ask many things of the lake, or of the view: no answer and no error may hold what is
        hidden, nor may a file be read whose value is. What nobody judges are queries only, and they
        do not know what the tables of the session are called."""
        hidden, files = (*HIDDEN, LATER) if view else HIDDEN, self.gone
        self.store.seen.clear()
        grammar = Grammar(chance, self.files, self.tables if judged else [], kinds=judged)
        for _ in range(STATEMENTS):
            text = grammar.statement()
            try:
                told = repr(ask(text))
            except (QueryError, NotFoundError, duckdb.Error) as error:
                told = str(error)
            if found := [word for word in hidden if word in told]:
                raise Breach(f"{text} tells of {found}")
        if read := self.store.seen & (files | self.later if view else files):
            raise Breach(f"{read} was read")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = World(tmp_path_factory.mktemp("adversary"))
    yield world
    world.lake.close()


def say_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away the judge of statements."""

    def parse(
        judge: object, text: str, params: object, tables: frozenset[str], calls: frozenset[str]
    ) -> Statement:
        del judge, params, calls
        return unjudged(text, tables, frozenset())

    monkeypatch.setattr(query_engine, "parse", parse)


def open_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away the guard of the files: a name is that of a place, as it was once."""

    def glob(files: ReadOnlyFiles, path: str) -> list[str]:
        grant = files._grants.get(path)
        return [files._root + name for name in grant.paths] if grant else [path]

    def checked(files: ReadOnlyFiles, path: str) -> str:
        return path.removeprefix(files._root).removeprefix(f"{PROTOCOL}://")

    monkeypatch.setattr(ReadOnlyFiles, "glob", glob)
    monkeypatch.setattr(ReadOnlyFiles, "_checked", checked)


@many
@given(chance=chances, view=st.booleans())
def test_statements(world: World, chance: random.Random, view: bool) -> None:
    lake = world.view if view else world.lake
    world.try_all(chance, lambda text: lake.sql(text).fetchall(), view=view)


@few
@given(chance=chances, view=st.booleans())
def test_the_judge_alone(
    world: World, monkeypatch: pytest.MonkeyPatch, chance: random.Random, view: bool
) -> None:
    open_anything(monkeypatch)
    lake = world.view if view else world.lake
    world.try_all(chance, lambda text: lake.sql(text).fetchall(), view=view)


@few
@given(chance=chances)
def test_the_files_alone(
    world: World, monkeypatch: pytest.MonkeyPatch, chance: random.Random
) -> None:
    say_anything(monkeypatch)
    world.try_all(chance, lambda text: world.lake.sql(text).fetchall(), judged=False)


@few
@given(chance=chances)
def test_ibis(world: World, chance: random.Random) -> None:
    backend = world.lake.ibis()
    world.try_all(chance, lambda text: backend.raw_sql(text).fetchall(), judged=False)


def test_the_adversary_finds_what_is_open(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    say_anything(monkeypatch)
    open_anything(monkeypatch)
    chance = random.Random(1)

    def try_long() -> None:
        for _ in range(100):
            world.try_all(chance, lambda text: world.lake.sql(text).fetchall(), judged=False)

    with pytest.raises(Breach):
        try_long()


def test_what_the_adversary_found(world: World) -> None:
    """The statements that were let through once."""
    for path in sorted(world.gone | world.later):
        name = f'"{PROTOCOL}://{path}"'
        for text in (
            f"WITH RECURSIVE {name} AS (FROM {name} UNION ALL FROM {name} WHERE false) FROM {name}",
            f"WITH RECURSIVE {name} AS (FROM {name}) FROM {name}",
            "WITH RECURSIVE sqlite_master AS (FROM sqlite_master UNION FROM sqlite_master) "
            "FROM sqlite_master",
            "WITH RECURSIVE pg_type AS (FROM pg_type UNION FROM pg_type) FROM pg_type",
        ):
            with pytest.raises(QueryError):
                world.view.sql(text).fetchall()


def test_import_leaves_nothing_behind(world: World) -> None:
    for text in (
        f"IMPORT DATABASE '{PROTOCOL}://objects'",
        f"SELECT 1; IMPORT DATABASE '{PROTOCOL}://objects'",
    ):
        with pytest.raises(QueryError, match=r"IMPORT|PRAGMA|2 statements"):
            world.lake.sql(text)
    with pytest.raises(QueryError, match="nope"):
        world.lake.sql("SELECT nope")


def test_an_address_ends_with_its_query(world: World) -> None:
    """Who learned the address of a query's files has nothing of it once the result is closed."""
    session = world.lake.query_engine().session
    result = world.lake.sql("SELECT value FROM documents")
    ((text,),) = result._connection.execute(
        "SELECT sql FROM duckdb_views() WHERE view_name = 'documents' AND temporary"
    ).fetchall()
    found = re.search(f"'({PROTOCOL}://[0-9a-f]+)'", text)
    assert found
    address = found[1]
    query = f"SELECT count(*) FROM read_parquet('{address}')"  # noqa: S608
    connection = session.connect()
    assert connection.execute(query).fetchall() == [(5,)]
    result.close()
    with pytest.raises(duckdb.Error, match="files by name"):
        connection.execute(query)
    session.release(connection)
