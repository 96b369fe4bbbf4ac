"""Copies from and to caches of diskcache's."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from diskcache import Cache
from hypothesis import given
from hypothesis import strategies as st

import lakebed
from lakebed.errors import StorageError, ValidationError
from tests.moving.conftest import FEW, SOON, expiries, keys, metadata, told, values


@FEW
@given(
    st.dictionaries(
        keys, st.tuples(values | st.binary(max_size=30), metadata, expiries), max_size=8
    )
)
def test_there_and_back(entries: dict[str, Any]) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        lakebed.open(":memory:") as lake,
        lakebed.open(":memory:") as again,
    ):
        for key, (value, found, expires_at) in entries.items():
            lake.store(key, value, found, expires_at=expires_at)
        cache = f"diskcache:///{folder}/cache"
        report = lakebed.copy(lake, cache)
        assert (report.copied, report.differing) == (len(entries), [])
        assert "does not keep when entries were created" in report.notes[0]
        with closing(Cache(f"{folder}/cache")) as held:
            assert {key: repr(held[key]) for key in held} == {
                key: repr(lake[key]) for key in entries
            }
        assert lakebed.copy(lake, cache).unchanged == len(entries)
        assert lakebed.copy(cache, again).differing == []
        before, after = told(lake), told(again)
        assert before.keys() == after.keys()
        for key, (*rest, expires_at) in before.items():
            *same, moment = after[key]
            assert same == rest
            if expires_at is None:
                assert moment is None
            else:
                assert abs(moment - expires_at) < timedelta(seconds=1)


def test_what_programs_have_cached(tmp_path: Path) -> None:
    with closing(Cache(tmp_path / "cache")) as cache:
        cache.set("a", {"n": [1, None]}, expire=3600, tag="facts")
        cache.set("b", b"x" * 100_000)
        cache.set("gone", 1, expire=0.001)
    with lakebed.open(":memory:") as lake:
        assert lakebed.copy(f"diskcache:///{tmp_path}/cache", lake).differing == []
        assert lake["a"] == {"n": [1, None]}
        entry = lake.entry("a")
        assert entry is not None
        assert entry.metadata == {"tag": "facts"}
        assert entry.expires_at is not None
        assert lake["b"] == b"x" * 100_000
        assert "gone" not in lake


class Bomb:
    """A value whose pickle runs a command when it is read."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.file),)


@pytest.mark.parametrize("size", [0, 100_000])  # in the database, and in a file
def test_no_code_in_a_cache_runs(tmp_path: Path, size: int) -> None:
    with closing(Cache(tmp_path / "cache")) as cache:
        cache["a"] = 1
        cache["bomb"] = [Bomb(tmp_path / "ran"), "x" * size]
    with lakebed.open(":memory:") as lake:
        with pytest.raises(ValidationError, match=r"'bomb' is a posix.mkdir: only plain values"):
            lakebed.copy(f"diskcache:///{tmp_path}/cache", lake)
        assert len(lake) == 0
    assert not (tmp_path / "ran").exists()
    with closing(Cache(tmp_path / "keys")) as cache:
        cache[Bomb(tmp_path / "ran")] = 1
    with lakebed.open(":memory:") as lake, pytest.raises(ValidationError, match="only plain"):
        lakebed.copy(f"diskcache:///{tmp_path}/keys", lake)
    assert not (tmp_path / "ran").exists()


def test_no_file_outside_of_a_cache_is_read(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s3cret")
    with closing(Cache(tmp_path / "cache")) as cache:
        cache["a"] = "x" * 100_000
    with closing(sqlite3.connect(tmp_path / "cache" / "cache.db", isolation_level=None)) as base:
        base.execute("UPDATE Cache SET filename = '../secret'")
    with (
        lakebed.open(":memory:") as lake,
        pytest.raises(ValidationError, match="'a' is in a file outside"),
    ):
        lakebed.copy(f"diskcache:///{tmp_path}/cache", lake)


def test_what_it_cannot_hold(tmp_path: Path) -> None:
    cache = f"diskcache:///{tmp_path}/cache"
    with lakebed.open(":memory:") as lake:
        lake["t"] = pa.table({"n": [1]})
        lake["lines"] = "a\r\n" * 50_000
        lake["fine"] = 1
        with pytest.raises(ValidationError, match="cannot hold 2 of 3 entries") as caught:
            lakebed.copy(lake, cache)
        assert "'t' is a table" in str(caught.value)
        assert "'lines' is a long text with carriage returns" in str(caught.value)
        with closing(Cache(tmp_path / "cache")) as held:
            assert len(held) == 0
        with pytest.raises(ValidationError, match="only between lakes"):
            lakebed.copy(lake, cache, snapshots=True)
        lake.store("soon", 1, expires_at=SOON)
        with pytest.raises(ValidationError, match="following needs two lakes"):
            lakebed.follow(lake, cache)


def test_keys_that_are_no_text(tmp_path: Path) -> None:
    with closing(Cache(tmp_path / "cache")) as cache:
        cache[7] = 1
    with lakebed.open(":memory:") as lake, pytest.raises(ValidationError, match="string, got 7"):
        lakebed.copy(f"diskcache:///{tmp_path}/cache", lake)
    with lakebed.open(":memory:") as lake, pytest.raises(StorageError, match="no cache"):
        lakebed.copy(f"diskcache:///{tmp_path}/missing", lake)
    assert not (tmp_path / "missing").exists()
