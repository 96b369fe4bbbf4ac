"""The lake and its stored tables in Ibis: what they show, unite and join, what is refused."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import ibis
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lakebed
from lakebed.errors import NotFoundError, QueryError, ValidationError
from tests.servers import PostgresServer, S3Server

Open = Callable[[], lakebed.Lake]


@pytest.fixture(params=["folder", "no storage", "memory", "postgres and S3"])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[lakebed.Lake]:
    """Lakes whose tables lie in files, in the catalog, and in a bucket."""
    options: dict[str, Any] = {"where": tmp_path / "lake"}
    if request.param == "no storage":
        options = {"where": ":memory:"}
    elif request.param == "memory":
        options = {"catalog": "sqlite://", "storage": f"memory://ibis-{os.urandom(4).hex()}"}
    elif request.param == "postgres and S3":
        server: PostgresServer = request.getfixturevalue("postgres_18")
        bucket: S3Server = request.getfixturevalue("s3")
        storage = bucket.storage(f"s3://{bucket.create_bucket()}/lake")
        options = {"catalog": server.url(server.create_database()), "storage": storage}
    with lakebed.open(**options) as opened:
        yield opened


@pytest.fixture
def local(tmp_path: Path) -> Iterator[lakebed.Lake]:
    with lakebed.open(tmp_path / "lake") as opened:
        yield opened


def rows(table: Any) -> list[dict[str, Any]]:
    """The rows of an expression, in an order of their own."""
    found: list[dict[str, Any]] = table.to_pyarrow().to_pylist()
    return sorted(found, key=repr)


ONE, TWO = pa.table({"n": [1, 2]}), pa.table({"n": [3], "m": ["z"]})


def test_everything_joins(lake: lakebed.Lake) -> None:
    lake["doc"] = {"x": [1, "007"]}
    lake["t/1"], lake["t/2"], lake["t/same"], lake["t/note"] = ONE, TWO, TWO, "no table"
    lake.create_snapshot("before")
    lake["t/1"] = pa.table({"n": [10]})
    backend = lake.ibis()
    assert backend.list_tables() == ["documents", "entries", "history", "objects", "snapshots"]
    united = lake.tables("t/")
    assert rows(united) == [
        {"key": "t/1", "n": 10, "m": None},
        {"key": "t/2", "n": 3, "m": "z"},
        {"key": "t/same", "n": 3, "m": "z"},
    ]
    entries = backend.table("entries")
    joined = united.join(entries, "key").select("key", "n", "byte_size")
    sizes = {entry.key: entry.byte_size for entry in lake.list()}
    assert {row["key"]: row["byte_size"] for row in rows(joined)} == {
        key: sizes[key] for key in ("t/1", "t/2", "t/same")
    }
    assert rows(united.join(lake.table("t/2"), "n").select("key", "m")) == [
        {"key": "t/2", "m": "z"},
        {"key": "t/same", "m": "z"},
    ]
    before = lake.at("before")
    assert rows(before.tables("t/1")) == [{"key": "t/1", "n": 1}, {"key": "t/1", "n": 2}]
    both = before.table("t/1").union(lake.table("t/1"))
    assert rows(both) == [{"n": 10}, {"n": 1}, {"n": 2}]
    assert before.ibis().list_tables() == ["documents", "entries"]
    old, new = before.ibis().table("entries"), lake.ibis().table("entries")
    changed = old.join(new, "key").filter(ibis._.version != ibis._.version_right)
    assert rows(changed.select("key")) == [{"key": "t/1"}]
    assert united.get_backend() == backend == before.ibis()


def test_shows_the_lake_as_of_the_call(local: lakebed.Lake) -> None:
    local["a"] = 1
    backend = local.ibis()
    local["b"] = 2
    assert rows(backend.table("entries").select("key")) == [{"key": "a"}]
    assert local.ibis() is backend
    assert rows(backend.table("documents").select("key")) == [{"key": "a"}, {"key": "b"}]
    local["t"] = ONE
    table = local.table("t")
    local["t"] = TWO
    assert rows(table) == [{"n": 1}, {"n": 2}]
    assert rows(local.table("t")) == TWO.to_pylist()


def test_sql_of_ibis_reads_the_lake_only(local: lakebed.Lake, tmp_path: Path) -> None:
    local["a"] = {"n": 1}
    backend = local.ibis()
    assert rows(backend.sql("SELECT key, value->>'n' AS n FROM documents")) == [
        {"key": "a", "n": "1"}
    ]
    (tmp_path / "secret.csv").write_text("x\n1\n")
    for statement in (
        f"SELECT * FROM read_csv('{tmp_path}/secret.csv')",
        f"COPY (SELECT 1) TO '{tmp_path}/out.csv'",
        f"COPY (SELECT 1) TO '{tmp_path}/lake/objects/x' (FORMAT csv, use_tmp_file false)",
        f"ATTACH '{tmp_path}/lake/catalog.db' AS c (TYPE sqlite)",
        "INSTALL httpfs",
        "SET enable_external_access = true",
    ):
        with pytest.raises(duckdb.Error):
            backend.raw_sql(statement)
    assert not (tmp_path / "out.csv").exists()


def test_what_is_refused(lake: lakebed.Lake) -> None:
    lake["a"], lake["t/1"], lake["t/2"] = 1, ONE, pa.table({"n": ["x"]})
    with pytest.raises(NotFoundError, match="'missing'"):
        lake.table("missing")
    with pytest.raises(ValidationError, match="'a' is of the format 'json': expected a table"):
        lake.table("a")
    with pytest.raises(NotFoundError, match="no stored table has a key that begins with 'q/'"):
        lake.tables("q/")
    with pytest.raises(NotFoundError, match="none of its 1 entries is a table"):
        lake.tables("a")
    with pytest.raises(
        QueryError, match=r"'n' is BIGINT in 't/1' and VARCHAR in 't/2': widen=True"
    ):
        lake.tables("t/")
    assert rows(lake.tables("t/", widen=True)) == [
        {"key": "t/1", "n": "1"},
        {"key": "t/1", "n": "2"},
        {"key": "t/2", "n": "x"},
    ]
    lake["u/1"], lake["u/2"] = pa.table({"s": [{"a": 1}]}), pa.table({"s": [1]})
    with pytest.raises(QueryError, match=r"STRUCT\(a BIGINT\) in 'u/1' and BIGINT in 'u/2'"):
        lake.tables("u/")
    lake["k"] = pa.table({"Key": [1]})
    with pytest.raises(QueryError, match=r"the table 'k' has a column 'Key'.*key_column="):
        lake.tables("k")
    assert rows(lake.tables("k", key_column='na"me')) == [{'na"me': "k", "Key": 1}]
    for name in ("", "a\0", "\ud800"):
        with pytest.raises(ValidationError, match="key_column is"):
            lake.tables("k", key_column=name)
    with pytest.raises(ValidationError, match="prefix must be a string, got int"):
        lake.tables(3)  # type: ignore[arg-type]


def test_types_as_duckdb_sees_them(local: lakebed.Lake) -> None:
    """Other types of Arrow that are one type of DuckDB's unite; names differ by more than case."""
    local["t/1"] = pa.table({"s": pa.array(["a"], pa.large_string()), "N": [1]})
    local["t/2"] = pa.table({"s": pa.array(["b"]).dictionary_encode(), "n": [2]})
    assert rows(local.tables("t/")) == [
        {"key": "t/1", "s": "a", "N": 1},
        {"key": "t/2", "s": "b", "N": 2},
    ]


def test_columns_named_like_those_of_duckdb(lake: lakebed.Lake) -> None:
    for number in (1, 2):
        for name in ("file_index", "FILE_INDEX", "file_row_number", "filename"):
            lake[f"{name}/{number}"] = pa.table({name: [1 - number % 2, 7], "n": [number, 3]})
    for name in ("file_index", "file_row_number", "filename"):
        assert rows(lake.tables(f"{name}/")) == [
            {"key": f"{name}/1", name: 0, "n": 1},
            {"key": f"{name}/1", name: 7, "n": 3},
            {"key": f"{name}/2", name: 1, "n": 2},
            {"key": f"{name}/2", name: 7, "n": 3},
        ]
    assert len(rows(lake.tables("FILE_INDEX/"))) == 4


def test_a_table_without_columns(lake: lakebed.Lake) -> None:
    lake["t/0"] = pa.table({})
    with pytest.raises(QueryError, match="'t/0' has no columns"):
        lake.table("t/0")
    with pytest.raises(NotFoundError, match="'t/' has a column"):
        lake.tables("t/")
    lake["t/1"] = ONE
    assert rows(lake.tables("t/")) == [{"key": "t/1", "n": 1}, {"key": "t/1", "n": 2}]


def test_decimals_that_duckdb_reads_wrong(lake: lakebed.Lake) -> None:
    wide = pa.array([Decimal("1.5")], pa.decimal256(50, 10))
    lake["t/1"], lake["t/2"] = (
        pa.table({"d": wide}),
        pa.table({"s": pa.StructArray.from_arrays([wide], ["d"])}),
    )
    for key, name in (("t/1", "d"), ("t/2", "s")):
        with pytest.raises(QueryError, match=f"{key!r} has a column {name!r} of .*decimal256"):
            lake.table(key)
    with pytest.raises(QueryError, match="decimals have at most 38 digits"):
        lake.tables("t/")
    lake["t"] = pa.table({"d": wide.cast(pa.decimal128(38, 10))})
    assert rows(lake.table("t")) == [{"d": Decimal("1.5")}]


def test_types_that_duckdb_has_not() -> None:
    """A table in the catalog comes by way of Arrow; it is not damaged if DuckDB refuses it."""
    with lakebed.open(":memory:") as lake:
        lake["t"] = pa.table({"f": pa.array([1.0], pa.float16())})
        with pytest.raises(QueryError, match="Arrow"):
            lake.table("t")


def test_keys_that_need_quoting(local: lakebed.Lake) -> None:
    keys = ["'", '"', "a'; DROP TABLE entries; --", "ü/€", "%", "\\"]
    for number, key in enumerate(keys):
        local[key] = pa.table({"n": [number]})
    assert {row["key"]: row["n"] for row in rows(local.tables())} == {
        k: n for n, k in enumerate(keys)
    }


VALUES = {
    "INT": st.lists(st.none() | st.integers(-9, 9), max_size=3).map(
        lambda v: pa.array(v, pa.int64())
    ),
    "TEXT": st.lists(st.none() | st.text("ab'", max_size=2), max_size=3).map(
        lambda v: pa.array(v, pa.string())
    ),
}  # fmt: skip


@st.composite
def one_table(draw: st.DrawFn) -> pa.Table:
    """A table with some of three columns, of which each has one type."""
    names = draw(st.lists(st.sampled_from("abc"), min_size=1, unique=True))
    columns = [draw(VALUES["TEXT" if name == "c" else "INT"]) for name in names]
    rows = min(map(len, columns))
    return pa.table([column[:rows] for column in columns], names=names)


@settings(max_examples=25)
@given(stored=st.dictionaries(st.text("xy", min_size=1, max_size=2), one_table(), min_size=1))
def test_as_by_hand(stored: dict[str, pa.Table], tmp_path_factory: pytest.TempPathFactory) -> None:
    names = sorted({name for table in stored.values() for name in table.column_names})
    with lakebed.open(tmp_path_factory.mktemp("lake")) as lake:
        lake.update(stored)
        lake.create_snapshot("s")
        lake["zzz"] = TWO
        wanted = [
            {"key": key} | {name: row.get(name) for name in names}
            for key, table in stored.items()
            for row in table.to_pylist()
        ]
        found = lake.at("s").tables().to_pyarrow().to_pylist()
        assert sorted(found, key=lambda row: repr(sorted(row.items()))) == sorted(
            wanted, key=lambda row: repr(sorted(row.items()))
        )


def test_from_many_threads(local: lakebed.Lake) -> None:
    for number in range(8):
        local[f"t/{number}"] = pa.table({"n": [number] * 100})

    def total(number: int) -> int:
        return int(local.table(f"t/{number}").n.sum().execute())

    def all_of_them(_: int) -> int:
        joined = local.tables("t/").join(local.ibis().table("entries"), "key")
        return int(joined.n.sum().execute())

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(total, range(8))) == [100 * number for number in range(8)]
        assert set(pool.map(all_of_them, range(8))) == {2800}


def test_after_the_settings_change_and_after_close(tmp_path: Path) -> None:
    with lakebed.open(tmp_path / "lake") as lake:
        lake["t"] = ONE
        old = lake.table("t")
        lake.query_settings(threads=1)
        assert rows(lake.table("t")) == ONE.to_pylist()
        with pytest.raises((duckdb.Error, QueryError)):
            rows(old)


def test_expression_is_stored(lake: lakebed.Lake) -> None:
    lake["t/1"], lake["t/2"] = ONE, TWO
    united = lake.tables("t/")
    entry = lake.store("sums", united.group_by("key").agg(total=united.n.sum()).order_by("key"))
    assert entry.format == "parquet"
    assert lake["sums"].to_pylist() == [{"key": "t/1", "total": 3}, {"key": "t/2", "total": 3}]
    lake.store_batch([{"key": "copy", "value": lake.table("sums")}])
    assert lake["copy"].to_pylist() == lake["sums"].to_pylist()
    assert lake.at(lake.create_snapshot("s")).table("copy").count().execute() == 2


def test_expression_streams(tmp_path: Path, soak: bool, record_property: Any) -> None:
    """Rows pass through bounded memory: 3 million (under soak 30), of 50 bytes."""
    number = 30_000_000 if soak else 3_000_000
    program = f"""
        import resource, lakebed
        lake = lakebed.open({str(tmp_path / "lake")!r})
        lake.query_settings(threads=2, memory_limit="300MB")
        lake["first"] = lake.ibis().sql("SELECT 1 AS n")
        rows = lake.ibis().sql("SELECT range AS n, md5(range::VARCHAR) AS s FROM range({number})")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        lake["large"] = rows
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
        assert lake.table("large").count().execute() == {number}
    """
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], check=True, capture_output=True, text=True
    )
    grown = int(ran.stdout) // 1024
    record_property(f"memory that storing an expression of {number:,} rows took, MiB", grown)
    assert grown < 200


def test_not_loaded_before_it_is_used(tmp_path: Path) -> None:
    program = """
        import sys, lakebed
        lake = lakebed.open(sys.argv[1])
        lake["a"] = 1
        assert not {"ibis", "duckdb", "pandas", "pyarrow"} & sys.modules.keys()
    """
    subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), str(tmp_path / "lake")], check=True
    )
