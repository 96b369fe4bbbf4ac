"""Tables in a lake: stored, read back, shared, streamed, and nothing left behind by failures."""

from __future__ import annotations

import errno
import gc
import io
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lakebed
from lakebed.errors import (
    CorruptionError,
    NotFoundError,
    SerializationError,
    StorageError,
    ValidationError,
)
from lakebed.lake.base import MAX_INLINE_BYTES
from lakebed.objects.local import LocalStore
from tests.lake.entries.objects import files
from tests.values.table_strategies import tables

SMALL = pa.table({"a": [1, 2], "b": ["x", None]})


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[lakebed.Lake]:
    with lakebed.open(tmp_path / "lake") as opened:
        yield opened


@pytest.fixture(scope="module")
def large() -> pa.Table:
    """A table whose file goes to the disk before it goes to the storage."""
    return pa.table({"n": np.random.default_rng(1).integers(0, 2**62, 700_000)})


@pytest.fixture(autouse=True)
def _closes_its_files() -> Iterator[None]:
    """No temporary file is open after a test."""
    before = open_temporaries()
    yield
    gc.collect()
    assert open_temporaries() == before


def open_temporaries() -> list[str]:
    """The nameless files that this process holds open, as far as the system tells."""
    shown = subprocess.run(
        ["ls", "-l", f"/proc/{os.getpid()}/fd"], text=True, capture_output=True, check=False
    )
    return sorted(line.split(" -> ")[1] for line in shown.stdout.splitlines() if "/#" in line)


def stream(table: pa.Table) -> pa.RecordBatchReader:
    return table.to_reader(max_chunksize=10_000)


def failing_stream(table: pa.Table, error: Exception) -> pa.RecordBatchReader:
    def batches() -> Iterator[pa.RecordBatch]:
        yield from table.to_batches()
        raise error

    return pa.RecordBatchReader.from_batches(table.schema, batches())


def test_store_and_retrieve(lake: lakebed.Lake) -> None:
    entry = lake.store("t", SMALL, {"kind": "table"})
    assert (entry.format, entry.inlined, entry.created) == ("parquet", False, True)
    assert entry.storage_uri is not None
    assert entry.storage_uri.endswith(".parquet")
    assert lake.retrieve("t").equals(SMALL)
    assert entry.value.equals(SMALL)
    assert lake["t"].equals(SMALL)
    assert lake.retrieve_batch(["t"])["t"].equals(SMALL)
    (listed,) = lake.list()
    assert listed.value.equals(SMALL)
    assert listed.metadata == {"kind": "table"}


def test_mapping_takes_frames_of_any_library(lake: lakebed.Lake) -> None:
    frame = SMALL.to_pandas()
    lake["pandas"] = frame
    lake["polars"] = pl.from_arrow(SMALL)
    lake.update(lazy=pl.LazyFrame({"a": [1, 2]}), query=duckdb.sql("SELECT 42 AS n"))
    pd.testing.assert_frame_equal(lake.retrieve("pandas", as_="pandas"), frame)
    assert lake.retrieve("polars", as_="polars").equals(pl.from_arrow(SMALL))
    assert lake["lazy"].to_pydict() == {"a": [1, 2]}
    assert lake["query"].to_pydict() == {"n": [42]}
    assert lake.setdefault("pandas", SMALL).num_rows == 2
    assert lake.setdefault("new", SMALL).equals(SMALL)


def test_as_another_library(lake: lakebed.Lake) -> None:
    lake["t"], lake["json"] = SMALL, {"a": 1}
    assert isinstance(lake.retrieve("t", as_="pandas"), pd.DataFrame)
    assert isinstance(lake.retrieve("t", as_="polars"), pl.DataFrame)
    with pytest.raises(ValidationError, match=r"as_ must be 'pandas' or 'polars', got 'spark'"):
        lake.retrieve("t", as_="spark")  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match=r"as_='pandas' requires a table.*type dict"):
        lake.retrieve("json", as_="pandas")
    with pytest.raises(NotFoundError):
        lake.retrieve("absent", as_="pandas")
    assert lake.retrieve("absent", None, as_="pandas") is None
    with pytest.raises(ValidationError, match=r"as_ must be .*got 1"):
        lake.retrieve("absent", None, as_=1)  # type: ignore[arg-type]


def test_same_table_is_stored_once(lake: lakebed.Lake, large: pa.Table, tmp_path: Path) -> None:
    for table in (SMALL, large):
        first = lake.store("one", table)
        assert first.changed
        assert not lake.store("one", table).changed
        again = lake.store("two", stream(table))
        assert again.deduplicated
        assert again.content_hash == first.content_hash
        lake.store_batch([{"key": "three", "value": stream(table)}])
        assert lake.entry("three").storage_uri == first.storage_uri  # type: ignore[union-attr]
    assert len(files(tmp_path / "lake")) == 2


def test_files_are_plain_parquet(lake: lakebed.Lake, large: pa.Table) -> None:
    uri = lake.store("t", large).storage_uri
    assert uri is not None
    assert duckdb.read_parquet(uri).max("n").fetchall() == [(max(large["n"].to_pylist()),)]


def test_never_inline_where_there_is_a_storage(tmp_path: Path) -> None:
    with lakebed.open(tmp_path / "lake", inline_threshold=1 << 20) as lake:
        assert lake.store("json", "x" * 1000).inlined
        assert not lake.store("t", SMALL).inlined
        report = lake.store_batch([{"key": "b", "value": SMALL.slice(1)}])
        assert report.stored == 1
        assert not lake.entry("b").inlined  # type: ignore[union-attr]


def test_without_storage(large: pa.Table) -> None:
    with lakebed.open(":memory:") as lake:
        for table in (SMALL, large):
            assert lake.store("t", stream(table)).inlined
            assert lake["t"].equals(table)
            lake.store_batch([{"key": "b", "value": stream(table)}])
            assert lake["b"].equals(table)
        rows = MAX_INLINE_BYTES // 1000 + 1000
        noise = np.random.default_rng(1)
        batches = (
            pa.record_batch({"b": pa.array([noise.bytes(1000) for _ in range(1000)])})
            for _ in range(rows // 1000 + 1)
        )
        too_large = pa.RecordBatchReader.from_batches(pa.schema({"b": pa.binary()}), batches)
        with pytest.raises(SerializationError, match=f"keeps at most {MAX_INLINE_BYTES}"):
            lake.store("t", too_large)
        assert lake["t"].equals(large)


def test_on_another_filesystem(large: pa.Table) -> None:
    name = f"memory://tables-{os.getpid()}"
    with lakebed.open(catalog="sqlite://", storage=name) as lake:
        for table in (SMALL, large):
            lake["t"] = stream(table)
            assert lake["t"].equals(table)


@given(table=tables(), through=st.sampled_from(["store", "batch", "transaction"]))
def test_any_table_through_any_door(table: pa.Table, through: str) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        lakebed.open(folder) as lake,
    ):
        if through == "store":
            lake.store("t", table)
        elif through == "batch":
            lake.store_batch([{"key": "j", "value": 1}, {"key": "t", "value": table}])
        else:
            with lake.transaction() as tx:
                tx.store("t", table)
        assert lake["t"].to_pylist() == table.to_pylist()
        assert lake["t"].schema == table.schema


# --- batches -------------------------------------------------------------------------------------


def test_batch_of_tables_and_others(lake: lakebed.Lake, large: pa.Table) -> None:
    values = {
        "large": large,
        "json": {"a": 1},
        "long": "x" * 10_000,
        "small": SMALL,
        "b": b"y" * 9000,
    }
    report = lake.store_batch({"key": key, "value": value} for key, value in values.items())
    assert (report.stored, report.created) == (5, 5)
    found = lake.retrieve_batch(values)
    assert {key: found[key] for key in ("json", "long", "b")} == {
        key: values[key] for key in ("json", "long", "b")
    }
    assert found["large"].equals(large)
    assert found["small"].equals(SMALL)
    packed = {entry.key for entry in lake.list() if "#" in (entry.storage_uri or "")}
    assert packed == {"long", "b"}


def test_refused_table_in_a_batch(lake: lakebed.Lake, large: pa.Table) -> None:
    bad = pa.table([[1], [2]], names=["x", "x"])
    entries = [{"key": "good", "value": large}, {"key": "bad", "value": bad}]
    with pytest.raises(SerializationError, match="'x' occurs twice") as caught:
        lake.store_batch(entries)
    assert list(caught.value.errors) == ["bad"]
    assert list(lake) == []
    report = lake.store_batch(entries, atomic=False)
    assert (report.stored, list(report.errors)) == (1, ["bad"])
    assert lake["good"].equals(large)


def test_stream_that_fails_in_a_batch(lake: lakebed.Lake, large: pa.Table) -> None:
    entries = [
        {"key": "a", "value": large},
        {"key": "b", "value": failing_stream(large, KeyError("mine"))},
    ]
    with pytest.raises(KeyError, match="mine"):
        lake.store_batch(entries)
    assert list(lake) == []


# --- transactions --------------------------------------------------------------------------------


@pytest.mark.parametrize("size", ["small", "large"])
def test_transaction_reads_its_own_tables(lake: lakebed.Lake, large: pa.Table, size: str) -> None:
    table = SMALL if size == "small" else large
    with lake.transaction() as tx:
        tx.store("a", stream(table))
        tx.store("b", stream(table))
        tx.store("gone", SMALL)
        tx.delete("gone")
        assert tx.retrieve("a").equals(table)
        assert isinstance(tx.retrieve("b", as_="polars"), pl.DataFrame)
        with pytest.raises(ValidationError, match="'spark'"):
            tx.retrieve("b", as_="spark")  # type: ignore[arg-type]
        assert "a" not in lake
    assert lake["a"].equals(table)
    assert lake["b"].equals(table)
    assert "gone" not in lake
    with lake.transaction() as tx:
        assert isinstance(tx.retrieve("a", as_="pandas"), pd.DataFrame)


def test_transaction_that_is_given_up(lake: lakebed.Lake, large: pa.Table, tmp_path: Path) -> None:
    tx = lake.transaction()
    tx.store("a", large)
    assert tx.rollback() == 1
    assert list(lake) == files(tmp_path / "lake") == []


# --- failures ------------------------------------------------------------------------------------


def test_refused_table_leaves_the_value(lake: lakebed.Lake, tmp_path: Path) -> None:
    lake["t"] = SMALL
    for bad in (pd.DataFrame({"x": [1, "a"]}), failing_stream(SMALL, ValueError("mine"))):
        with pytest.raises(ValueError, match=r"'x' cannot be stored|mine"):
            lake["t"] = bad
    with pytest.raises(ValidationError, match="ttl"):
        lake.store("t", SMALL.slice(1), ttl=-1)
    assert lake["t"].equals(SMALL)
    assert len(files(tmp_path / "lake")) == 1


def test_stream_that_fails_late(lake: lakebed.Lake, large: pa.Table, tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="mine"):
        lake["t"] = failing_stream(large, KeyError("mine"))
    assert list(lake) == files(tmp_path / "lake") == []


class _FullDisk(io.RawIOBase):
    """Passes two mebibytes on and fails then."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._left = 2 << 20

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self._left -= len(data)
        if self._left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self._file.write(data)


class FullStore(LocalStore):
    """A disk that has no room for a large file."""

    @contextmanager
    def open_write(self, path: str) -> Iterator[IO[bytes]]:  # type: ignore[override]
        with super().open_write(path) as file:
            yield _FullDisk(file)


def test_upload_that_fails(lake: lakebed.Lake, large: pa.Table, tmp_path: Path) -> None:
    lake["t"] = SMALL
    lake._objects = FullStore(tmp_path / "lake")
    with pytest.raises(StorageError, match="disk is full"):
        lake.store("t", large)
    with pytest.raises(StorageError, match="disk is full"):
        lake.store_batch([{"key": "t", "value": large}])
    assert lake["t"].equals(SMALL)
    assert len(files(tmp_path / "lake")) == 1


def test_damaged_file(lake: lakebed.Lake, tmp_path: Path) -> None:
    lake["t"] = SMALL
    (path,) = files(tmp_path / "lake")
    data = bytearray(path.read_bytes())
    data[20] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorruptionError, match=r"'t'.*another hash"):
        lake.retrieve("t", as_="pandas")
