"""`free`: a lake on a full disk, where SQLite can write nothing, gets room again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import lakebed
from lakebed.cli.app import app
from lakebed.errors import ConfigurationError, LockTimeoutError, StorageError
from lakebed.lake.freeing import free
from tests.disks import ROOT


def fill_up(disk: Path) -> None:
    """Leave no byte."""
    with (disk / "filler").open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    assert os.statvfs(disk).f_bavail == 0


KEYS = [f"{part}/{n}" for part in "ab" for n in range(3)]


@pytest.fixture(params=[True, False], ids=["inline", "objects"])
def full(request: pytest.FixtureRequest, small_disk: Path) -> tuple[Path, dict[str, str]]:
    """A lake whose disk is full, and its values; `a/0` is seen by a snapshot."""
    subprocess.run(["mount", "-o", "remount,size=2m", small_disk], check=True)
    values = {key: key * 30_000 for key in KEYS}
    with lakebed.open(small_disk / "lake", inline_threshold=10**9 * request.param) as lake:
        lake["a/0"] = values["a/0"]
        lake.create_snapshot("s")
        lake.update(values)
    fill_up(small_disk)
    return small_disk, values


CALLS: dict[str, Callable[[lakebed.Lake], object]] = {
    "delete": lambda lake: lake.delete("b/0"),
    "collect": lambda lake: lake.collect(grace=0),
    "purge": lambda lake: lake.purge("b/1"),
    "store": lambda lake: lake.store("new", 1),
    "maintain": lambda lake: lake.maintain(),
}


@ROOT
@pytest.mark.parametrize("call", CALLS)
def test_free_lets_a_full_lake_be_written(
    full: tuple[Path, dict[str, str]], call: str, tmp_path: Path
) -> None:
    disk, values = full
    with pytest.raises(StorageError, match="lakebed free"):
        CALLS[call](lakebed.open(disk / "lake"))
    with lakebed.open(disk / "lake", read_only=True) as lake:
        assert dict(lake) == values
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    report = free(disk / "lake", delete="a/", scratch=scratch)
    assert report.entries == 3
    assert report.catalog_bytes + report.file_bytes >= 170_000
    assert not list(scratch.iterdir())
    with lakebed.open(disk / "lake") as lake:
        assert dict(lake) == {key: value for key, value in values.items() if key[0] == "b"}
        assert lake.at("s")["a/0"] == values["a/0"]
        CALLS[call](lake)
        assert not lake.verify().problems


@ROOT
def test_free_purges(full: tuple[Path, dict[str, str]]) -> None:
    disk, values = full
    free(disk / "lake", purge="a/0")
    with lakebed.open(disk / "lake") as lake:
        assert sorted(lake) == KEYS[1:]
        assert not list(lake.at("s"))
        assert {key: lake[key] for key in KEYS[1:]} == {key: values[key] for key in KEYS[1:]}
        assert not lake.verify().problems


@ROOT
def test_free_collects_garbage(small_disk: Path) -> None:
    with lakebed.open(small_disk / "lake") as lake:
        lake["kept"] = "k" * 50_000
        for n in range(4):
            lake["replaced"] = f"{n}" * 50_000
    fill_up(small_disk)
    report = free(small_disk / "lake")
    assert (report.entries, report.files) == (0, 3)
    with lakebed.open(small_disk / "lake") as lake:
        assert dict(lake) == {"kept": "k" * 50_000, "replaced": "3" * 50_000}
        assert lake.collect(grace=0).files == 0


@ROOT
def test_free_with_a_log(small_disk: Path) -> None:
    """What a killed writer committed and did not write back is not lost."""
    program = """
import lakebed, os, sys
lake = lakebed.open(sys.argv[1], inline_threshold=10**9)
lake.update({f"{n}": f"{n}" * 50_000 for n in range(5)})
os._exit(9)
"""
    subprocess.run([sys.executable, "-c", program, small_disk / "lake"], check=False)
    assert (small_disk / "lake" / "catalog.db-wal").stat().st_size
    fill_up(small_disk)
    free(small_disk / "lake", delete="0")
    with lakebed.open(small_disk / "lake") as lake:
        assert dict(lake) == {f"{n}": f"{n}" * 50_000 for n in range(1, 5)}


@ROOT
def test_free_that_cannot(full: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    """With nothing to remove, with somebody in the lake, without room for a copy: all is kept."""
    disk, values = full
    before = (disk / "lake" / "catalog.db").read_bytes()
    with pytest.raises(StorageError, match=r"scratch"):
        free(disk / "lake", scratch=disk)
    with lakebed.open(disk / "lake", read_only=True) as lake:
        assert dict(lake) == values
        assert (disk / "lake" / "catalog.db").read_bytes() == before
    (disk / "filler").unlink()
    with lakebed.open(disk / "lake") as lake:
        lake["late"] = 1
        with pytest.raises(LockTimeoutError, match="open"):
            free(disk / "lake", scratch=tmp_path, delete="")
    with lakebed.open(disk / "lake") as lake:
        assert dict(lake) == values | {"late": 1}
    with pytest.raises(ConfigurationError, match="not a lake"):
        free(disk / "none")


@ROOT
def test_free_interrupted_while_it_writes_back(
    full: tuple[Path, dict[str, str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The copy that the error names is the whole catalog."""
    disk, values = full

    def fail(*_: object) -> int:
        raise OSError("the disk went away")

    with monkeypatch.context() as patched:
        patched.setattr("lakebed.lake.freeing.os.pwrite", fail)
        with pytest.raises(StorageError, match="is whole") as caught:
            free(disk / "lake", delete="a/", scratch=tmp_path)
    (copy,) = tmp_path.glob("lakebed-free-*/*-small")
    assert str(copy) in str(caught.value)
    (disk / "filler").unlink()
    shutil.copyfile(copy, disk / "lake" / "catalog.db")
    with lakebed.open(disk / "lake") as lake:
        assert dict(lake) == {key: value for key, value in values.items() if key[0] == "b"}
        assert not lake.verify().problems


@ROOT
def test_free_on_the_command_line(full: tuple[Path, dict[str, str]]) -> None:
    disk, _ = full

    def run(*arguments: str) -> Any:
        given = ["--lake", str(disk / "lake"), *arguments]
        return CliRunner().invoke(app, given, prog_name="lakebed", catch_exceptions=False)

    assert run("rm", "b/0").exit_code == 2
    assert json.loads(run("free", "--purge", "a/", "--yes", "--json").stdout)["entries"] == 3
    assert run("rm", "b/0").exit_code == 0
    assert run("purge", "b/1", "--yes").exit_code == 0
    assert run("collect", "--grace", "0", "--yes").exit_code == 0
