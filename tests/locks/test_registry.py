"""Kinds of locks: unknown ones, options, and one's own."""

from __future__ import annotations

import os
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import pytest

from lakebed.errors import ConfigurationError
from lakebed.locks import Lock, create_lock, known_locks, register_lock, registry


class Free(Lock):
    """A lock that everybody gets."""

    count = 0

    def _take(self, owner: str) -> int:
        assert owner
        type(self).count += 1
        return self.count

    def _extend(self, owner: str, token: int) -> bool:
        return bool(owner and token)

    def _free(self, owner: str, token: int) -> bool:
        return bool(owner and token)


@pytest.fixture(autouse=True)
def _as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_makers", dict(registry._makers))


def test_unknown_kinds_and_options(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="unknown kind of lock 'sqlit': did you mean"):
        create_lock("sqlit", "a")
    with pytest.raises(ConfigurationError, match="'pth'"):
        create_lock("sqlite", "a", pth=tmp_path / "x")
    with pytest.raises(ConfigurationError, match="path is missing"):
        create_lock("sqlite", "a")


def test_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    register_lock("free", Free)
    assert "free" in known_locks()
    with create_lock("free", "a", 5) as lock:
        assert isinstance(lock, Free)
    point = EntryPoint("offered", f"{__name__}:Free", registry.ENTRY_POINTS)

    def entry_points(**wanted: Any) -> EntryPoints:
        return EntryPoints([point]).select(**wanted)

    monkeypatch.setattr(registry.metadata, "entry_points", entry_points)
    assert "offered" in known_locks()
    assert isinstance(create_lock("offered", "a"), Free)


def test_a_fork_holds_nothing(tmp_path: Path) -> None:
    lock = create_lock("sqlite", "a", path=tmp_path / "locks.db")
    lock.acquire()
    child = os.fork()
    if child == 0:
        ok = not lock.is_held and lock.token is None and not lock.release()
        os._exit(0 if ok else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert lock.is_held
    lock.refresh()


def test_words(tmp_path: Path) -> None:
    lock = create_lock("sqlite", "a", path=tmp_path / "locks.db")
    assert repr(lock) == "<SQLiteLock 'a', not held>"
    with lock:
        assert repr(lock) == "<SQLiteLock 'a', held>"
