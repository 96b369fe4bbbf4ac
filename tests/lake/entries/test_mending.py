"""A store is acknowledged only if it can be read: who brings the bytes mends what was lost."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pyarrow as pa
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import lakebed
from lakebed.catalog.opened import CatalogOptions
from lakebed.catalog.sqlite.opening import open_sqlite
from lakebed.errors import CorruptionError, StorageError
from lakebed.lake.lake import Lake
from lakebed.lake.opening import assemble
from lakebed.objects.opening import open_store
from lakebed.testing.faults import FaultyStore

TABLE = pa.table({"n": range(2000)})
LARGE = "x" * 9000
SMALL = "s" * 200


def files(folder: Path) -> list[Path]:
    return [path for part in ("objects", "packs") for path in (folder / part).rglob("*.*")]


def remove(path: Path) -> None:
    path.unlink()


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def garble(path: Path) -> None:
    """Every byte, so that no value of a pack is spared."""
    path.write_bytes(bytes(byte ^ 0xFF for byte in path.read_bytes()))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


STORES: dict[str, Callable[[Lake, str, Any], object]] = {
    "store": lambda lake, key, value: lake.store(key, value),
    "batch": lambda lake, key, value: lake.store_batch([{"key": key, "value": value}]),
    "one by one": lambda lake, key, value: lake.store_batch(
        [{"key": key, "value": value}], atomic=False
    ),
    "transaction": lambda lake, key, value: _in_transaction(lake, key, value),
}


def _in_transaction(lake: Lake, key: str, value: Any) -> None:
    with lake.transaction() as tx:
        tx.store(key, value)
        tx.store("beside", 1)


def same(found: Any, value: Any) -> bool:
    return bool(found.equals(value) if isinstance(value, pa.Table) else found == value)


@pytest.mark.parametrize("how", STORES)
@pytest.mark.parametrize("key", ["a", "another"])
@pytest.mark.parametrize("lose", [remove, cut, garble])
@pytest.mark.parametrize("place", ["object", "packed", "flushed", "table"])
def test_what_is_lost_is_mended(
    tmp_path: Path, how: str, key: str, lose: Callable[[Path], None], place: str
) -> None:
    value = {"table": TABLE, "flushed": SMALL}.get(place, LARGE)
    with lakebed.open(tmp_path / "lake") as lake:
        if place == "packed":
            lake.store_batch({"key": f"{name}", "value": value + name} for name in "bc")
            lake.store_batch([{"key": "a", "value": value}, {"key": "d", "value": "d" * 9000}])
        else:
            lake["a"] = value
        lake.create_snapshot("s")
        if place == "flushed":
            lake.compact()
        entry = lake.entry("a")
        assert entry is not None
        assert entry.storage_uri is not None
        lose(Path(entry.storage_uri.removeprefix("file://").partition("#")[0]))
        STORES[how](lake, key, value)
        for name in ("a", key):
            assert same(lake[name], value)
        assert same(lake.at("s")["a"], value)
        lost = {key for problem in lake.verify().problems for key in problem.entry_keys}
        assert not {"a", key} & lost
        lake.collect(grace=0)
        assert same(lake[key], value)


def test_the_entry_tells_where_it_lies_now(tmp_path: Path) -> None:
    with lakebed.open(tmp_path / "lake") as lake:
        lake["small"], lake["large"] = SMALL, LARGE
        lake.compact()
        for path in files(tmp_path / "lake"):
            path.unlink()
        for key, value in (("small", SMALL), ("large", LARGE)):
            stored = lake.store(key, value)
            assert stored.deduplicated
            assert stored.value == value
            assert stored.storage_uri is not None
            assert Path(stored.storage_uri.removeprefix("file://")).exists()


def test_verify_with_repair_leaves_it_to_the_next_store(tmp_path: Path) -> None:
    with lakebed.open(tmp_path / "lake") as lake:
        lake["a"] = LARGE
        for path in files(tmp_path / "lake"):
            flip(path)
        (problem,) = lake.verify(repair=True).problems
        assert not problem.repaired
        lake["b"] = LARGE
        assert lake["a"] == lake["b"] == LARGE
        assert not lake.verify().problems


def test_a_failure_to_mend_stores_nothing(tmp_path: Path) -> None:
    opened = open_sqlite(tmp_path / "c.db", CatalogOptions())
    store = FaultyStore(open_store(str(tmp_path / "storage")))
    with assemble(opened, store, "") as lake:
        lake["a"], lake["b"] = LARGE, 1
        for path in files(tmp_path / "storage"):
            path.unlink()
        store.plan(dict.fromkeys(range(20), "fail"))
        with pytest.raises(StorageError, match="injected"):
            lake["b"] = LARGE
        store.plan()
        assert lake["b"] == 1
        lake["b"] = LARGE
        assert lake["a"] == LARGE
        assert not lake.verify().problems


@pytest.mark.parametrize("lose", [remove, garble, None])
def test_a_small_store_does_not_fail_after_its_commit(
    tmp_path: Path, lose: Callable[[Path], None] | None
) -> None:
    """Its content lies in a pack that the storage cannot read or replace: it goes inline."""
    opened = open_sqlite(tmp_path / "c.db", CatalogOptions())
    store = FaultyStore(open_store(str(tmp_path / "storage")))
    with assemble(opened, store, "") as lake:
        lake["a"] = SMALL
        lake.create_snapshot("before")
        lake.compact()
        lake["b"] = 1
        for path in files(tmp_path / "storage"):
            if lose is not None:
                lose(path)
        store.plan(dict.fromkeys(range(50), "fail"))
        stored = lake.store("b", SMALL)
        assert stored.deduplicated
        assert stored.inlined
        assert stored.storage_uri is None
        with lake.transaction() as tx:
            tx.store("c", SMALL)
        assert lake["a"] == lake["b"] == lake["c"] == lake.at("before")["a"] == SMALL
        store.plan()
        lake.compact()
        lake.collect(grace=0)
        assert lake["a"] == lake["b"] == SMALL
        assert not lake.verify().problems


@pytest.mark.parametrize("large", [False, True])
def test_in_a_bucket_a_client_looks_once(tmp_path: Path, large: bool) -> None:
    """And again once it has found the content missing or damaged."""
    value = "x" * (3 << 20 if large else 9000)
    uri = f"memory://mending-{os.getpid()}-{tmp_path.name}"
    inner = open_store(uri)
    store = FaultyStore(inner)
    with assemble(open_sqlite(tmp_path / "c.db", CatalogOptions()), store, "") as lake:
        entry = lake.store("a", value)
        assert entry.storage_uri is not None
        path = entry.storage_uri.removeprefix(inner.uri(""))
        for number in range(3):
            store.plan()
            lake[f"b{number}"] = value
            looked = [call.name for call in store.calls]
            assert looked == (["size" if large else "read"] if number == 0 else [])
        inner.write(path, inner.read(path)[:-1] + b"?")
        with pytest.raises(CorruptionError):
            lake["a"]
        assert lake.store("c", value).value == value
        assert lake["a"] == value
        moved = lake.entry("a")
        assert moved is not None
        assert moved.storage_uri is not None
        inner.delete([moved.storage_uri.removeprefix(inner.uri(""))])
        assert lake.verify().problems
        lake.store_batch([{"key": "d", "value": value}])
        assert dict(lake.items()) == dict.fromkeys(["a", "b0", "b1", "b2", "c", "d"], value)
        assert not lake.verify().problems


VALUES = [f"{letter}" * size for letter in "xyz" for size in (150, 700, 5000)] + [TABLE]
KEYS = st.sampled_from("abcdef")
VALUE = st.integers(0, len(VALUES) - 1)


class LosingMachine(RuleBasedStateMachine):
    """Objects are deleted and damaged between calls: a key whose store was acknowledged after the
    last loss can be read, at the present and in a snapshot; others give their value or an error."""

    folder: Path
    turn = 0

    @initialize()
    def open(self) -> None:
        type(self).turn += 1
        self.path = self.folder / f"{self.turn}"
        self.lake = lakebed.open(self.path, inline_threshold=200)
        self.model: dict[str, int] = {}
        self.whole: set[int] = set()  # contents acknowledged since the last loss
        self.snapshots: dict[str, dict[str, int]] = {}

    @rule(key=KEYS, value=VALUE)
    def store(self, key: str, value: int) -> None:
        stored = self.lake.store(key, VALUES[value])
        assert same(stored.value, VALUES[value])
        self._acknowledged({key: value})

    @rule(values=st.dictionaries(KEYS, VALUE, min_size=1), atomic=st.booleans())
    def store_batch(self, values: dict[str, int], atomic: bool) -> None:
        entries = [{"key": key, "value": VALUES[value]} for key, value in values.items()]
        assert not self.lake.store_batch(entries, atomic=atomic).errors
        self._acknowledged(values)

    @rule(values=st.dictionaries(KEYS, VALUE, min_size=1))
    def transact(self, values: dict[str, int]) -> None:
        with self.lake.transaction() as tx:
            for key, value in values.items():
                tx.store(key, VALUES[value])
        self._acknowledged(values)

    def _acknowledged(self, values: dict[str, int]) -> None:
        self.model |= values
        self.whole |= set(values.values())

    @rule(key=KEYS)
    def delete(self, key: str) -> None:
        assert self.lake.delete(key) == (self.model.pop(key, None) is not None)

    @precondition(lambda self: len(self.snapshots) < 3)
    @rule()
    def snapshot(self) -> None:
        name = f"s{len(self.snapshots)}"
        self.lake.create_snapshot(name)
        self.snapshots[name] = dict(self.model)

    @rule()
    def compact(self) -> None:
        self.lake.compact()

    @rule()
    def collect(self) -> None:
        self.lake.collect(grace=0)

    @rule(repair=st.booleans())
    def verify(self, repair: bool) -> None:
        self.lake.verify(repair=repair)

    @rule()
    def reopen(self) -> None:
        self.lake.close()
        self.lake = lakebed.open(self.path)

    @rule(place=st.integers(0, 50), how=st.sampled_from([remove, flip, garble, cut]))
    def lose(self, place: int, how: Callable[[Path], None]) -> None:
        found = sorted(files(self.path))  # of names that are new each time: none can be drawn
        if found:
            how(found[place % len(found)])
            self.whole = set()

    @invariant()
    def acknowledged_is_readable(self) -> None:
        if not hasattr(self, "lake"):
            return
        for reads, model in (
            (self.lake, self.model),
            *((self.lake.at(name), state) for name, state in self.snapshots.items()),
        ):
            assert list(reads) == sorted(model)
            for key, value in model.items():
                try:
                    assert same(reads[key], VALUES[value])
                except CorruptionError:
                    assert value not in self.whole, f"{key} was acknowledged and cannot be read"

    def teardown(self) -> None:
        if hasattr(self, "lake"):
            self.lake.close()


def test_objects_lost_between_calls(tmp_path: Path, soak: bool) -> None:
    from hypothesis.stateful import run_state_machine_as_test

    machine = type("Machine", (LosingMachine,), {"folder": tmp_path})
    run_state_machine_as_test(
        machine,
        settings=settings(max_examples=500 if soak else 20, stateful_step_count=30, deadline=None),
    )
