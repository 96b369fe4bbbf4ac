"""What Lakebed is compared with: raw SQLite, diskcache, LangGraph's SqliteStore."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import diskcache
from langgraph.store.sqlite import SqliteStore

import lakebed
from lakebed.catalog.sqlite import connections
from lakebed.catalog.statements.dialect import SQLITE

RAW_TABLE = 'CREATE TABLE IF NOT EXISTS kv ("key" TEXT PRIMARY KEY, "value" TEXT NOT NULL)'
RAW_UPSERT = "INSERT INTO kv VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
RAW_SELECT = "SELECT value FROM kv WHERE key = ?"


class RawSQLite:
    """One table through sqlite3, in autocommit, with JSON by the standard library."""

    def __init__(self, path: Path, synchronous: str = "NORMAL", timeout: float = 60.0) -> None:
        self.db = sqlite3.connect(
            path, isolation_level=None, timeout=timeout, check_same_thread=False
        )
        self.db.execute("PRAGMA journal_mode = WAL")
        self.db.execute(f"PRAGMA synchronous = {synchronous}")
        self.db.execute(RAW_TABLE)

    def set(self, key: str, value: Any) -> None:
        self.db.execute(RAW_UPSERT, (key, json.dumps(value)))

    def set_many(self, pairs: Iterable[tuple[str, Any]]) -> None:
        self.db.execute("BEGIN IMMEDIATE")
        self.db.executemany(RAW_UPSERT, ((key, json.dumps(value)) for key, value in pairs))
        self.db.execute("COMMIT")

    def get(self, key: str) -> Any:
        return json.loads(self.db.execute(RAW_SELECT, (key,)).fetchone()[0])

    def close(self) -> None:
        self.db.close()


class BareStatements:
    """The statements of a store of a document, on a catalog of ours, through sqlite3 alone: under a
    new key, or in the place of another document.

    What is left when all Python of ours is taken away: no checks, no canonical JSON, no other case
    than this one. No store over these tables can be faster, except that several processes wait for
    each other as SQLite does it.
    """

    def __init__(self, folder: Path) -> None:
        lakebed.open(folder).close()
        self.db = sqlite3.connect(
            folder / "catalog.db", isolation_level=None, timeout=60.0, check_same_thread=False
        )
        for setting in (
            f"cache_size = -{connections.CACHE_KIB}",
            "synchronous = NORMAL",
            f"wal_autocheckpoint = {connections.CHECKPOINT_PAGES}",
            "foreign_keys = ON",
            "secure_delete = ON",
        ):
            self.db.execute(f"PRAGMA {setting}")
        queries = SQLITE.queries()
        self._steps = {
            name: queries[name]
            for name in (
                "lock_entry", "insert_object", "create_entry", "put_entry", "set_meta",
                "drop_object",
            )
        }  # fmt: skip
        self._mutex = threading.Lock()

    def set(self, key: str, value: Any) -> None:
        steps, row = self._steps, _row(key, value)
        with self._mutex:
            cursor = self.db.execute("BEGIN IMMEDIATE")
            version, *_, lost = cursor.execute(steps["lock_entry"], row).fetchone()
            row["version"] = row["value"] = version + 1
            row["object_id"] = cursor.execute(steps["insert_object"], row).lastrowid
            cursor.execute(steps["create_entry" if lost is None else "put_entry"], row)
            cursor.execute(steps["set_meta"], row)
            if lost is not None:
                cursor.execute(steps["drop_object"], {"id": lost})
            cursor.execute("COMMIT")

    def close(self) -> None:
        self.db.close()


def _row(key: str, value: Any) -> dict[str, Any]:
    data = json.dumps(value).encode()
    return {
        "key": key,
        "content_hash": hashlib.sha256(data).digest(),
        "format": "json",
        "byte_size": len(data),
        "inline_value": data,
        "uri": None,
        "pack_id": None,
        "position": None,
        "metadata": "{}",
        "expires_at": None,
        "created_at": 0,
        "now": 0,
        "name": "version",
    }


class DiskCache:
    """diskcache with its defaults: pickles in SQLite, WAL, synchronous NORMAL."""

    def __init__(self, folder: Path) -> None:
        self._cache = diskcache.Cache(folder)
        self.set = self._cache.set
        self.get = self._cache.get

    def close(self) -> None:
        self._cache.close()


class LangGraph:
    """LangGraph's SqliteStore, on a connection set to the durability of the others."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._store = SqliteStore(self._db)
        self._store.setup()
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")

    def set(self, key: str, value: Any) -> None:
        self._store.put(("memory",), key, value)

    def get(self, key: str) -> Any:
        item = self._store.get(("memory",), key)
        assert item is not None
        return item.value

    def close(self) -> None:
        self._db.close()
