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
from lakebed.catalog.executors import scrubbing
from lakebed.catalog.executors.sqlite import SQLiteExecutor
from lakebed.model import EntryRow

CANARY = b"canar"  # its stem, which the text index holds, begins so
LEFT_BEHIND = [
    "files that killed writers left and the catalog does not know: collect(orphans=True) deletes "
    "those older than a day",
    "backups of the catalog and the storage, and published copies",
]


def holding(folder: Path) -> set[str]:
    """The files under a folder that hold the word."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.name for path in found if CANARY in path.read_bytes()}


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
            time.sleep(0.01)
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

        def read(rows: Iterable[EntryRow]) -> Iterator[tuple[str, Any]]:
            values = list(lake._read_values(rows))
            other.purge("k")
            yield from values

        lake._catalog.tidy_search(read, lambda: False)
        assert not holding(tmp_path)
        assert lake.search("word").total == 1


def test_a_catalog_too_large_to_be_written_anew_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scrubbing, "_MOST", 1000)
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
