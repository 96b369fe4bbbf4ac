"""What a purge leaves in the files of a catalog, and what its receipt says of it."""

from __future__ import annotations

import random
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import lakebed
from lakebed.catalog.sqlite import scrubbing
from lakebed.catalog.sqlite.executor import SQLiteExecutor
from lakebed.lake.lake import Lake
from lakebed.lake.search import segment_files
from lakebed.model import EntryRow
from lakebed.objects.local import LocalStore
from lakebed.search.words import word_hash
from lakebed.testing import FaultyStore, open_lake
from lakebed.values.text import stem
from tests.waiting import until

CANARY = b"canar"
HASH = word_hash(stem("canary")).to_bytes(8, "little")  # by which a segment knows the word
LEFT_BEHIND = [
    "files that killed writers left and the catalog does not know: collect(orphans=True) deletes "
    "those older than a day",
    "backups of the catalog and the storage, and published copies",
]


def holding(folder: Path) -> set[str]:
    """The files under a folder that hold the word."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.name for path in found if has_canary(path.read_bytes())}


def has_canary(data: bytes) -> bool:
    return CANARY in data or HASH in data


@pytest.mark.parametrize("how", ["delete", "replace", "expire"])
def test_metadata_that_a_key_had_earlier(tmp_path: Path, how: str) -> None:
    with lakebed.open(tmp_path) as lake:
        lake.store_batch(
            {"key": f"o/{n}", "value": n, "metadata": {"n": n}} for n in range(1100)
        )  # a filter brings its index up to date only for so many
        lake.store("k", "a canary", {"note": "canary"})
        assert lake.search("canary").total == 1
        assert [entry.key for entry in lake.list(metadata_filter={"note": "canary"})] == ["k"]
        if how == "delete":
            del lake["k"]
        else:
            lake.store("k", 1, ttl=0.001 if how == "expire" else None)
        if how == "expire":
            until(lambda: "k" not in lake)
            lake.cleanup_expired()
        receipt = lake.purge("k")
        assert receipt.remains == LEFT_BEHIND
        assert not holding(tmp_path)
        assert lake.search("canary").total == 0
        assert [entry.key for entry in lake.list(metadata_filter={"n": 7})] == ["o/7"]


@pytest.mark.parametrize("kind", ["sqlite", "sqlalchemy"])
def test_copies_that_moving_rows_left_in_pages(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "catalog.db"
    catalog: Any = f"sqlite:///{path}"
    if kind == "sqlalchemy":
        catalog = {"type": "sqlalchemy", "url": f"sqlite:///{path}"}
    rng = random.Random(12)
    with lakebed.open(catalog=catalog) as lake:
        for _ in range(4):
            lake.store_batch(
                {
                    "key": f"{secret or 'other'}/{rng.random()}{'k' * rng.choice((0, 10, 500))}",
                    "value": f"{secret} {rng.random()} " * rng.choice((1, 2, 5, 30, 300)),
                    "metadata": {"note": f"{secret} {rng.random()}"},
                }
                for secret in rng.choices(["canary", ""], k=400)
            )
        kept = {key: value for key, value in lake.items() if key.startswith("other/")}
        lake.purge(prefix="canary/")
        assert not holding(tmp_path)
        assert dict(lake.items()) == kept
        assert not lake.verify().problems


def test_a_log_that_others_read_is_told_of_and_emptied_later(tmp_path: Path) -> None:
    with (
        lakebed.open(tmp_path, lock_timeout=0.2) as lake,
        closing(sqlite3.connect(tmp_path / "catalog.db", isolation_level=None)) as reader,
    ):
        lake["k"] = "a canary"
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM entry").fetchall()
        receipt = lake.purge("k")
        assert any("log, which others are reading" in place for place in receipt.remains)
        lake.maintain()  # waits for nobody
        assert "catalog.db-wal" in holding(tmp_path)
        reader.execute("COMMIT")
        lake.maintain()
        assert not holding(tmp_path)


def test_writers_work_while_a_purge_waits_for_a_reader(tmp_path: Path) -> None:
    with (
        lakebed.open(tmp_path, lock_timeout=30) as lake,
        lakebed.open(tmp_path, lock_timeout=1) as other,
        closing(sqlite3.connect(tmp_path / "catalog.db", isolation_level=None)) as reader,
    ):
        lake["k"] = "a canary"
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM entry").fetchall()
        receipts: list[Any] = []
        purging = threading.Thread(target=lambda: receipts.append(lake.purge("k")))
        purging.start()
        while "k" in other:
            time.sleep(0.001)
        for number in range(20):
            other["n"] = number
            time.sleep(0.01)
        assert purging.is_alive()
        reader.execute("COMMIT")
        purging.join(30)
        assert receipts[0].remains == LEFT_BEHIND
        assert not holding(tmp_path)


def test_a_search_that_read_before_the_purge_indexes_nothing_of_it(tmp_path: Path) -> None:
    with lakebed.open(tmp_path) as lake, lakebed.open(tmp_path) as other:
        lake.store("k", "a canary", {"note": "canary"})
        lake["other"] = "word"

        index, purges = lake._searcher(), [other.purge]
        read = index._read

        def then_purge(rows: Iterable[EntryRow]) -> Iterator[tuple[EntryRow, Any]]:
            yield from list(read(rows))
            if purges:
                purges.pop()("k")

        index._read = then_purge
        index.build_waiting()
        assert not purges
        lake.collect(0)  # the bytes that came too late
        assert not holding(tmp_path)
        assert lake.search("word").total == 1


def test_a_catalog_too_large_to_be_written_anew_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scrubbing, "VACUUM_BYTES", 1000)
    with lakebed.open(tmp_path) as lake:
        lake["k"] = "a canary"
        receipt = lake.purge("k")
    assert any("VACUUM" in place for place in receipt.remains)


def test_a_catalog_that_others_keep_writing_is_told_of(tmp_path: Path) -> None:
    """The purge is done by then; that the file cannot be written anew is no reason to fail."""
    path = str(tmp_path / "catalog.db")
    with (
        closing(SQLiteExecutor(path, lock_timeout=0.1)) as executor,
        closing(sqlite3.connect(path, isolation_level=None)) as writer,
    ):
        executor.fetch("SELECT 1", {})
        writer.execute("BEGIN IMMEDIATE")
        assert any("VACUUM" in place for place in executor.scrub())
        writer.execute("ROLLBACK")
        assert executor.scrub() == []


@pytest.mark.parametrize("storage", ["mapped", "copied"])
@pytest.mark.parametrize("by", ["key", "prefix"])
def test_no_segment_and_no_copy_of_one_holds_what_was_purged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, storage: str, by: str
) -> None:
    """Words, keys and metadata, of versions that nobody saw any more too."""
    monkeypatch.setattr(segment_files, "_COPIED_BYTES", 0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder, key = tmp_path / "lake", "canary/1"

    def opened() -> Lake:
        local = LocalStore(folder)
        return open_lake(folder, objects=FaultyStore(local) if storage == "copied" else local)

    with opened() as lake:
        for number in range(5):
            lake.store(f"other/{number}", f"word {number}", {"n": number})
        lake.store(key, "a canary", {"canary": "canary"})
        lake._searcher().build_waiting()
        lake.create_snapshot("s")
        lake.store(key, "the canary again", {"note": "a canary"})
        lake._searcher().build_waiting()
        assert lake.search("canary").total == 1
        lake.store(key, "canary thrice")
        with opened() as other:
            assert other.search("canary").total == 1
        assert holding(tmp_path)
        assert bool(list((tmp_path / "cache").rglob("*.segment"))) == (storage == "copied")
        receipt = lake.purge(key) if by == "key" else lake.purge(prefix="canary/")
        assert receipt.remains == LEFT_BEHIND
        assert not holding(tmp_path)
        assert lake.search("canary").total == lake.at("s").search("canary").total == 0
        assert lake.search("word").total == lake.at("s").search("word").total == 5
