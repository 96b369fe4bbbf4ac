"""Locks in a SQLite file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from lakebed.errors import ConfigurationError, StorageError
from lakebed.locks import Lock, create_lock
from lakebed.testing import LockConformance
from tests.locks.processes import LockProcesses


class TestSQLite(LockConformance, LockProcesses):
    kind = "sqlite"

    @pytest.fixture
    def place(self, tmp_path: Path) -> str:
        return str(tmp_path / "locks.db")

    @pytest.fixture
    def options(self, place: str) -> Mapping[str, object]:
        return {"path": place}

    def create(self, place: Any, name: str, ttl: Any, **options: Any) -> Lock:
        return create_lock("sqlite", name, ttl, path=place, **options)


def test_what_cannot_be_a_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="path"):
        create_lock("sqlite", "a", path="")
    with pytest.raises(ConfigurationError, match="path"):
        create_lock("sqlite", "a")
    with pytest.raises(StorageError, match="file of the lock 'a'"):
        create_lock("sqlite", "a", path=tmp_path / "none" / "locks.db").acquire()
    (tmp_path / "text").write_text("no database" * 100)
    with pytest.raises(StorageError, match="file of the lock 'a'"):
        create_lock("sqlite", "a", path=tmp_path / "text").acquire()
