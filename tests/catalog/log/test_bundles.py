"""Bundles: who is far behind needs few requests, and whatever happens to a bundle is harmless."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from lakebed.catalog.log import bases, bundles
from lakebed.catalog.log import log as logs
from lakebed.catalog.log.items import from_bytes
from lakebed.errors import ConnectError
from lakebed.lake.lake import Lake
from lakebed.testing.log_faults import MemoryLogStore
from tests.catalog.log.blocks import SIZE, check_bundles, small_blocks
from tests.catalog.log.test_faults import check_log, lake_on, plain

COMMITS = 60
WORD = "what-nobody-must-find"


@pytest.fixture(autouse=True)
def _small() -> Iterator[None]:
    with small_blocks(), patch.object(bases, "_LEAST_BYTES", 1 << 30):  # bases are made by tests
        yield


class Store(MemoryLogStore):
    """Notes what is asked for."""

    def __init__(self, item_bytes: int = 1 << 20) -> None:
        super().__init__(item_bytes)
        self.asked = Counter[str]()

    def get(self, name: str) -> bytes | None:
        self.asked[name] += 1
        return super().get(name)

    def bundles(self) -> dict[str, str]:
        """The kinds of all bundles."""
        return {
            name: from_bytes(name, data).kind
            for name, data in self.items.items()
            if name.startswith("bundle/") and name != bundles.SWEPT
        }


def fill(store: MemoryLogStore, folder: Path, word: str = "x") -> None:
    with lake_on(store, folder) as lake:
        for n in range(COMMITS):
            lake.store(f"k/{n}", f"{word} {n}")


def look(store: MemoryLogStore, folder: Path, word: str = "x") -> None:
    """A client without a copy has everything, and goes on."""
    with lake_on(store, folder) as lake:
        assert dict(lake.items()) == {f"k/{n}": f"{word} {n}" for n in range(COMMITS)}
        assert not lake.verify().problems
        lake.store("k/0", f"{word} 0")
    check_log(store)


def make_base(lake: Lake) -> None:
    executor: Any = lake._catalog._executor  # type: ignore[attr-defined]
    executor.make_base(forced=True)


def test_a_new_client_reads_bundles(tmp_path: Path) -> None:
    store = Store()
    fill(store, tmp_path / "a")
    whole = check_log(store) // SIZE
    assert store.bundles() == {f"bundle/{k}": "bundle" for k in range(whole)}
    with patch.object(logs, "_BLOCKS", 8):
        store.asked.clear()
        look(store, tmp_path / "b")
    commits = [name for name in store.asked if name.startswith("log/")]
    assert len(commits) < COMMITS
    assert set(store.bundles()) <= set(store.asked)


def test_who_slept_long_reads_bundles(tmp_path: Path) -> None:
    store = Store()
    with lake_on(store, tmp_path / "a") as asleep:
        asleep.store("k/0", 0)
        fill(store, tmp_path / "b")
        store.asked.clear()
        assert asleep.retrieve(f"k/{COMMITS - 1}") == f"x {COMMITS - 1}"
        assert len([name for name in store.asked if name.startswith("bundle/")]) > 8
        look(store, tmp_path / "c")


def test_clients_that_come_and_go_make_bundles(tmp_path: Path) -> None:
    """Each has a copy, and has seen hardly a commit itself."""
    store = Store()
    for n in range(COMMITS):
        with lake_on(store, tmp_path / "a") as lake:
            lake.store(f"k/{n}", f"x {n}")
    assert len(store.bundles()) == check_log(store) // SIZE
    look(store, tmp_path / "b")


@pytest.mark.parametrize("item_bytes", [4096, 1 << 20])
def test_large_commits_stay_where_they_are(tmp_path: Path, item_bytes: int) -> None:
    store = Store(item_bytes)
    with lake_on(store, tmp_path / "a") as lake:
        for n in range(COMMITS):
            noise = "".join(chr(0x4E00 + (i * i * (n + 7)) % 20_000) for i in range(3000 * (n % 2)))
            lake.store(f"k/{n}", f"x {n}{noise}")
        assert store.bundles()
        assert all(len(store.items[name]) <= min(item_bytes, 20_000) for name in store.bundles())
        with lake_on(store, tmp_path / "b") as other:
            assert dict(other.items()) == dict(lake.items())
    check_log(store)


def test_a_store_does_not_wait_for_a_bundle(tmp_path: Path) -> None:
    store, opened, waits = Store(), threading.Event(), threading.Event()
    put_new = store.put_new

    def put_slowly(name: str, data: bytes) -> bool:
        if name.startswith("bundle/"):
            waits.set()
            assert opened.wait(30)
        return put_new(name, data)

    with lake_on(store, tmp_path / "a") as lake, patch.object(store, "put_new", put_slowly):
        for n in range(COMMITS):
            lake.store(f"k/{n}", f"x {n}")
        assert waits.wait(30)
        assert not store.bundles()
        look(store, tmp_path / "b")
        opened.set()
        lake.store("k/1", "x 1")
    assert len(store.bundles()) == check_log(store) // SIZE


@pytest.mark.parametrize(
    "how", ["gone", "changed", "shorter", "exchanged", "foreign", "newer", "junk"]
)
def test_a_bundle_that_does_not_fit_is_not_used(tmp_path: Path, how: str) -> None:
    store, other = Store(), Store()
    fill(store, tmp_path / "a")
    fill(other, tmp_path / "b", "another")
    names = sorted(store.bundles())
    for at, name in enumerate(names):
        data = store.items[name]
        middle = len(data) // 2
        store.items[name] = {
            "gone": b"",
            "changed": data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :],
            "shorter": data[:-1],
            "exchanged": store.items[names[(at + 1) % len(names)]] if at % 2 else data,
            "foreign": other.items[name],
            "newer": data.replace(b"lakebed-log/1", b"lakebed-log/2", 1),
            "junk": b"no item",
        }[how]
        if how == "gone":
            del store.items[name]
    with lake_on(store, tmp_path / "c") as lake:
        assert dict(lake.items()) == {f"k/{n}": f"x {n}" for n in range(COMMITS)}
        assert not lake.verify().problems


def test_bundles_that_cannot_be_reached_are_not_missed(tmp_path: Path) -> None:
    store = Store()
    put_new, get = store.put_new, store.get

    def refuse(name: str) -> None:
        if name.startswith("bundle/"):
            raise ConnectError("injected: 403", "auth_failed")

    def put_some(name: str, data: bytes) -> bool:
        refuse(name)
        return put_new(name, data)

    def get_some(name: str) -> bytes | None:
        refuse(name)
        return get(name)

    with patch.object(store, "put_new", put_some), patch.object(store, "get", get_some):
        fill(store, tmp_path / "a")
        look(store, tmp_path / "b")
    assert not store.bundles()


def test_a_base_overwrites_bundles_and_what_may_become_one(tmp_path: Path) -> None:
    store = Store()
    fill(store, tmp_path / "a")
    del store.items["bundle/2"]  # whose maker was killed, or is slow
    with lake_on(store, tmp_path / "a") as lake:
        make_base(lake)
        covered = from_bytes("", store.items["base/newest"]).n
        kinds = store.bundles()
        for block in range(bundles.block_of(covered) + 1):
            assert kinds.pop(f"bundle/{block}") == "tombstone"
            assert not store.put_new(f"bundle/{block}", b"too late")
        assert set(kinds.values()) <= {"bundle"}
        for n in range(COMMITS):
            lake.store(f"k/{n}", f"y {n}")
    look(store, tmp_path / "b", "y")
    assert "bundle" in store.bundles().values()


def test_a_sweep_that_was_killed_is_repeated_by_the_next_base(tmp_path: Path) -> None:
    store = Store()
    fill(store, tmp_path / "a")
    put = store.put

    def die(name: str, data: bytes) -> None:
        if name == "bundle/5":
            raise KeyboardInterrupt
        put(name, data)

    with lake_on(store, tmp_path / "a") as lake:
        with patch.object(store, "put", die), pytest.raises(KeyboardInterrupt):
            make_base(lake)
        assert store.bundles()["bundle/5"] == "bundle"
        assert bundles.SWEPT not in store.items
        look(store, tmp_path / "b")
        make_base(lake)
        covered = from_bytes("", store.items["base/newest"]).n
    for block in range(bundles.block_of(covered) + 1):
        assert store.bundles()[f"bundle/{block}"] == "tombstone"
    look(store, tmp_path / "c")


@pytest.mark.parametrize("late", [False, True])
def test_a_purge_leaves_nothing_in_bundles(tmp_path: Path, late: bool) -> None:
    store, coming = Store(), list[tuple[str, bytes]]()
    put_new = store.put_new

    def put_later(name: str, data: bytes) -> bool:
        if not (late and name.startswith("bundle/")):
            return put_new(name, data)
        coming.append((name, data))
        raise ConnectError("injected: no answer", "auth_failed")

    with patch.object(store, "put_new", put_later), lake_on(store, tmp_path / "a") as lake:
        for n in range(COMMITS):
            lake.store(f"k/{n}", f"{WORD} {n}" if n % 3 else f"x {n}")
        assert late or WORD in "".join(plain(name, store.items[name]) for name in store.bundles())
        lake.purge(prefix="k/")
        with patch.object(bases, "_GRACE", -1):
            lake.maintain()
        for n in range(COMMITS):
            lake.store(f"k/{n}", f"y {n}")
    assert not late or WORD in "".join(plain(*one) for one in coming)
    for name, data in coming:
        put_new(name, data)
    for name, data in store.items.items():
        assert WORD not in plain(name, data), name
    look(store, tmp_path / "b", "y")


def test_clients_without_bundles_and_with_them(tmp_path: Path) -> None:
    """An older client makes no bundles, reads none, and leaves them where its base replaces
    commits. The next base of a newer one overwrites them."""
    store = Store()

    def older() -> Any:
        return patch.multiple(logs.Log, put_bundle=lambda *_: None, _sweep=lambda *_: None)

    with lake_on(store, tmp_path / "new") as new, lake_on(store, tmp_path / "old") as old:
        for n in range(COMMITS):
            if n % 20 < 10:
                new.store(f"k/{n}", f"x {n}")
            else:
                with older():
                    old.store(f"k/{n}", f"x {n}")
        made = store.bundles()
        assert 0 < len(made) < check_log(store) // SIZE
        look(store, tmp_path / "b")
        with older():
            make_base(old)
        assert store.bundles().items() >= made.items()
        look(store, tmp_path / "c")
        make_base(new)
        assert all(store.bundles()[name] == "tombstone" for name in made)
        look(store, tmp_path / "d")
    assert check_bundles(store.history) >= len(made)
