"""Publications: read by other engines, replaced whole or not at all, in bounded memory."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lakebed
from lakebed.errors import (
    ConfigurationError,
    ConflictError,
    CorruptionError,
    NotFoundError,
    SerializationError,
)
from tests.servers import S3Server

TABLE = pa.table({"n": [1, 2, 3]})
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=5), inner, max_size=3
    ),
    max_leaves=8,
)  # fmt: skip
KEYS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[lakebed.Lake]:
    with lakebed.open(tmp_path / "lake") as opened:
        yield opened


def fill(lake: lakebed.Lake) -> None:
    """Values of all formats, inline, alone and in a pack."""
    lake.store("inline", {"a": [1, "007", None]}, {"kind": "x"}, ttl=3600)
    lake.store("long", "y" * 10_000)
    lake.store("bytes", b"\0\xff")
    lake.store_batch(
        {"key": f"packed/{n:03}", "value": {"n": n, "pad": "z" * 200}} for n in range(300)
    )
    lake.compact()
    lake["t/1"], lake["t/2"], lake["t/3"] = TABLE, TABLE, TABLE.slice(1)


def local(uri: str) -> Path:
    return Path(unquote(uri.removeprefix("file://")))


def read(folder: Path) -> dict[str, dict[str, Any]]:
    rows = duckdb.read_parquet(f"{folder}/*.parquet").to_arrow_table().to_pylist()
    return {row["key"]: row for row in rows}


def value_of(row: dict[str, Any]) -> Any:
    if row["format"] == "json":
        return json.loads(row["value"])
    return (
        row["value_bytes"] if row["format"] == "bytes" else pq.read_table(local(row["table_uri"]))
    )


def test_all_kinds(lake: lakebed.Lake, tmp_path: Path) -> None:
    fill(lake)
    told: list[tuple[int, int | None]] = []
    report = lake.publish(tmp_path / "p", progress=lambda done, total: told.append((done, total)))
    assert (report.entries, report.tables) == (len(lake), 2)
    assert told[-1] == (len(lake), len(lake))
    files = [*(tmp_path / "p").rglob("*"), *(tmp_path / "p-tables").rglob("*.*")]
    assert [path.name for path in (tmp_path / "p").rglob("*")] == ["entries.parquet"]
    assert report.byte_size == sum(path.stat().st_size for path in files)
    assert report.tables_uri is not None
    rows = read(tmp_path / "p")
    assert list(rows) == list(lake)
    for entry in lake.list():
        row = rows[entry.key]
        assert value_of(row) == entry.value
        assert json.loads(row["metadata"]) == entry.metadata
        for name in ("version", "content_hash", "format", "byte_size"):
            assert row[name] == entry[name]
        for name in ("expires_at", "created_at", "updated_at"):
            assert row[name] == entry[name]
        assert (row["table_uri"] or "").startswith(report.tables_uri) == (
            row["format"] == "parquet"
        )
    assert rows["t/1"]["table_uri"] == rows["t/2"]["table_uri"] != rows["t/3"]["table_uri"]
    assert not lake.snapshots()


def test_other_engines_read_the_folder(lake: lakebed.Lake, tmp_path: Path) -> None:
    fill(lake)
    lake.publish(tmp_path / "p")
    assert pq.read_table(tmp_path / "p")["key"].to_pylist() == list(lake)
    assert pl.read_parquet(tmp_path / "p" / "**" / "*.parquet")["key"].to_list() == list(lake)
    schema = pq.read_schema(tmp_path / "p" / "entries.parquet")
    assert schema.field("value").type == pa.string()
    assert schema.field("expires_at").type == pa.timestamp("us", "UTC")


@settings(max_examples=20)
@given(values=st.dictionaries(KEYS, JSON | st.binary(), max_size=6))
def test_any_values(values: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("published")
    with lakebed.open(":memory:") as lake:
        lake.update(values)
        lake.publish(folder / "p")
    assert {key: value_of(row) for key, row in read(folder / "p").items()} == values


def test_pages_of_all_kinds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some pages lie in the catalog, others in the storage, and all in the order of keys."""
    monkeypatch.setattr("lakebed.lake.entries.listing.PAGE", 3)
    monkeypatch.setattr("lakebed.lake.share.publication._CHUNK_ROWS", 7)
    kinds: list[Any] = ["é", "l" * 2000, b"", b"\xff", {"n": None}, b"l" * 2000, "", TABLE]
    values = {f"{n:03}": kinds[n // 5 % len(kinds)] for n in range(90)}
    with lakebed.open(tmp_path / "lake", inline_threshold=1000) as lake:
        for key, value in values.items():
            lake[key] = value
        lake.publish(tmp_path / "p")
    rows = read(tmp_path / "p")
    assert list(rows) == list(values)
    assert {key: value_of(row) for key, row in rows.items()} == values


def test_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are of one size, however the entries come, and say what is least only where that helps
    a reader."""
    monkeypatch.setattr("lakebed.lake.entries.listing.PAGE", 50)
    monkeypatch.setattr("lakebed.lake.share.publication._GROUP_BYTES", 40_000)
    with lakebed.open(tmp_path / "lake") as lake:
        lake.update({f"{n:04}": f"{n}" * 100 for n in range(1000)})
        lake.publish(tmp_path / "p")
    found = pq.read_metadata(tmp_path / "p" / "entries.parquet")
    sizes = [found.row_group(place).num_rows for place in range(found.num_row_groups)]
    assert sum(sizes) == 1000
    assert all(50 <= size <= 150 for size in sizes)
    columns = [found.row_group(0).column(place) for place in range(found.num_columns)]
    kept = {column.path_in_schema for column in columns if column.statistics is not None}
    assert {"key", "version", "created_at"} <= kept
    assert not {"value", "metadata", "content_hash"} & kept


def test_text_that_is_not_utf8(tmp_path: Path) -> None:
    """What another program wrote is told, and leaves what was published before."""
    data = b'"\xff"'
    with lakebed.open(tmp_path / "lake") as lake:
        lake["a"] = 1
        lake.publish(tmp_path / "p")
        lake["b"] = "b"
    with closing(sqlite3.connect(tmp_path / "lake" / "catalog.db")) as other, other:
        other.execute(
            "UPDATE object SET inline_value = ?, content_hash = ? WHERE inline_value = ?",
            (data, sha256(data).digest(), b'"b"'),
        )
    told = pytest.raises(SerializationError, match="from 'a' to 'b' to Parquet")
    with lakebed.open(tmp_path / "lake") as lake, told:
        lake.publish(tmp_path / "p")
    assert list(read(tmp_path / "p")) == ["a"]


def test_empty_lake_and_no_storage(tmp_path: Path) -> None:
    with lakebed.open(":memory:") as lake:
        report = lake.publish(tmp_path / "p")
        assert (report.entries, report.tables_uri) == (0, None)
        assert read(tmp_path / "p") == {}
        assert [path.name for path in (tmp_path / "p-tables").rglob("*.*")] == ["manifest.json"]
        lake["t"] = TABLE
        lake.publish(tmp_path / "p")
    assert value_of(read(tmp_path / "p")["t"]) == TABLE


def test_snapshot_and_the_present(lake: lakebed.Lake, tmp_path: Path) -> None:
    lake["a"], lake["t"] = 1, TABLE
    kept = lake.create_snapshot("before")
    lake["a"], lake["b"] = 2, 3
    del lake["t"]
    for snapshot in ("before", kept, kept.id):
        report = lake.publish(tmp_path / "p", snapshot=snapshot)
        assert (report.entries, report.version) == (2, kept.version)
    rows = read(tmp_path / "p")
    assert (value_of(rows["a"]), value_of(rows["t"])) == (1, TABLE)
    lake.publish(tmp_path / "p")
    assert {key: value_of(row) for key, row in read(tmp_path / "p").items()} == {"a": 2, "b": 3}
    with pytest.raises(NotFoundError, match="'other'"):
        lake.publish(tmp_path / "p", snapshot="other")
    assert [snapshot.name for snapshot in lake.snapshots()] == ["before"]


def test_one_moment(lake: lakebed.Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written while it runs is not in it."""
    lake.update({f"k{n}": n for n in range(20)})
    monkeypatch.setattr("lakebed.lake.share.publication._CHUNK_ROWS", 5)
    monkeypatch.setattr("lakebed.lake.entries.listing.PAGE", 5)

    def meddle(done: int, _total: int | None) -> None:
        lake.update({f"k{n}": -1 for n in range(20)})
        lake[f"new{done}"] = 1
        lake.collect(0)

    lake.publish(tmp_path / "p", progress=meddle)
    rows = read(tmp_path / "p")
    assert {key: value_of(row) for key, row in rows.items()} == {f"k{n}": n for n in range(20)}


def test_failure_leaves_what_was_there(lake: lakebed.Lake, tmp_path: Path) -> None:
    lake["a"], lake["t"] = 1, TABLE
    lake.publish(tmp_path / "p")
    before = {path: path.read_bytes() for path in tmp_path.rglob("p*/**/*.parquet")}
    lake["u"] = TABLE.slice(2)
    damaged = lake.store("x", "y" * 10_000).storage_uri
    assert damaged is not None
    local(damaged).write_bytes(b"y" * 10_002)
    with pytest.raises(CorruptionError, match="'x'"):
        lake.publish(tmp_path / "p")
    assert {path: path.read_bytes() for path in tmp_path.rglob("p*/**/*.parquet")} == before
    assert not lake.snapshots()
    lake["x"] = 1
    uri = lake.entry("u").storage_uri  # type: ignore[union-attr]
    assert uri is not None
    local(uri).write_bytes(b"z" * local(uri).stat().st_size)
    with pytest.raises(CorruptionError, match="'u'"):
        lake.publish(tmp_path / "p")
    local(uri).unlink()
    with pytest.raises(CorruptionError, match=r"'u'.*missing"):
        lake.publish(tmp_path / "p")
    assert {path: path.read_bytes() for path in tmp_path.rglob("p*/**/*.parquet")} == before


def test_tables_of_the_one_before_stay(lake: lakebed.Lake, tmp_path: Path) -> None:
    lake["t"] = TABLE

    def folders() -> set[str]:
        return {path.name for path in (tmp_path / "p-tables").iterdir() if any(path.iterdir())}

    names = []
    for _ in range(3):
        report = lake.publish(tmp_path / "p")
        assert report.tables_uri is not None
        names.append(local(report.tables_uri))
        assert all(name.name in folders() for name in names)
    # What is younger than a day may belong to a publication that is under way.
    for folder in names:
        for file in folder.iterdir():
            os.utime(file, (0, 0))
    last = lake.publish(tmp_path / "p").tables_uri
    assert last is not None
    assert folders() == {names[-1].name, local(last).name}


def test_killed_publication(lake: lakebed.Lake, tmp_path: Path) -> None:
    lake["a"], lake["t"] = 1, TABLE
    lake.publish(tmp_path / "p")
    lake["b"] = 2
    program = f"""
        import os, lakebed
        lake = lakebed.open({str(tmp_path / "lake")!r})
        lake.publish({str(tmp_path / "p")!r}, progress=lambda *_: os._exit(9))
    """
    ran = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=False)
    assert ran.returncode == 9
    assert list(read(tmp_path / "p")) == ["a", "t"]
    (left,) = lake.snapshots()
    assert left.name.startswith("publishing-")
    lake.publish(tmp_path / "p")
    assert list(read(tmp_path / "p")) == ["a", "b", "t"]


def test_places_that_are_refused(lake: lakebed.Lake, tmp_path: Path) -> None:
    lake["a"] = 1
    (tmp_path / "other").mkdir()
    pq.write_table(TABLE, tmp_path / "other" / "entries.parquet")
    with pytest.raises(ConflictError, match="does not belong to a publication"):
        lake.publish(tmp_path / "other")
    (tmp_path / "other" / "entries.parquet").write_text("short")
    with pytest.raises(ConflictError, match="does not belong to a publication"):
        lake.publish(tmp_path / "other")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    with pytest.raises(ConflictError, match=r"holds 'thesis.txt'"):
        lake.publish(tmp_path / "mine")
    for inside in (tmp_path, tmp_path / "lake", tmp_path / "lake" / "packs"):
        with pytest.raises(ConfigurationError, match="overlap"):
            lake.publish(inside)
    with pytest.raises(ConfigurationError, match="not a whole bucket"):
        lake.publish("gs://bucket")
    with pytest.raises(ConfigurationError, match="uri: expected a path"):
        lake.publish(3)  # type: ignore[arg-type]
    assert not lake.snapshots()


def test_memory_filesystem(lake: lakebed.Lake) -> None:
    fill(lake)
    uri = f"memory://published-{os.getpid()}/here"
    lake.publish(uri)
    lake["more"] = 1
    report = lake.publish(uri)
    assert report.uri == uri
    with lakebed.open(catalog="sqlite://", storage=f"memory://lake-{os.getpid()}") as other:
        other["a"] = "x" * 9000
        assert other.publish(f"{uri}2").entries == 1


def test_s3(s3: S3Server, tmp_path: Path) -> None:
    """To the bucket of the lake, with the lake's options, and from there to a folder."""
    bucket = s3.create_bucket()
    storage = s3.storage(f"s3://{bucket}/lake")
    with lakebed.open(catalog=f"sqlite:///{tmp_path}/c.db", storage=storage) as lake:
        fill(lake)
        for entries in (len(lake), len(lake) + 1):
            report = lake.publish(f"s3://{bucket}/out")
            assert report.entries == entries
            lake["more"] = 1
        assert lake.publish(s3.storage(f"s3://{bucket}/out")).entries == len(lake)
        del lake["more"]
        lake.publish(tmp_path / "p")
        rows = read(tmp_path / "p")
        assert {key: value_of(row) for key, row in rows.items()} == dict(lake.items())
        with pytest.raises(ConfigurationError, match="overlap"):
            lake.publish(f"s3://{bucket}/lake/out")


def test_bounded_memory(tmp_path: Path, soak: bool, record_property: Any) -> None:
    """Half a gigabyte of values (under soak two) passes through far less."""
    megabytes = 2000 if soak else 500
    program = f"""
        import os, resource, lakebed, pyarrow, pyarrow.parquet
        lake = lakebed.open({str(tmp_path / "lake")!r})
        value = os.urandom(1 << 20)
        lake.store_batch(
            ({{"key": f"{{n:05}}", "value": n.to_bytes(4) + value}} for n in range({megabytes})),
            atomic=False,
        )
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        lake.publish({str(tmp_path / "p")!r})
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    """
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], check=True, capture_output=True, text=True
    )
    grown = int(ran.stdout) // 1024
    record_property(
        f"memory that publishing {megabytes} MB of values took beyond storing, MiB", grown
    )
    assert grown < 300
