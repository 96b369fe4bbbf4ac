"""Lakes that earlier versions made stay readable and writable."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

import lakebed
from lakebed.catalog.statements.migration import SCHEMA_VERSION
from lakebed.testing.conformance.base import same
from tests.data.make_lake import IN_SNAPSHOT, LATER, PRESENT, make

DATA = Path(__file__).parents[1] / "data"
VERSIONS = range(1, SCHEMA_VERSION + 1)


@pytest.fixture(params=VERSIONS)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of the committed lake of each schema version."""
    return shutil.copytree(DATA / f"lake-v{request.param}", tmp_path / "lake")


def test_all_is_there(folder: Path) -> None:
    with lakebed.open(folder) as lake:
        found = {entry.key: (entry.value, entry.metadata) for entry in lake.list()}
        assert list(found) == sorted(PRESENT, key=str.encode)
        for key, (value, metadata) in PRESENT.items():
            assert same(found[key][0], value), key
            assert found[key][1] == metadata, key
        assert len(lake) == lake.stats().entries == len(PRESENT)
        expiring = lake.entry("expiring")
        assert expiring is not None
        assert expiring.expires_at == LATER
        notes = [entry.key for entry in lake.list(metadata_filter={"kind": "note"})]
        assert notes == ["json", "packed/1", "packed/2"]
        hits = {hit.key for hit in lake.search("a file of its own")}
        assert hits == {"large", "large/again", "packed/1", "packed/3"}


def test_snapshots_and_history(folder: Path) -> None:
    with lakebed.open(folder) as lake:
        (snapshot,) = lake.snapshots()
        assert (snapshot.name, snapshot.message, snapshot.author) == (
            "first",
            "as it began",
            "a test",
        )
        assert dict(lake.at("first")) == IN_SNAPSHOT
        diff = lake.diff("first")
        assert [entry.key for entry in diff.removed] == ["changed", "deleted"]
        assert [change.key for change in diff.changed] == ["json", "large"]
        assert len(lake.history("deleted")) == 1
        lake.restore("first")
        assert dict(lake) == IN_SNAPSHOT


def test_it_can_be_written(folder: Path) -> None:
    with lakebed.open(folder) as lake:
        newest = max(entry.version for entry in lake.list())
        again = lake.store("new", PRESENT["large"][0])
        assert again.deduplicated
        assert again.version > newest
        lake.store_batch([{"key": f"batch/{n}", "value": "x" * 5000 + f"{n}"} for n in range(5)])
        assert lake.cleanup_expired().deleted == 1
        lake.create_snapshot("second")
        assert lake.verify().problems == []
    with lakebed.open(folder) as lake:
        assert lake["batch/4"] == "x" * 5000 + "4"


def test_a_migrated_schema_is_a_fresh_one(folder: Path, tmp_path: Path) -> None:
    """A change of the schema needs a migration, or make_lake.py before the first release."""

    def schema(path: Path) -> list[tuple[str, str]]:
        with lakebed.open(path), closing(sqlite3.connect(path / "catalog.db")) as db:
            return db.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()

    make(tmp_path / "fresh")
    assert schema(folder) == schema(tmp_path / "fresh")
