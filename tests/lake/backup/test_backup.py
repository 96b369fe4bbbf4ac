"""Backups: a point is the lake at one moment, restored it reads as that, on any catalog."""

from __future__ import annotations

import os
import random
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import lakebed
from lakebed.errors import (
    ConfigurationError,
    ConflictError,
    CorruptionError,
    NotFoundError,
    ReadOnlyError,
    ValidationError,
)
from lakebed.lake.copying.past import _Past
from lakebed.lake.lake import Lake
from tests.lake.backup.conftest import CATALOGS, Ground
from tests.lake.copying.test_copy import check_alike, live

Filled = Callable[..., Lake]
LARGE = "large " * 2000


@pytest.mark.parametrize("kind", CATALOGS)
def test_a_restored_lake_reads_as_its_source(ground: Ground, kind: str, soak: bool) -> None:
    """Each catalog is backed up, and restored to another one in each run."""
    seed = int.from_bytes(os.urandom(4))
    print(f"seed {seed}")
    rng = random.Random(seed)
    for round_ in range(10 if soak else 1):
        history: Any = rng.choice(["snapshots", "all"])
        threshold = rng.choice([0, 64, 4096])
        storage = rng.choice([None, str(ground.folder / f"store{round_}"), ground.bucket("from")])
        source = ground.open(
            ground.catalog(kind, "source"), storage, history=history, inline_threshold=threshold
        )
        destination: Any = rng.choice([ground.folder / f"backup{round_}", ground.bucket("backup")])
        live(source, rng, 25)
        grow(source, rng)
        first = lakebed.backup(source, destination)
        # The list of a table's parts is in the point itself.
        assert (first.entries, first.new_objects) == (len(source), first.objects - 1)
        again = lakebed.backup(source, destination)
        assert (again.new_objects, again.new_bytes, again.resumed) == (0, 0, 0)
        live(source, rng, 10)
        source.create_snapshot("last")
        grow(source, rng)
        whole = lakebed.backup(source, destination, history=True, keep=2)
        assert whole.removed == [first.point]
        points = lakebed.backups(destination)
        assert [point.id for point in points] == [again.point, whole.point]
        goal = rng.choice(CATALOGS)
        target = ground.open(
            ground.catalog(goal, "target"), rng.choice([None, ground.bucket("to")]), history=history
        )
        report = lakebed.restore_backup(destination, target)
        assert (report.point, report.differing) == (whole.point, [])
        check_alike(source, target, whole=True)
        assert target["grown"].equals(source["grown"])
        assert target.at("last")["grown"].equals(source.at("last")["grown"])
        assert not [made for made in source.snapshots() if made.name.startswith("backup-")]


def grow(lake: Lake, rng: random.Random) -> None:
    """Append to a table; its parts lie in the catalog, in packs and in the storage."""
    for _ in range(rng.randrange(2, 10)):
        lake.append("grown", pa.table({"n": range(rng.choice([1, 2000]))}))


def test_an_append_costs_a_backup_its_part(filled: Filled, tmp_path: Path) -> None:
    """The parts that a point before has stay; those that no kept point needs go, as a whole."""
    lake = filled()
    lake.store("t", pa.table({"n": range(3000)}))
    lake.append("t", pa.table({"n": range(3000, 5000)}))
    first = lakebed.backup(lake, tmp_path / "b")
    lake.append("t", pa.table({"n": range(5000, 5005)}))
    report = lakebed.backup(lake, tmp_path / "b", verify="all")
    assert (report.new_objects, report.damaged) == (1, 0)
    grown = lake["t"]
    parts = [*(tmp_path / "b" / "objects").rglob("*.parquet")]
    assert len(parts) == 3
    lake.compact()
    assert lakebed.backup(lake, tmp_path / "b").new_objects == 1
    lakebed.restore_backup(tmp_path / "b", tmp_path / "first", point=first.point)
    with lakebed.open(tmp_path / "first") as restored:
        assert restored["t"].equals(grown.slice(0, 5000))
    lakebed.prune_backups(tmp_path / "b", 2)
    lakebed.restore_backup(tmp_path / "b", tmp_path / "grown", point=report.point)
    with lakebed.open(tmp_path / "grown") as restored:
        assert restored["t"].equals(grown)
        assert restored.verify().problems == []
    lakebed.prune_backups(tmp_path / "b", 1)
    assert not any(path.exists() for path in parts)
    lakebed.restore_backup(tmp_path / "b", tmp_path / "joined")
    with lakebed.open(tmp_path / "joined") as restored:
        assert restored["t"].equals(grown)


def test_a_damaged_part_is_written_again(filled: Filled, tmp_path: Path) -> None:
    lake = filled()
    for n in range(3):
        lake.append("t", pa.table({"n": range(n, 2000)}))
    lakebed.backup(lake, tmp_path / "b")
    part = min((tmp_path / "b" / "objects").rglob("*.parquet"))
    part.write_bytes(part.read_bytes()[:-1] + b"?")
    healed = lakebed.backup(lake, tmp_path / "b", verify="all")
    assert (healed.damaged, healed.new_objects) == (1, 1)
    part.unlink()
    lakebed.restore_backup(tmp_path / "b", tmp_path / "restored")
    with lakebed.open(tmp_path / "restored") as restored:
        assert restored["t"].equals(lake["t"])


def test_an_incremental_backup_copies_only_what_is_new(filled: Filled, tmp_path: Path) -> None:
    lake = filled()
    lake.store("table", pa.table({"n": range(5)}))
    lakebed.backup(lake, tmp_path / "b")
    files = {path: path.stat().st_mtime_ns for path in contents(tmp_path / "b")}
    lake.store("alone", "two " * 3000)
    lake.store("renamed", "one " * 3000)  # content that the first point has
    lake.store("small/001", {"n": 1}, {"only": "metadata"})
    report = lakebed.backup(lake, tmp_path / "b")
    assert report.new_objects == 1
    now = {path: path.stat().st_mtime_ns for path in contents(tmp_path / "b")}
    assert now.items() >= files.items()
    assert len(now) == len(files) + 1


def contents(folder: Path) -> list[Path]:
    """The files of contents in a place of backups."""
    both = (folder / "objects", folder / "packs")
    return [path for part in both for path in part.rglob("*") if path.is_file()]


def test_points_in_time(filled: Filled, tmp_path: Path) -> None:
    lake = filled(history="all")
    lake["k"] = 1
    at = lake._catalog.now()
    lake["k"] = 2
    lake.delete("alone")
    plain = lakebed.backup(lake, tmp_path / "b")
    lake["k"] = 3
    lakebed.backup(lake, tmp_path / "b", history=True)
    lake["k"] = 4
    lakebed.backup(lake, tmp_path / "b")
    when = datetime.fromtimestamp(at / 1e6, UTC)
    report = lakebed.restore_backup(tmp_path / "b", tmp_path / "exact", at=when)
    assert report.moment == when
    with lakebed.open(tmp_path / "exact") as exact:
        assert (exact["k"], exact["alone"]) == (1, "one " * 3000)
        assert len(exact) == len(lake) + 1
    report = lakebed.restore_backup(tmp_path / "b", tmp_path / "named", point=plain.point)
    with lakebed.open(tmp_path / "named") as named:
        assert named["k"] == 2
    report = lakebed.restore_backup(tmp_path / "b", tmp_path / "last", at=datetime.now(UTC))
    with lakebed.open(tmp_path / "last") as last:
        assert last["k"] == 4
    lakebed.prune_backups(tmp_path / "b", 1)
    with pytest.raises(NotFoundError, match="its first is of"):
        lakebed.restore_backup(tmp_path / "b", tmp_path / "x", at=when)
    with pytest.raises(NotFoundError, match="no point 'monday'"):
        lakebed.restore_backup(tmp_path / "b", tmp_path / "x", point="monday")
    with pytest.raises(ValidationError, match="time zone"):
        lakebed.restore_backup(tmp_path / "b", tmp_path / "x", at=datetime(2026, 1, 1))  # noqa: DTZ001
    assert not (tmp_path / "x").exists()


def test_a_time_whose_versions_are_gone(filled: Filled, tmp_path: Path) -> None:
    """What a lake has let go of by its retention is not restored as if nothing had been there."""
    lake = filled(history="all")
    early = lakebed.backup(lake, tmp_path / "b")
    gone = lake._catalog.now()
    lake["alone"] = 2
    lake.delete("small/000")
    lake._catalog.prune(horizon := lake._catalog.now(), 0, 1000)
    lake["alone"] = 3
    lakebed.backup(lake, tmp_path / "b", history=True)
    when, since = (datetime.fromtimestamp(at / 1e6, UTC) for at in (gone, horizon))
    report = lakebed.restore_backup(tmp_path / "b", tmp_path / "before", at=when)
    assert (report.point, report.entries) == (early.point, early.entries)
    lakebed.restore_backup(tmp_path / "b", tmp_path / "exact", at=since)
    with lakebed.open(tmp_path / "exact") as exact:
        assert (exact["alone"], "small/000" in exact) == (2, False)
    lakebed.restore_backup(tmp_path / "b", tmp_path / "whole")
    with lakebed.open(tmp_path / "whole", history="all") as whole:
        assert whole.at(since)["alone"] == 2
        with pytest.raises(NotFoundError, match="no longer kept"):
            whole.at(when)
    lakebed.prune_backups(tmp_path / "b", 1)
    with pytest.raises(NotFoundError, match="no point of"):
        lakebed.restore_backup(tmp_path / "b", tmp_path / "x", at=when)


def test_snapshots_of_other_runs_are_no_past(filled: Filled, tmp_path: Path) -> None:
    """A backup that runs beside another, and one that a user drops a snapshot from meanwhile."""
    lake = filled()
    for name, message in (("s", None), ("t", None), ("backup-00ff", "while a backup runs")):
        lake["alone"] = name
        lake.create_snapshot(name, message=message)
    lake["alone"] = "now"
    told = _Past._tell

    def others(past: _Past, group: Any) -> None:
        for name in ("t", "backup-00ff"):
            with suppress(NotFoundError):
                lake.drop_snapshot(name)
        lake.maintain()
        told(past, group)

    with patch.object(_Past, "_tell", others):
        report = lakebed.backup(lake, tmp_path / "b", history=True)
    assert report.snapshots == 1
    lakebed.restore_backup(tmp_path / "b", tmp_path / "restored")
    with lakebed.open(tmp_path / "restored") as restored:
        assert [row.name for row in restored.snapshots()] == ["s"]
        assert (restored.at("s")["alone"], restored["alone"]) == ("s", "now")
        assert restored.verify().problems == []


def test_anybody_can_read_a_point(filled: Filled, tmp_path: Path) -> None:
    """By SQLite and Parquet alone: the value of each name is in the file that its row tells."""
    lake = filled()
    point = lakebed.backup(lake, tmp_path / "b", history=True).point
    folder = tmp_path / "b" / "points" / point
    rows = pq.read_table(folder / "entries.parquet").to_pylist()
    assert [row["key"] for row in rows] == sorted(lake)
    values = {}
    for row in rows:
        if row["position"] is None:
            values[row["key"]] = (tmp_path / "b" / row["uri"]).read_bytes()
            continue
        pack = pq.read_table(tmp_path / "b" / row["uri"]).to_pylist()
        (values[row["key"]],) = (
            item["value"] for item in pack if row["content_hash"].startswith(item["hash_prefix"])
        )
    encoded = {row.key: lake.read_content(row) for row in lake.list().rows()}
    assert values == encoded
    with closing(sqlite3.connect(folder / "catalog.sqlite")) as database:
        sql = (
            "SELECT key, content_hash, coalesce(object.uri, pack.uri) FROM entry"
            " JOIN object ON object.id = object_id LEFT JOIN pack ON pack.id = pack_id ORDER BY key"
        )
        assert database.execute(sql).fetchall() == [
            (row["key"], row["content_hash"], row["uri"]) for row in rows
        ]


def test_a_backup_is_of_one_moment(tmp_path: Path) -> None:
    """A writer changes two keys together all the time; they are alike in each point."""
    over = threading.Event()
    with lakebed.open(tmp_path / "lake") as lake:

        def write() -> None:
            number = 0
            while not over.is_set():
                with lake.transaction() as tx:
                    tx.store("a", f"{number} {LARGE}")
                    tx.store("z", f"{number} {LARGE}")
                number += 1

        lake.store_batch({"key": f"m{n}", "value": n} for n in range(500))
        lake["a"] = lake["z"] = 0
        writer = threading.Thread(target=write)
        writer.start()
        try:
            points = [lakebed.backup(lake, tmp_path / "b").point for _ in range(3)]
        finally:
            over.set()
            writer.join()
    for point in points:
        lakebed.restore_backup(tmp_path / "b", tmp_path / point, point=point)
        with lakebed.open(tmp_path / point) as restored:
            assert restored["a"] == restored["z"]


def test_damage(filled: Filled, tmp_path: Path) -> None:
    lake = filled()
    lake.store("table", pa.table({"n": range(9)}))
    first = lakebed.backup(lake, tmp_path / "b")
    (table,) = (tmp_path / "b" / "objects").rglob("*.parquet")
    table.write_bytes(table.read_bytes()[:-1] + b"?")  # as many bytes
    assert lakebed.backup(lake, tmp_path / "b").damaged == 0
    healed = lakebed.backup(lake, tmp_path / "b", verify="all")
    assert (healed.damaged, healed.new_objects) == (1, 1)
    assert healed.verified == healed.objects
    lakebed.restore_backup(tmp_path / "b", tmp_path / "restored")
    with pytest.raises(CorruptionError, match="damaged"):
        lakebed.restore_backup(tmp_path / "b", tmp_path / "old", point=first.point)
    table.unlink()
    assert lakebed.backup(lake, tmp_path / "b").damaged == 0  # the newest one needs another file

    (own,) = (tmp_path / "lake" / "objects").rglob("*.json")
    own.write_bytes(b"nonsense")
    lake.store("new", LARGE)
    assert lakebed.backup(lake, tmp_path / "b").new_objects == 1  # what is there is not read
    with pytest.raises(CorruptionError, match="alone"):
        lakebed.backup(lake, tmp_path / "b2")
    with pytest.raises(NotFoundError, match="holds no point"):
        lakebed.restore_backup(tmp_path / "b2", tmp_path / "x")
    manifest = tmp_path / "b" / "points" / first.point / "point.json"
    manifest.write_text("{}")
    with pytest.raises(CorruptionError, match="does not describe a backup"):
        lakebed.backups(tmp_path / "b")


def test_what_a_backup_left_that_was_killed_as_it_began(filled: Filled, tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / ".lakebed-backup.json.a12b2a7e.tmp").write_bytes(b'{"form')
    lakebed.backup(filled(), tmp_path / "b")
    assert len(lakebed.backups(tmp_path / "b")) == 1


def test_what_is_refused(filled: Filled, tmp_path: Path) -> None:
    lake = filled()
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_bytes(b"miaow")
    with pytest.raises(ConflictError, match=r"'cat\.jpg', which is not a backup"):
        lakebed.backup(lake, tmp_path / "photos")
    with pytest.raises(ConfigurationError, match="overlap"):
        lakebed.backup(lake, tmp_path / "lake" / "backup")
    with pytest.raises(ValidationError, match="scope"):
        lakebed.backup(lake.scope("user/1"), tmp_path / "b")
    with pytest.raises(ValidationError, match="keep must be 1 or more"):
        lakebed.backup(lake, tmp_path / "b", keep=0)
    with pytest.raises(ValidationError, match="verify must be"):
        lakebed.backup(lake, tmp_path / "b", verify="some")  # type: ignore[arg-type]
    with pytest.raises(NotFoundError, match="holds no backups"):
        lakebed.backups(tmp_path / "b")
    assert not (tmp_path / "b").exists()
    lakebed.backup(lake, tmp_path / "b")
    with lakebed.open(tmp_path / "other") as other:
        other["mine"] = 1
        with pytest.raises(ConflictError, match="another lake"):
            lakebed.backup(other, tmp_path / "b")
        with pytest.raises(ConflictError, match="only to an empty lake"):
            lakebed.restore_backup(tmp_path / "b", other)
        with pytest.raises(ValidationError, match="must be a folder, a URL or a configuration"):
            lakebed.rebuild_catalog(tmp_path / "b", other)  # type: ignore[arg-type]
    with pytest.raises(ConflictError, match="is not"):
        lakebed.rebuild_catalog(tmp_path / "b", tmp_path / "other")
    with (
        lakebed.open(tmp_path / "lake", read_only=True) as reader,
        pytest.raises(ReadOnlyError, match="backup writes"),
    ):
        lakebed.backup(reader, tmp_path / "b")
    with pytest.raises(ConfigurationError, match="which holds both"):
        lakebed.restore_backup(tmp_path / "b", tmp_path / "x", storage="y")


def test_an_interrupted_restore_goes_on(filled: Filled, tmp_path: Path) -> None:
    lake = filled()
    lakebed.backup(lake, tmp_path / "b")
    lakebed.copy(lake, tmp_path / "r", "large/")  # as far as it had come
    report = lakebed.restore_backup(tmp_path / "b", tmp_path / "r")
    assert (report.unchanged, report.copied, report.entries) == (12, len(lake) - 12, len(lake))
    with lakebed.open(tmp_path / "r") as restored:
        restored["small/001"] = "changed"
    with pytest.raises(ConflictError, match="'small/001'"):
        lakebed.restore_backup(tmp_path / "b", tmp_path / "r")
