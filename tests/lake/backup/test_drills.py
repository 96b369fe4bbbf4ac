"""Disasters: the catalog is lost, the storage, both, or a provider rolls the storage back."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pytest

import lakebed
from lakebed.errors import ConfigurationError, ConflictError, ReadOnlyError
from lakebed.lake.lake import Lake
from tests.lake.backup.conftest import CATALOGS, Ground

LARGE = "large " * 2000


class Company(NamedTuple):
    """A lake that was backed up, what it held then, and where everything is."""

    lake: Lake
    catalog: Any
    storage: Path
    backups: Path
    then: dict[str, Any]


@pytest.fixture
def company(request: pytest.FixtureRequest, ground: Ground) -> Company:
    """A lake whose backup is older than some of what it holds."""
    kind = getattr(request, "param", None) or random.choice(CATALOGS)
    catalog, storage = ground.catalog(kind, "lake"), ground.folder / "storage"
    lake = ground.open(catalog, str(storage))
    lake.store_batch({"key": f"n/{n:02}", "value": f"{n} {LARGE}"} for n in range(20))
    lake.store_batch({"key": f"s/{n:02}", "value": n} for n in range(20))
    lake["alone"] = "first " + LARGE
    lake.create_snapshot("monday")
    lake["changes"] = "early " + LARGE
    lake.compact()
    for n in range(3):
        lake.append("grown", rows(n))
    lakebed.backup(lake, ground.folder / "backups", history=bool(random.randrange(2)))
    then = dict(lake.items())
    return Company(lake, catalog, storage, ground.folder / "backups", then)


def rows(n: int) -> pa.Table:
    """What is appended; 9 kB as stored."""
    return pa.table({"n": range(n, 4000)})


def later(lake: Lake) -> None:
    """What the backup does not have."""
    lake["changes"] = "late " + LARGE
    lake.store("tiny", 1)
    lake.delete("alone")
    lake.append("grown", rows(4))


# All catalogs; a run of the suite draws one for each of the other drills.
@pytest.mark.parametrize("company", CATALOGS, indirect=True)
def test_the_catalog_is_lost(ground: Ground, company: Company) -> None:
    """Contents stay where they are, and what is newer is listed, or named on request."""
    later(company.lake)
    company.lake.maintain()  # the search index tells the later keys
    before = {path for path in company.storage.rglob("*") if path.is_file()}
    anew = ground.catalog(random.choice(CATALOGS), "anew")
    report = lakebed.rebuild_catalog(
        company.backups, ground.place(anew), storage=str(company.storage)
    )
    assert (report.entries, report.missing, report.damaged) == (len(company.then), [], [])
    assert report.in_storage >= 20
    assert report.in_storage + report.from_backup == lakebed.backups(company.backups)[0].objects
    assert {item["key"] for item in report.later} >= {"changes", "tiny"}
    newer = [item for item in report.unnamed if item["format"] == "json"]
    assert len(newer) == 1  # of `changes`; `tiny` was in the catalog, which is lost
    assert (report.named, newer[0]["byte_size"]) == (0, len(LARGE) + 7)
    rebuilt = ground.open(anew, None)
    assert dict(rebuilt.items()) == company.then
    assert rebuilt.verify().problems == []
    assert before <= {path for path in company.storage.rglob("*") if path.is_file()}
    rebuilt["goes on"] = LARGE  # it owns the storage now, and the old catalog does not
    if company.lake._owner:  # a shared log cannot tell where it is
        company.lake._owner._look_at = 0.0
        with pytest.raises(ReadOnlyError, match="no longer owns"):
            company.lake.store("x", 1)
    rebuilt.collect(grace=0, orphan_grace=0)
    assert before <= {path for path in company.storage.rglob("*") if path.is_file()}
    assert lakebed.backup(rebuilt, company.backups).entries == len(company.then) + 1


def test_what_is_newer_gets_a_name_on_request(ground: Ground, company: Company) -> None:
    later(company.lake)
    anew = ground.catalog(random.choice(CATALOGS), "anew")
    report = lakebed.rebuild_catalog(
        company.backups, ground.place(anew), storage=str(company.storage), found="found/"
    )
    assert report.named == len(report.unnamed) >= 1
    rebuilt = ground.open(anew, None)
    assert "late " + LARGE in list(rebuilt.scope("found").values())
    assert {key: rebuilt[key] for key in company.then} == company.then
    assert rebuilt.verify().problems == []
    with pytest.raises(ConflictError, match="is not"):
        lakebed.rebuild_catalog(
            other_backups(ground, company), ground.place(anew), storage=str(company.storage)
        )


def other_backups(ground: Ground, company: Company) -> Path:
    """Backups with another point, from which nothing was rebuilt."""
    lakebed.backup(company.lake, ground.folder / "others")
    return ground.folder / "others"


def test_the_storage_is_lost(company: Company) -> None:
    """Names are there; contents come back from the backup, and what is newer is named."""
    later(company.lake)
    inlined = {entry.key for entry in company.lake.list() if entry.inlined}
    shutil.rmtree(company.storage)
    report = lakebed.restore_contents(company.backups, company.lake)
    assert report.restored + 2 == report.missing == report.objects
    assert (report.lost_keys, report.lost_earlier) == (["changes", "grown"], [])
    again = lakebed.restore_contents(company.backups, company.lake)
    assert (again.missing, again.restored, again.lost_keys) == (2, 0, ["changes", "grown"])
    now = dict.fromkeys(inlined, 1) | company.then
    assert set(company.lake) == set(now) - {"alone"}
    for key in set(company.lake) - {"changes", "grown", "tiny"}:
        assert company.lake[key] == company.then[key]
    company.lake["changes"] = "again"  # which mends it
    company.lake.append("more", rows(4))  # and so does another table with the part that is lost
    assert company.lake["grown"].num_rows == company.then["grown"].num_rows + rows(4).num_rows
    assert company.lake.at("monday")["alone"] == "first " + LARGE
    company.lake.collect(grace=0)
    assert company.lake.verify().problems == []


def test_the_storage_is_rolled_back(ground: Ground, company: Company) -> None:
    """The provider brings back the storage of an earlier time: what is newer is missing there, and
    comes back as far as a backup has it."""
    shutil.copytree(company.storage, ground.folder / "kept")
    company.lake["backed up"] = "backed up " + LARGE
    lakebed.backup(company.lake, company.backups)
    later(company.lake)
    shutil.rmtree(company.storage)
    shutil.copytree(ground.folder / "kept", company.storage)
    reopened = ground.open(company.catalog, None)
    report = lakebed.restore_contents(company.backups, reopened)
    assert (report.missing, report.restored, report.lost_keys) == (3, 1, ["changes", "grown"])
    assert reopened["backed up"] == "backed up " + LARGE
    assert report.points == [lakebed.backups(company.backups)[-1].id]


def test_both_are_lost(ground: Ground, company: Company) -> None:
    later(company.lake)
    shutil.rmtree(company.storage)
    anew = ground.catalog(random.choice(CATALOGS), "anew")
    target = ground.open(anew, str(ground.folder / "new storage"))
    report = lakebed.restore_backup(company.backups, target)
    assert (report.entries, report.differing) == (len(company.then), [])
    assert dict(target.items()) == company.then
    assert target.verify().problems == []
    # The lake is a new one: it may even use the place of the old one, and leaves alone what is
    # there.
    beside = ground.open(ground.catalog("sqlite", "beside"), str(company.storage))
    lakebed.restore_backup(company.backups, beside)
    beside["writes"] = LARGE
    assert dict(beside.items()) == company.then | {"writes": LARGE}


def test_catalog_and_some_objects_are_lost(ground: Ground, company: Company) -> None:
    """The storage gives what it has, the backup the rest, and what neither has is named."""
    for path in (company.storage / "packs").iterdir():
        path.unlink()
    company.lake["n/00"] = company.then["n/00"]  # mended, so in the storage again
    (point,) = lakebed.backups(company.backups)
    anew = ground.catalog("sqlite", "anew")
    if point.history == "none":
        for path in (company.backups / "packs").iterdir():
            path.unlink()
    report = lakebed.rebuild_catalog(
        company.backups, ground.place(anew), storage=str(company.storage)
    )
    rebuilt = ground.open(anew, None)
    assert dict(rebuilt.items()) == {
        key: value for key, value in company.then.items() if key not in report.missing
    }
    assert rebuilt["n/00"] == company.then["n/00"]
    if point.history == "none":
        assert set(report.missing) >= {f"n/{n:02}" for n in range(1, 20)}
        assert report.from_backup + report.in_storage + len(report.missing) == point.objects
        assert "grown" not in report.missing
    else:
        assert (report.missing, report.in_storage < point.objects) == ([], True)


def test_a_table_whose_part_is_lost_everywhere(tmp_path: Path) -> None:
    """It is missing; the rows of its other parts are there to be named."""
    with lakebed.open(tmp_path / "lake") as lake:
        for key in ("broken", "whole"):
            for n in range(2 if key == "whole" else 3):
                lake.append(key, rows(n))
        whole = lake["whole"]
        lakebed.backup(lake, tmp_path / "b")
        (lost,) = (part for part in part_hashes(lake, "broken") - part_hashes(lake, "whole"))
        other = rows(7)
        lake.append("broken", other)
    for folder in ("lake", "b"):
        for path in (tmp_path / folder / "objects").rglob(f"{lost}-*"):
            path.unlink()
    for path in (tmp_path / "lake").glob("catalog.db*"):
        path.unlink()
    report = lakebed.rebuild_catalog(tmp_path / "b", tmp_path / "lake", found="found/")
    assert (report.missing, report.entries, report.named) == (["broken"], 1, 1)
    assert (report.in_storage, report.from_backup) == (2, 1)
    with lakebed.open(tmp_path / "lake") as rebuilt:
        assert rebuilt["whole"].equals(whole)
        assert [table.equals(other) for table in rebuilt.scope("found").values()] == [True]
        assert rebuilt.verify().problems == []
        rebuilt.collect(grace=0)
        assert rebuilt["whole"].equals(whole)


def part_hashes(lake: Lake, key: str) -> set[str]:
    (row,) = lake._catalog.get_many([key])
    parts = lake._catalog.parts((row.content_hash, row.format))
    return {part.content_hash.hex() for part in parts}


@pytest.mark.parametrize("kind", ["sqlite", "bucket"])
def test_a_catalog_that_was_not_lost_after_all(ground: Ground, kind: str) -> None:
    """It must not go on with the storage, whatever catalog was rebuilt: both would delete."""
    old, storage = ground.catalog("sqlite", "old"), ground.folder / "store"
    lake = ground.open(old, str(storage), inline_threshold=0)
    lake["a"] = "one"
    lakebed.backup(lake, ground.folder / "b")
    lake.close()
    new = ground.catalog(kind, "new")
    lakebed.rebuild_catalog(ground.folder / "b", ground.place(new), storage=str(storage))
    rebuilt, lake = ground.open(new, None), ground.open(old, None)
    assert rebuilt["a"] == lake["a"] == "one"
    with pytest.raises(ReadOnlyError, match="the owner is now"):
        lake["a"] = "two"
    rebuilt["a"] = "three"
    rebuilt.collect(grace=0)
    assert rebuilt.verify().problems == []


def test_a_folder_that_lost_its_catalog(tmp_path: Path) -> None:
    with lakebed.open(tmp_path / "lake", history="all") as lake:
        lake["a"] = LARGE
        lake["a"] = "b " + LARGE
        lakebed.backup(lake, tmp_path / "backups", history=True)
        lake_id = lake._lake_id
    for path in (tmp_path / "lake").glob("catalog.db*"):
        path.unlink()
    with pytest.raises(ConfigurationError, match="rebuild-catalog"):
        lakebed.open(tmp_path / "lake")
    (tmp_path / "lake" / "catalog.db-wal").write_bytes(b"left")
    with pytest.raises(ConfigurationError, match="move it away"):
        lakebed.rebuild_catalog(tmp_path / "backups", tmp_path / "lake")
    (tmp_path / "lake" / "catalog.db-wal").unlink()
    report = lakebed.rebuild_catalog(tmp_path / "backups", tmp_path / "lake")
    assert (report.in_storage, report.from_backup, report.versions) == (2, 0, 1)
    with lakebed.open(tmp_path / "lake", history="all") as rebuilt:
        assert [version.value for version in rebuilt.history("a")] == ["b " + LARGE, LARGE]
        assert rebuilt._lake_id == lake_id
