"""Sessions and results: errors, ends, limits, threads, and what is kept between queries."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest

import lakebed
from lakebed.errors import CatalogError, NotFoundError, QueryError, ValidationError
from lakebed.lake.sql.wanted import Wanted
from lakebed.testing import FakeClock, FaultyStore, open_lake
from tests.lake.sql.conftest import OpenLake

pytestmark = pytest.mark.sampled("new_lake", 3)

COUNT = 2000  # the metadata index looks at more than 1,000 at a time


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[lakebed.Lake]:
    with lakebed.open(tmp_path / "lake", inline_threshold=0) as lake:
        lake.store_batch(
            {"key": f"{'ab'[n % 2]}/{n:04}", "value": {"n": n}, "metadata": {"m": f"x{n % 5}"}}
            for n in range(COUNT)
        )
        yield lake


def test_a_result_gives_its_rows_in_many_ways(lake: lakebed.Lake) -> None:
    result = lake.sql("SELECT key, byte_size FROM entries ORDER BY key")
    assert (result.columns, result.types) == (["key", "byte_size"], ["VARCHAR", "BIGINT"])
    shown = repr(result)
    assert "a/0000" in shown
    assert ">a/0000</td>" in result._repr_html_()
    first = result.fetchone()
    assert first is not None
    assert first[0] == "a/0000"
    assert len(result.fetchmany(3)) == 3
    assert len(list(result)) == COUNT - 4
    assert result.fetchone() is None
    assert result.arrow().num_rows == len(result.df()) == len(result.pl()) == COUNT
    assert pa.Table.from_batches(lake.sql("SELECT * FROM entries").batches(50)).num_rows == COUNT


def test_html_is_escaped_and_short(lake: lakebed.Lake) -> None:
    html = lake.sql("SELECT '<script>' AS \"<b>\", repeat('x', 10000) FROM entries")._repr_html_()
    assert "<script>" not in html
    assert "<b>" not in html
    assert "… and more rows" in html
    assert len(html) < 20_000


LATE = "SELECT CASE WHEN i = 3000000 THEN error('late') ELSE i END FROM range(4000000) t(i)"


def test_an_error_while_fetching(lake: lakebed.Lake) -> None:
    result = lake.sql(LATE)
    assert result.fetchone() is not None
    with pytest.raises(QueryError, match="late"):
        result.fetchall()
    batches = lake.sql(LATE).batches()
    with pytest.raises(QueryError, match="late"):
        batches.read_all()
    assert lake.sql("SELECT 1").fetchall() == [(1,)]


def test_the_reason_is_found_where_duckdb_says_interrupted(lake: lakebed.Lake) -> None:
    """Interrupting a stream is what DuckDB does to the reader when another thread has failed."""
    for query, reason in ((LATE, "late"), ("SELECT i FROM range(4000000) t(i)", "(?i)interrupted")):
        result = lake.sql(query)
        assert result.fetchone() is not None
        result._connection.interrupt()
        with pytest.raises(QueryError, match=reason):
            result.fetchall()
        result = lake.sql(query)
        batches = result.batches(1000)
        batches.read_next_batch()
        result._connection.interrupt()
        with pytest.raises(QueryError, match=reason):
            batches.read_all()


def test_a_closed_lake(tmp_path: Path) -> None:
    lake = lakebed.open(tmp_path)
    lake.store("a", 1)
    result = lake.sql("FROM range(10000000)")
    result.fetchone()
    lake.close()
    for fetch in (result.fetchone, result.fetchall, result.arrow, result.df):
        with pytest.raises(QueryError, match="closed"):
            fetch()
    with pytest.raises((CatalogError, QueryError), match="closed"):
        lake.sql("SELECT 1")


def test_settings_hold_and_their_folder_goes(tmp_path: Path) -> None:
    folder = tmp_path / "spill"
    folder.mkdir()
    with lakebed.open(":memory:") as lake:
        lake.query_settings(threads=1, memory_limit="100MB", temp_directory=folder)
        settings = "SELECT current_setting('threads'), current_setting('memory_limit')"
        assert lake.sql(settings).fetchall() == [(1, "95.3 MiB")]
        large = "SELECT count(*) FROM (SELECT DISTINCT repeat(i::VARCHAR, 9) FROM range($n) t(i))"
        assert lake.sql(large, {"n": 2_000_000}).fetchall() == [(2_000_000,)]
        assert len(list(folder.iterdir())) == 1
        lake.query_settings(threads=2)
        assert lake.sql("SELECT current_setting('threads')").fetchall() == [(2,)]
        assert list(folder.iterdir()) == []
        with pytest.raises(ValidationError, match="threads"):
            lake.query_settings(threads=0)
        lake.query_settings(memory_limit="much")
        with pytest.raises(QueryError, match="cannot start"):
            lake.sql("SELECT 1")


def test_many_threads(lake: lakebed.Lake) -> None:
    failures: list[BaseException] = []

    def ask(number: int) -> None:
        try:
            for n in range(5):
                lake.store(f"thread/{number}", n)
                query = (
                    "SELECT count(*), sum((value->>'n')::INTEGER) FROM documents WHERE key < 'c'"
                )
                assert lake.sql(query).fetchall() == [(COUNT, COUNT * (COUNT - 1) // 2)]
                mine = lake.sql("SELECT value FROM documents WHERE key = ?", [f"thread/{number}"])
                assert mine.fetchall() == [(str(n),)]
        except BaseException as error:  # noqa: BLE001 - told by the test
            failures.append(error)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_after_a_fork(lake: lakebed.Lake) -> None:
    query = "SELECT count(*) FROM documents WHERE value IS NOT NULL"
    assert lake.sql(query).fetchall() == [(COUNT,)]
    child = os.fork()
    if child == 0:
        answer = lake.sql(query).fetchall()
        lake.close()
        os._exit(0 if answer == [(COUNT,)] else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert lake.sql(query).fetchall() == [(COUNT,)]


class Loads:
    """Counts the rows that queries bring out of the catalog."""

    def __init__(self, lake: lakebed.Lake, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rows: list[int] = []
        engine = lake.query_engine()
        load: Callable[..., object] = engine.cache._load

        def counted(scan: object, want: Wanted, how: object) -> object:
            rows = load(scan, want, how)
            self.rows.append(rows.count)  # type: ignore[attr-defined]
            return rows

        monkeypatch.setattr(engine.cache, "_load", counted)


@pytest.mark.parametrize(
    ("condition", "loaded"),
    [
        ("key LIKE 'a/%'", COUNT // 2),
        ("key LIKE 'a/000_'", 5),
        ("key = 'a/0000'", 1),
        ("'a/0002' >= key", 2),
        ("key IN ('a/0000', 'a/0004')", 3),
        ("key BETWEEN 'a/0000' AND 'a/0004'", 3),
        ("starts_with(key, 'b/') AND byte_size > 0", COUNT // 2),
        ("(metadata->>'m') = 'x1'", COUNT // 5),
        ("key < 'b' AND (metadata->>'m') = 'x0'", COUNT // 10),
        ("key = 'a/0000' OR byte_size = 3", COUNT),
        ("key NOT LIKE 'a/%'", COUNT),
        ("upper(key) = 'A'", COUNT),
    ],
)
def test_conditions_are_looked_up_in_the_catalog(
    lake: lakebed.Lake, monkeypatch: pytest.MonkeyPatch, condition: str, loaded: int
) -> None:
    loads = Loads(lake, monkeypatch)
    lake.sql(f"SELECT count(*) FROM entries WHERE {condition}")  # noqa: S608
    assert loads.rows == [loaded]


def test_rows_are_kept_while_nothing_changes(
    new_lake: OpenLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FakeClock()
    with new_lake(clock) as lake:
        lake.store("a", 1)
        lake.store("b", "large" * 20, ttl=10)
        loads = Loads(lake, monkeypatch)

        def count() -> object:
            return lake.sql("SELECT count(key) FROM entries").fetchone()

        assert count() == (2,)
        assert count() == (2,)
        assert len(loads.rows) == 1
        lake.store("c", 3)
        assert count() == (3,)
        clock.advance(10)
        assert count() == (2,)
        assert len(loads.rows) == 3


def test_changes_when_something_expires(new_lake: OpenLake) -> None:
    clock = FakeClock()
    with new_lake(clock) as lake:
        lake.store("both", 1, ttl=10)
        lake.create_snapshot("then")
        lake.store("new", 2, ttl=10)
        query = "SELECT key, change FROM changes('then')"
        assert lake.sql(query).fetchall() == [("new", "added")]
        clock.advance(10)
        assert lake.sql(query).fetchall() == [("both", "removed")]


def test_a_version_and_a_snapshot_named_like_it(tmp_path: Path) -> None:
    with lakebed.open(tmp_path / "lake", history="all") as lake:
        version = lake.store("a", 1).version
        lake["b"] = 2
        lake.create_snapshot(str(version))
        query = (
            f"SELECT (SELECT count(*) FROM entries_at({version})), "  # noqa: S608
            f"(SELECT count(*) FROM entries_at('{version}')), "
            "(SELECT count(*) FROM entries_at($1)), (SELECT count(*) FROM entries_at($2))"
        )
        assert lake.sql(query, [version, str(version)]).fetchall() == [(1, 2, 1, 2)]


def test_parameters_whose_names_differ_by_case(lake: lakebed.Lake) -> None:
    query = "SELECT count(*) FROM entries WHERE key = $key"
    for params in ({"key": "none", "KEY": "a/0000"}, {"KEY": "none", "key": "a/0000"}):
        (wanted,) = lake.sql("SELECT $key = 'a/0000'", params).fetchall()
        assert lake.sql(query, params).fetchall() == [(int(wanted[0]),)]


def test_what_polars_does_not_take(lake: lakebed.Lake) -> None:
    result = lake.sql("SELECT union_value(a := 1) AS either")
    with pytest.raises(QueryError, match="polars"):
        result.pl()
    assert result.arrow().num_rows == 1


def test_only_what_is_asked_for_is_read(tmp_path: Path) -> None:
    from lakebed.objects.local import LocalStore

    store = FaultyStore(LocalStore(tmp_path / "lake"))
    with open_lake(tmp_path / "lake", objects=store, inline_threshold=0) as lake:
        lake.store_batch({"key": f"{n:03}", "value": {"n": n}} for n in range(200))
        lake.store("alone", {"n": 1000})
        before = len(store.calls)
        lake.sql("SELECT count(*), max(byte_size) FROM documents").fetchall()
        lake.sql("SELECT key, metadata FROM documents WHERE key < 'b'").fetchall()
        assert len(store.calls) == before
        assert lake.sql("SELECT value FROM documents WHERE key = '007'").fetchall() == [
            ('{"n":7}',)
        ]
        assert len(store.calls) <= before + 3


def test_a_query_that_outlives_the_grace_period(tmp_path: Path) -> None:
    chance = random.Random(1)
    with lakebed.open(tmp_path / "lake", inline_threshold=0) as lake:
        lake.query_settings(memory_limit="42MB", threads=1)  # DuckDB cannot keep all that it read
        lake.store_batch(
            {"key": f"{n:03}", "value": chance.randbytes(50_000).hex()} for n in range(300)
        )
        old = lake.sql("SELECT value FROM documents")
        assert sum(batch.num_rows for batch in old.batches(10)) == 300
        for key in list(lake):
            lake.delete(key)
        lake.collect(grace=0)
        with pytest.raises(QueryError, match="grace period"):
            list(old.batches(10))
        assert lake.sql("SELECT count(value) FROM documents").fetchall() == [(0,)]


def test_views(lake: lakebed.Lake) -> None:
    lake.create_snapshot("then")
    lake.delete("a/0000")
    view = lake.at("then")
    query = "SELECT count(value) FROM documents"
    assert view.sql(query).fetchall() == [(COUNT,)]
    assert lake.sql(query).fetchall() == [(COUNT - 1,)]
    with pytest.raises(QueryError, match="history"):
        view.sql("SELECT * FROM history")
    lake.drop_snapshot("then")
    with pytest.raises(NotFoundError):
        view.sql(query)
