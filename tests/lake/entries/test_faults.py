"""Whatever goes wrong in the storage: the previous value stands, nothing dangles, a retry works."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lakebed.errors import ConflictError, CorruptionError, LakebedError, StorageError
from lakebed.lake.lake import Lake
from lakebed.objects.local import LocalStore
from lakebed.testing import FaultyStore, open_lake
from lakebed.testing.faults import FAULTS, Fault

OLD, NEW, OTHER = "old" * 100, "new" * 100, "other" * 100
Action = Callable[[Lake], object]


def store_new(lake: Lake) -> None:
    lake.store("a", NEW, {"new": True})


def transaction(lake: Lake) -> None:
    with lake.transaction() as tx:
        tx.store("a", NEW, {"new": True})
        tx.store("b", OTHER)
        tx.delete("gone")


def batch(lake: Lake) -> None:
    lake.store_batch(
        [
            {"key": "a", "value": NEW, "metadata": {"new": True}},
            {"key": "b", "value": OTHER},
        ]
    )


AFTER = {
    store_new: {"a": (NEW, {"new": True}), "gone": (OLD, {})},
    transaction: {"a": (NEW, {"new": True}), "b": (OTHER, {})},
    batch: {"a": (NEW, {"new": True}), "b": (OTHER, {}), "gone": (OLD, {})},
}
BEFORE = {"a": (OLD, {"old": True}), "gone": (OLD, {})}


@pytest.fixture
def faulty(tmp_path: Path) -> FaultyStore:
    return FaultyStore(LocalStore(tmp_path / "lake"))


@pytest.fixture
def lake(tmp_path: Path, faulty: FaultyStore) -> Iterator[Lake]:
    with open_lake(tmp_path / "lake", objects=faulty, inline_threshold=10) as lake:
        lake.store("a", OLD, {"old": True})
        lake.store("gone", OLD)
        yield lake


def contents(lake: Lake) -> dict[str, tuple[Any, dict[str, Any]]]:
    """Every entry, its value read and checked against its hash by the lake."""
    return {entry.key: (entry.value, entry.metadata) for entry in lake.list()}


def calls_of(action: Action, tmp_path: Path) -> int:
    """How many calls of the storage an action makes."""
    store = FaultyStore(LocalStore(tmp_path / "counted"))
    with open_lake(tmp_path / "counted", objects=store, inline_threshold=10) as lake:
        lake.store("a", OLD, {"old": True})
        lake.store("gone", OLD)
        store.plan()
        action(lake)
        return len(store.calls)


@pytest.mark.parametrize("fault", ["fail", "lose", "late"])
@pytest.mark.parametrize("action", AFTER)
def test_a_failed_write_changes_nothing(
    lake: Lake, faulty: FaultyStore, tmp_path: Path, action: Action, fault: Fault
) -> None:
    count = calls_of(action, tmp_path)
    assert count
    for number in range(count):
        stats = lake.stats()
        faulty.plan({number: fault})
        with pytest.raises(StorageError, match="injected") as caught:
            action(lake)
        assert caught.value.error_type == "storage_error"
        faulty.plan()
        assert contents(lake) == BEFORE
        assert lake.stats() == stats
    action(lake)
    faulty.arrive()
    assert contents(lake) == AFTER[action]


@pytest.mark.parametrize("action", AFTER)
def test_a_write_that_arrives_behind_its_delete(
    lake: Lake, faulty: FaultyStore, tmp_path: Path, action: Action
) -> None:
    """It was given up, stored again under another name, and its name deleted; then it arrives."""
    for number in range(calls_of(action, tmp_path)):
        faulty.plan({number: "late"})
        with pytest.raises(StorageError, match="injected"):
            action(lake)
        faulty.plan()
        lake.collect(grace=0)
    action(lake)
    files = {path for path in (tmp_path / "lake").rglob("*") if path.is_file()}
    faulty.arrive()
    late = {path for path in (tmp_path / "lake").rglob("*") if path.is_file()} - files
    assert late
    assert contents(lake) == AFTER[action]
    assert lake.collect(0, 0, orphans=True).orphans == len(late)
    assert not any(path.exists() for path in late)
    assert contents(lake) == AFTER[action]
    assert not lake.verify().problems


@pytest.mark.parametrize("action", AFTER)
def test_a_slow_write_works(
    lake: Lake, faulty: FaultyStore, tmp_path: Path, action: Action
) -> None:
    faulty.plan(dict.fromkeys(range(calls_of(action, tmp_path)), "delay"))
    action(lake)
    assert contents(lake) == AFTER[action]


@pytest.mark.parametrize("action", AFTER)
def test_what_a_failed_write_left_is_noted_as_garbage(
    lake: Lake, faulty: FaultyStore, tmp_path: Path, action: Action
) -> None:
    for number in range(calls_of(action, tmp_path)):
        faulty.plan({number: "lose"})
        with pytest.raises(StorageError):
            action(lake)
    fetch = lake._catalog._executor.fetch  # type: ignore[attr-defined]
    assert fetch("SELECT uri FROM pending", {}) == []
    trash = {uri for (uri,) in fetch("SELECT uri FROM trash", {})}
    named = {uri for (uri,) in fetch("SELECT uri FROM object WHERE uri IS NOT NULL", {})}
    store = LocalStore(tmp_path / "lake")
    files = {file.path for part in ("objects", "packs") for file in store.list(part)}
    assert named <= files <= named | trash  # an upload that never began is noted too
    assert not named & trash


@pytest.mark.parametrize("action", [store_new, transaction])
def test_a_silently_cut_write_is_found_out_on_reading(
    lake: Lake, faulty: FaultyStore, action: Action
) -> None:
    """A storage that loses half and says nothing cannot be noticed before: never a wrong value."""
    faulty.plan({0: "truncate"})
    action(lake)
    faulty.plan()
    damaged = lake.entry("a")
    assert damaged is not None
    with pytest.raises(CorruptionError, match=rf"'a'.*{damaged.content_hash}"):
        lake.retrieve("a", None)
    others = {entry.key: entry.value for entry in lake.list() if entry.key != "a"}
    assert others == {key: value for key, (value, _) in AFTER[action].items() if key != "a"}
    lake.store("a", OLD)
    assert lake["a"] == OLD


@pytest.mark.parametrize("fault", FAULTS)
def test_reading(lake: Lake, faulty: FaultyStore, fault: Fault) -> None:
    faulty.plan({0: fault})
    if fault == "delay":
        assert lake["a"] == OLD
    else:
        expected = CorruptionError if fault == "truncate" else StorageError
        with pytest.raises(expected):
            lake.retrieve("a", None)
    assert lake["a"] == OLD


def test_a_missing_object(lake: Lake, tmp_path: Path) -> None:
    lake.store("b", "inline")
    (file,) = (path for path in (tmp_path / "lake/objects").rglob("*") if path.is_file())
    file.unlink()
    with pytest.raises(CorruptionError, match=r"'a'.*sha256:.*missing"):
        lake.retrieve("a")
    entry = lake.entry("a")
    assert entry is not None
    with pytest.raises(CorruptionError):
        _ = entry.value
    assert lake["b"] == "inline"
    assert lake.delete("a") is True
    with lake.transaction() as tx:
        assert tx.delete("gone") is True
    assert list(lake) == ["b"]


def test_changed_bytes(lake: Lake, tmp_path: Path) -> None:
    (file,) = (path for path in (tmp_path / "lake/objects").rglob("*") if path.is_file())
    file.write_bytes(file.read_bytes().replace(b"o", b"0", 1))
    with pytest.raises(CorruptionError, match=r"'a'.*sha256:.*another hash"):
        lake.retrieve("a")


def test_changed_inline_bytes(lake: Lake) -> None:
    lake.store("b", "inline")
    executor = lake._catalog._executor  # type: ignore[attr-defined]
    flip = "UPDATE object SET inline_value = X'00' WHERE inline_value IS NOT NULL"
    executor.transact(lambda tx: tx.run(flip, {}))
    with pytest.raises(CorruptionError, match=r"'b'.*the catalog have another hash"):
        lake.retrieve("b")


def test_a_condition_that_fails_after_the_upload(lake: Lake, faulty: FaultyStore) -> None:
    faulty.plan()
    with pytest.raises(ConflictError):
        lake.store("a", NEW, if_absent=True)
    assert contents(lake) == BEFORE


def test_the_error_of_the_storage_is_the_one_told(
    lake: Lake, faulty: FaultyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Noting the garbage fails as well, as on a full disk: that must not hide the reason."""

    def discard(paths: object) -> None:  # noqa: ARG001 - as the catalog is called
        raise LakebedError("no room for notes")

    monkeypatch.setattr(lake._catalog, "discard", discard)
    for action in AFTER:
        faulty.plan({0: "fail"})
        with pytest.raises(StorageError, match="injected"):
            action(lake)
    assert contents(lake) == BEFORE
