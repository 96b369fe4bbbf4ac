"""Copies from and to a folder of JSON files: no key leads out of it, and nothing is lost."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lakebed
from lakebed.errors import ConflictError, CorruptionError, StorageError, ValidationError
from lakebed.moving import json_folder
from lakebed.moving.json_folder import JSONFolder, file_name
from tests.moving.conftest import FEW, expiries, keys, metadata, times, told, values


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
        report = lakebed.copy(lake, f"json:///{folder}/out/in")
        assert (report.copied, report.differing, report.notes) == (len(entries), [], [])
        assert [path.name for path in Path(folder).iterdir()] == ["out"]
        files = sorted(path.name for path in Path(folder, "out", "in").iterdir())
        assert files == sorted(map(file_name, entries))
        assert len({name.casefold() for name in files}) == len(entries)
        assert lakebed.copy(f"json:///{folder}/out/in", again).differing == []
        assert told(again) == told(lake)
        assert times(again) == times(lake)
        assert lakebed.copy(lake, f"json:///{folder}/out/in").unchanged == len(entries)


def test_tables_and_bytes(tmp_path: Path) -> None:
    with lakebed.open(tmp_path / "lake") as lake, lakebed.open(tmp_path / "again") as again:
        lake["t"] = pa.table({"n": [1, 2]})
        lake["b"] = b"\0\xff"
        lakebed.copy(lake, f"json:///{tmp_path}/out")
        lakebed.copy(f"json:///{tmp_path}/out", again)
        assert again["t"].to_pylist() == [{"n": 1}, {"n": 2}]
        assert again["b"] == b"\0\xff"
        hashes = [(entry.key, entry.content_hash) for entry in lake.list()]
        assert [(entry.key, entry.content_hash) for entry in again.list()] == hashes


def test_a_table_that_grew_is_one_table_there(tmp_path: Path) -> None:
    with lakebed.open(tmp_path / "lake") as lake, lakebed.open(tmp_path / "again") as again:
        for n in range(3):
            lake.append("t", pa.table({"n": [n]}))
        assert lakebed.copy(lake, f"json:///{tmp_path}/out").differing == []
        assert lakebed.copy(lake, f"json:///{tmp_path}/out").unchanged == 1
        lakebed.copy(f"json:///{tmp_path}/out", again)
        assert again["t"].to_pylist() == [{"n": 0}, {"n": 1}, {"n": 2}]


def test_a_copy_that_was_killed_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text, written = json_folder._text, 0

    def failing(item: Any) -> bytes:
        nonlocal written
        written += 1
        if written == 8:
            raise KeyboardInterrupt
        return text(item)

    with lakebed.open(tmp_path / "lake") as lake:
        lake.store_batch({"key": f"k{n}", "value": n} for n in range(20))
        monkeypatch.setattr(json_folder, "_text", failing)
        with pytest.raises(KeyboardInterrupt):
            lakebed.copy(lake, f"json:///{tmp_path}/out")
        report = lakebed.copy(lake, f"json:///{tmp_path}/out")
        assert (report.copied, report.unchanged, report.differing) == (13, 7, [])
        assert len(list((tmp_path / "out").iterdir())) == 20
        assert [made.name for made in lake.snapshots()] == []


def test_conflicts(tmp_path: Path) -> None:
    out = f"json:///{tmp_path}/out"
    with lakebed.open(":memory:") as lake:
        lake["a"], lake["b"] = 1, 1
        lakebed.copy(lake, out)
        lake["a"], lake["c"] = 2, 2
        with pytest.raises(ConflictError, match="'a'"):
            lakebed.copy(lake, out)
        assert not (tmp_path / "out" / file_name("c")).exists()
        skipped = lakebed.copy(lake, out, on_conflict="skip")
        assert (skipped.copied, skipped.skipped, skipped.unchanged) == (1, 1, 1)
        assert skipped.differing == []
        assert lakebed.copy(lake, out, on_conflict="replace").replaced == 1
        assert lakebed.copy(lake, out, "b").entries == 1
        with lakebed.open(":memory:") as again:
            lakebed.copy(out, again)
            assert dict(again) == {"a": 2, "b": 1, "c": 2}
            again["a"] = 3
            with pytest.raises(ConflictError, match="'a'"):
                lakebed.copy(out, again)


def test_files_that_somebody_wrote(tmp_path: Path) -> None:
    """They need a key and a value; what is no such file is named, before anything is written."""
    source = tmp_path / "notes"
    source.mkdir()
    (source / "one.json").write_text('{"key": "a", "value": {"n": 1.0}, "metadata": {"by": "ada"}}')
    (source / "README.md").write_text("not looked at")
    with lakebed.open(":memory:") as lake:
        assert lakebed.copy(f"json:///{source}", lake).copied == 1
        assert lake.entry("a").metadata == {"by": "ada"}  # type: ignore[union-attr]
        with pytest.raises(ValidationError, match="which was not written by a copy"):
            lakebed.copy(lake, f"json:///{source}")
    for text, words in (
        ('{"value": 1}', "two.json: must be an object with key"),
        ('{"key": "b", "value": 1, "ttl": 3}', "two.json: unknown member 'ttl'"),
        ('{"key": "b", "value": 1, "expires_at": "soon"}', "two.json"),
        ('{"key": "", "value": 1}', "two.json: key must not be empty"),
        ('{"key": 1, "value": 1}', "two.json: key must be a string, got int"),
        ('{"key": "b", "format": "pickle", "base64": ""}', "two.json"),
        ('{"key": "a", "value": 1}', "two.json and one.json have the same key"),
        ("{", "two.json"),
    ):
        (source / "two.json").write_text(text)
        with lakebed.open(":memory:") as lake, pytest.raises(ValidationError, match=words):
            lakebed.copy(f"json:///{source}", lake)


def test_a_file_of_another_key(tmp_path: Path) -> None:
    with lakebed.open(":memory:") as lake:
        lake["a"] = 1
        lakebed.copy(lake, f"json:///{tmp_path}/out")
        file = tmp_path / "out" / file_name("a")
        shutil.move(file, tmp_path / "out" / file_name("b"))
        lake["b"] = 1
        with pytest.raises(CorruptionError, match="is the file of 'b', but its key is 'a'"):
            lakebed.copy(lake, f"json:///{tmp_path}/out")


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with lakebed.open(":memory:") as lake, pytest.raises(StorageError, match="cannot read"):
        lakebed.copy(f"json:///{tmp_path}/missing", lake)
    (tmp_path / "file").write_text("")
    with lakebed.open(":memory:") as lake, pytest.raises(StorageError, match="cannot make"):
        lakebed.copy(lake, f"json:///{tmp_path}/file")


def test_what_a_file_looks_like(tmp_path: Path) -> None:
    with lakebed.open(":memory:") as lake:
        lake.store("user/42", {"b": 1, "a": "é"}, {"by": "ada"}, ttl=3600)
        lakebed.copy(lake, f"json:///{tmp_path}/out")
    (file,) = (tmp_path / "out").iterdir()
    assert file.name.startswith("user-42.")
    found = json.loads(file.read_text("utf-8"))
    assert found["key"] == "user/42"
    assert found["value"] == {"a": "é", "b": 1}
    assert found["metadata"] == {"by": "ada"}
    assert found["expires_at"].endswith("+00:00")
    assert [item.key for item in JSONFolder(str(tmp_path / "out")).items("user/")] == ["user/42"]
