"""Whom Lakebed is compared with: raw SQLite, diskcache, LangGraph's SqliteStore."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import diskcache
from langgraph.store.sqlite import SqliteStore

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
