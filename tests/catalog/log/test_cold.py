"""Clients without a copy: the newest base comes straight into their file, whole or not at all."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from lakebed.catalog.log import bases, copy
from lakebed.catalog.log import log as logs
from lakebed.catalog.log.items import from_bytes
from lakebed.errors import CorruptionError, LockTimeoutError
from lakebed.lake.lake import Lake
from lakebed.testing.log_faults import MemoryLogStore
from tests.catalog.log.kills import opened
from tests.catalog.log.test_faults import check_log, lake_on

PIECE = 4096


@pytest.fixture
def store() -> Iterator[MemoryLogStore]:
    """A store in which bases come in many parts."""
    with patch.object(logs, "_PIECE_BYTES", PIECE):
        yield MemoryLogStore()


def make_base(lake: Lake) -> bool:
    executor: Any = lake._catalog._executor  # type: ignore[attr-defined]
    return bool(executor.make_base(forced=True))


def fill(lake: Lake, word: str = "x") -> None:
    lake.store_batch({"key": f"{word}/{n}", "value": f"{word} {n * n * 7919}"} for n in range(500))


def base_parts(store: MemoryLogStore) -> list[str]:
    """The names of the parts of the newest base."""
    newest = from_bytes("", store.items["base/newest"])
    head = from_bytes("", store.items[newest.base])
    return [f"part/{head.token}-{n}" for n in range(head.parts)]


def test_a_base_in_parts(store: MemoryLogStore, tmp_path: Path) -> None:
    with lake_on(store, tmp_path / "a") as one:
        fill(one)
        assert make_base(one)
        parts = base_parts(store)
        assert len(parts) > 3
        assert all(len(store.items[name]) <= PIECE for name in parts)
        for n in range(40):  # more than are asked for at once
            one.store(f"since/{n}", n)
        with lake_on(store, tmp_path / "b") as new:
            assert len(new) == 540
            assert new.retrieve("since/39") == 39
            one.store("later", 1)
            assert new.retrieve("later") == 1
            new.store("other", 2)
            assert one.retrieve("other") == 2
            assert not new.verify().problems
    check_log(store)


def test_a_base_that_is_replaced_while_it_is_read(store: MemoryLogStore, tmp_path: Path) -> None:
    with lake_on(store, tmp_path / "a") as one:
        fill(one)
        make_base(one)
        hint, parts = store.items["base/newest"], base_parts(store)
        fill(one, "y")
        make_base(one)
        store.items["base/newest"] = hint  # as a store that lags would tell it
        del store.items[parts[-1]]
        with lake_on(store, tmp_path / "b") as new:
            assert len(new) == 1000
            assert not new.verify().problems
    assert not list(tmp_path.rglob("*-new"))
    check_log(store)


@pytest.mark.parametrize("how", ["changed", "shorter", "exchanged"])
def test_a_damaged_base(store: MemoryLogStore, tmp_path: Path, how: str) -> None:
    with lake_on(store, tmp_path / "a") as one:
        fill(one)
        make_base(one)
    parts = base_parts(store)
    first, last = store.items[parts[0]], store.items[parts[-1]]
    middle = len(first) // 2
    if how == "changed":
        store.items[parts[0]] = first[:middle] + bytes([first[middle] ^ 1]) + first[middle + 1 :]
    elif how == "shorter":
        store.items[parts[-1]] = last[:-1]
    else:
        store.items[parts[0]], store.items[parts[1]] = store.items[parts[1]], first
    with pytest.raises(CorruptionError, match="is damaged"):
        lake_on(store, tmp_path / "b")
    assert not [path for path in (tmp_path / "b").rglob("0.*") if path.suffix != ".lock"]


@pytest.mark.parametrize("parts_only", [True, False])
def test_who_is_killed_while_a_base_goes_leaves_it_to_the_next(
    store: MemoryLogStore, tmp_path: Path, parts_only: bool
) -> None:
    with lake_on(store, tmp_path) as lake:
        fill(lake)
        make_base(lake)
        name = from_bytes("", store.items["base/newest"]).base
        parts = base_parts(store)
        assert len(parts) > 3
        if parts_only:  # its maker was killed before it put the base itself
            del store.items[name]
        log: Any = lake._catalog.log  # type: ignore[attr-defined]
        delete, gone = store.delete, []

        def dying(of: str) -> None:
            if len(gone) == 2:
                raise KeyboardInterrupt
            delete(of)
            gone.append(of)

        with patch.object(store, "delete", dying), pytest.raises(KeyboardInterrupt):
            log.drop_base(name)
        assert len(store.items.keys() & set(parts)) == len(parts) - 2
        log.drop_base(name)
        assert not store.items.keys() & {name, *parts}


def test_a_copy_that_a_base_has_left_behind_is_begun_anew(
    store: MemoryLogStore, tmp_path: Path
) -> None:
    with lake_on(store, tmp_path / "a") as one:
        fill(one)
        with lake_on(store, tmp_path / "b") as other:
            assert len(other) == 500
        (copy,) = (tmp_path / "b").rglob("0.db")
        one.store("new", 1)
        with patch.object(bases, "_GRACE", -1):
            make_base(one)
            one.store("newer", 2)
        with copy.open("rb") as before, lake_on(store, tmp_path / "b") as other:
            assert (other.retrieve("new"), other.retrieve("newer")) == (1, 2)
            assert copy.stat().st_ino != os.fstat(before.fileno()).st_ino
            assert not other.verify().problems
    check_log(store)


class AskedStore(MemoryLogStore):
    """Notes what is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = Counter[str]()

    def get(self, name: str) -> bytes | None:
        self.asked[name] += 1
        return super().get(name)


@pytest.mark.parametrize("based", [True, False])
def test_opening_asks_for_nothing_twice(tmp_path: Path, based: bool) -> None:
    store = AskedStore()

    def opened(cache: str, expected: int) -> Counter[str]:
        store.asked.clear()
        with lake_on(store, tmp_path / cache) as lake:
            asked = store.asked.copy()
            assert lake.retrieve("n") == expected
            assert store.asked.total() == asked.total() + 1
        assert max(asked.values()) == 1
        return asked

    with lake_on(store, tmp_path / "a") as lake:
        fill(lake)
        if based:
            make_base(lake)
        for n in range(3):
            lake.store("n", n)
        cold = opened("b", 2)
        assert cold["base/newest"] == 1
        lake.store("n", 3)
        warm = opened("b", 3)
        assert not [name for name in warm if name.startswith("base/")]
    check_log(store)


def test_another_program_that_locks_a_copy(store: MemoryLogStore, tmp_path: Path) -> None:
    with lake_on(store, tmp_path / "a") as one, lake_on(store, tmp_path / "b") as other:
        one.store("n", 1)
        (file,) = (tmp_path / "b").rglob("0.db")
        there = sqlite3.connect(file, isolation_level=None)
        there.execute("BEGIN IMMEDIATE")
        with (
            patch.object(copy, "_LOCK_SECONDS", 0.05),
            pytest.raises(LockTimeoutError, match="another program holds the write lock of"),
        ):
            other.retrieve("n")
        there.execute("ROLLBACK")
        there.close()
        assert other.retrieve("n") == 1
        other.store("n", 2)
        assert one.retrieve("n") == 2
    check_log(store)


OPEN = """
import resource, sys
from pathlib import Path
from tests.catalog.log.kills import Death, opened
folder, what = Path(sys.argv[1]), sys.argv[2]
if what == "no room":
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
    opened(folder, cache="copy")
else:
    opened(folder, Death("get", "part", 3, 1.0), cache="copy")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals and limits")
@pytest.mark.parametrize("what", ["killed", "no room"])
def test_half_a_base_is_left_to_nobody(tmp_path: Path, what: str) -> None:
    with patch.object(logs, "_PIECE_BYTES", PIECE), opened(tmp_path) as lake:
        fill(lake)
        make_base(lake)
    ran = subprocess.run(
        [sys.executable, "-c", OPEN, tmp_path, what],
        capture_output=True, check=False, text=True, cwd=Path(__file__).parents[3],
    )  # fmt: skip
    if what == "killed":
        assert ran.returncode == -signal.SIGKILL, ran.stderr[-3000:]
    else:
        assert "StorageError: cannot write a copy of the catalog to " in ran.stderr
        assert not list((tmp_path / "copy").rglob("*-new"))
    assert not list((tmp_path / "copy").rglob("*.db"))
    with opened(tmp_path, cache="copy") as lake:
        assert len(lake) == 500
        assert not lake.verify().problems
    assert {path.name for path in (tmp_path / "copy").rglob("0.*")} == {
        "0.db", "0.json", "0.lock",
    }  # fmt: skip
