"""A copied catalog cannot delete what its original needs, until somebody declares which goes on."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import lakebed
from lakebed.catalog.opened import CatalogOptions
from lakebed.catalog.sqlite.opening import open_sqlite
from lakebed.cli.app import app
from lakebed.errors import ConfigurationError, LakebedError, ReadOnlyError
from lakebed.lake import ownership
from lakebed.lake.lake import Lake
from lakebed.lake.opening import assemble
from lakebed.objects.names import temporary_path
from lakebed.objects.opening import open_store
from lakebed.testing import FakeClock
from tests.lake.contents_of_each_kind import LARGE, fill
from tests.waiting import LONG, PATIENCE, in_time

HOUR = 3600.0  # seconds


def open_at(path: Path, files: Path, clock: FakeClock) -> Lake:
    opened = open_sqlite(path, CatalogOptions(clock=clock))
    return assemble(opened, open_store(str(files)), str(files))


def test_a_file_that_moves_stays_the_owner(tmp_path: Path) -> None:
    clock = FakeClock()
    with open_at(tmp_path / "a.db", tmp_path / "files", clock) as lake:
        fill(lake)
        lake.collect(grace=0)
    (tmp_path / "a.db").rename(tmp_path / "b.db")
    with open_at(tmp_path / "b.db", tmp_path / "files", clock) as lake:
        lake.delete("dropped")
        assert lake.collect(grace=0).files == 1


def test_a_file_restored_in_its_place_waits_with_deletions(tmp_path: Path) -> None:
    clock = FakeClock()
    path, files = tmp_path / "a.db", tmp_path / "files"
    with open_at(path, files, clock) as lake:
        fill(lake)
        lake.collect(grace=0)
    shutil.copy(path, tmp_path / "backup")
    (tmp_path / "backup").rename(path)
    with open_at(path, files, clock) as lake:
        lake.delete("dropped")
        with pytest.raises(ReadOnlyError, match="deletes nothing"):
            lake.collect(grace=0)
        clock.advance(47 * HOUR)
        with pytest.raises(ReadOnlyError, match="deletes nothing"):
            lake.purge("kept")
        clock.advance(HOUR)
        assert lake.collect(grace=0).files == 1
        assert lake.collect(grace=0).files == 0


def test_an_older_backup_in_its_place_is_no_owner(tmp_path: Path) -> None:
    """Collections have deleted since what it may name."""
    clock = FakeClock()
    path, files = tmp_path / "a.db", tmp_path / "files"
    with open_at(path, files, clock) as lake:
        fill(lake)
    backup = path.read_bytes()
    with open_at(path, files, clock) as lake:
        clock.advance(HOUR)
        lake.collect(grace=0)
    path.write_bytes(backup)  # the same file
    with open_at(path, files, clock) as lake:
        assert not lake.read_only
        with pytest.raises(ReadOnlyError, match="the owner is now"):
            lake["new"] = 1
        lake.adopt()
        lake["new"] = 1
        lake.collect(grace=0)


def test_clients_of_one_catalog_renew_side_by_side(tmp_path: Path) -> None:
    clock = FakeClock()
    with (
        open_at(tmp_path / "a.db", tmp_path / "files", clock) as one,
        open_at(tmp_path / "a.db", tmp_path / "files", clock) as other,
    ):
        for n in range(40):
            clock.advance(HOUR)
            (one if n % 2 else other).collect(grace=0)
            one[f"{n}"] = other[f"other {n}"] = LARGE
        assert not one.read_only
        assert not other.read_only


@pytest.mark.parametrize("separate", [False, True])
def test_clients_of_a_shared_log_are_no_copies(tmp_path: Path, separate: bool) -> None:
    """Each has a file of its own, on whichever machine, and all are the one catalog."""
    where: dict[str, Any] = {"catalog": {"type": "bucket"}, "storage": str(tmp_path / "lake")}
    if separate:
        where["catalog"] = {"type": "bucket", "uri": str(tmp_path / "names")}
    with (
        lakebed.open(**where, cache=tmp_path / "one") as one,
        lakebed.open(**where, cache=tmp_path / "two") as two,
    ):
        one["a"] = LARGE
        two["b"] = LARGE + "b"
        two["a"] = 1
        one.collect(grace=0, orphan_grace=0)
        two.maintain()
        assert dict(one.items()) == {"a": 1, "b": LARGE + "b"}
        assert one.verify().problems == two.verify().problems == []


def test_an_old_lake_gets_its_mark_by_upkeep(tmp_path: Path) -> None:
    clock = FakeClock()
    path, files = tmp_path / "a.db", tmp_path / "files"
    with open_at(path, files, clock) as lake:
        fill(lake)
        forget(lake, files)
    with open_at(path, files, clock) as lake:
        lake["new"] = LARGE
        assert not (files / ownership.FOLDER).exists()
        lake.maintain()
        assert len(list((files / ownership.FOLDER).iterdir())) == 1
    shutil.copy(path, tmp_path / "b.db")
    with open_at(tmp_path / "b.db", files, clock) as copy:
        assert copy.read_only


def forget(lake: Lake, files: Path) -> None:
    """Make a lake one that an earlier release has made."""
    executor = lake._catalog._executor  # type: ignore[attr-defined]
    sql = "DELETE FROM lakebed_meta WHERE name = :name"
    executor.transact(lambda tx: tx.run(sql, {"name": ownership.SETTING}))
    shutil.rmtree(files / ownership.FOLDER)


def test_two_lakes_under_one_root_leave_each_other_alone(tmp_path: Path) -> None:
    clock = FakeClock()
    files = tmp_path / "files"
    with (
        open_at(tmp_path / "a.db", files, clock) as one,
        open_at(tmp_path / "b.db", files, clock) as other,
    ):
        fill(one)
        fill(other)
        for path in files.rglob("*.*"):
            os.utime(path, (0, 0))
        clock.advance(1000 * HOUR)
        for lake in (one, other):
            assert lake.maintain().collected.orphans is None
            with pytest.raises(ConfigurationError, match="1 other lakes keep objects"):
                lake.collect(orphans=True, orphan_grace=0)
        for lake in (one, other):
            assert lake["kept"] == LARGE + "kept"
            assert not lake.verify().problems


def test_a_mark_that_is_being_written_is_no_other_lake(tmp_path: Path) -> None:
    files = tmp_path / "files"
    with lakebed.open(catalog=f"sqlite:///{tmp_path}/a.db", storage=files) as lake:
        fill(lake)
        (mark,) = (files / ownership.FOLDER).iterdir()
        (files / temporary_path(f"{ownership.FOLDER}/{mark.name}")).write_bytes(b"{")
        assert lake.collect(orphans=True, orphan_grace=0).orphans is not None


def test_a_storage_that_does_not_answer_keeps_no_small_value_waiting(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/a.db"
    dead = {"uri": "s3://b/x", "endpoint_url": "http://127.0.0.1:9", "key": "a", "secret": "b"}
    with lakebed.open(catalog=url, storage=dead | {"retry_timeout": LONG}) as lake:
        with in_time():
            for n in range(3):
                lake[f"{n}"] = n
        assert len(lake) == 3


def test_a_store_asks_the_storage_once_for_many(tmp_path: Path) -> None:
    with lakebed.open(catalog=f"sqlite:///{tmp_path}/a.db", storage=tmp_path / "files") as lake:
        assert lake._owner is not None
        asked = 0
        look = lake._owner._look

        def count() -> None:
            nonlocal asked
            asked += 1
            look()

        lake._owner._look = count  # type: ignore[method-assign]
        for n in range(100):
            lake[f"{n}"] = n
        assert asked == 1


def test_a_folder_is_a_whole_lake_when_it_is_copied(tmp_path: Path) -> None:
    with lakebed.open(tmp_path / "a") as lake:
        fill(lake)
        with pytest.raises(ConfigurationError, match="nothing to adopt"):
            lake.adopt()
        with pytest.raises(LakebedError, match="whole lake"):
            lake.scope("s").adopt()
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    with lakebed.open(tmp_path / "b") as copy:
        copy.delete("kept")
        assert copy.collect(grace=0, orphan_grace=0, orphans=True).files
    with lakebed.open(tmp_path / "a") as lake:
        assert lake["kept"] == LARGE + "kept"
        assert not list(tmp_path.rglob("owner"))


def test_the_command(tmp_path: Path) -> None:
    with lakebed.open(catalog=f"sqlite:///{tmp_path}/a.db", storage=tmp_path / "files") as lake:
        fill(lake)
    shutil.copy(tmp_path / "a.db", tmp_path / "b.db")
    run = CliRunner().invoke
    copy = ["--lake", f"sqlite:///{tmp_path}/b.db"]
    found = run(app, [*copy, "put", "x", "1"])
    assert found.exit_code == 2
    assert "lakebed adopt" in found.stderr
    assert "lakebed adopt" in run(app, [*copy, "collect", "--grace", "0", "--yes"]).stderr
    assert "read_only" in run(app, ["--read-only", *copy, "adopt", "--yes"]).stderr
    found = run(app, [*copy, "doctor"])
    assert found.exit_code == 2
    assert "b.db is a copy of the catalog that owns" in found.stdout
    found = run(app, [*copy, "adopt", "--yes"])
    assert found.exit_code == 0, found.stderr
    assert f"now owns {(tmp_path / 'files').as_uri()}" in found.stdout
    assert f"sqlite:///{tmp_path}/a.db is read-only from now on" in found.stdout
    assert run(app, [*copy, "put", "x", "1"]).exit_code == 0
    original = ["--lake", f"sqlite:///{tmp_path}/a.db"]
    found = run(app, [*original, "doctor"])
    assert found.exit_code == 2
    assert f"the owner is now sqlite:///{tmp_path}/b.db" in found.stdout
    assert run(app, [*original, "put", "x", "1"]).exit_code == 2
    assert run(app, [*copy, "doctor"]).exit_code == 0


def test_a_closed_lake_asks_the_storage_no_more(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/a.db"
    dead = {"uri": "s3://b/x", "endpoint_url": "http://127.0.0.1:9", "key": "a", "secret": "b"}
    with lakebed.open(catalog=url, storage=dead | {"retry_timeout": LONG}) as lake:
        lake["a"] = 1
        asking = [thread for thread in threading.enumerate() if thread.name == "lakebed-owner"]
        assert asking
    with in_time():
        for thread in asking:
            thread.join(PATIENCE)
    assert not any(thread.is_alive() for thread in asking)
