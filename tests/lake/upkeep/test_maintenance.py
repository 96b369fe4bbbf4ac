"""All upkeep in one run, flags, and a storage that fails during any of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import BinaryIO

import pytest

from lakebed.errors import LakebedError, ValidationError
from lakebed.lake import checks
from lakebed.lake.lake import Lake
from lakebed.objects.local import LocalStore
from lakebed.objects.store import StoredFile
from lakebed.testing import FakeClock, FaultyStore, open_lake
from lakebed.testing.faults import FAULTS
from tests.lake.upkeep.contents import LARGE, batch, files


class TestMaintain:
    def test_one_run_takes_what_it_made_garbage(self, lake: Lake, clock: FakeClock) -> None:
        values = batch(lake, "p", 20)
        for number in range(15):
            lake.store(f"p/{number:04}", values[f"p/{number:04}"], ttl=10)
        clock.advance(10)
        done = lake.maintain()
        assert (done.expired, done.collected.objects) == (15, 15)
        assert (done.compacted.repacked, done.compacted.packs_given_up) == (5, 1)
        assert done.collected.waiting == 1
        assert done.finished
        clock.advance(3600)
        assert lake.maintain().collected.files == 1
        assert len(files(lake)) == 1

    def test_a_dry_run_tells_and_changes_nothing(self, lake: Lake, clock: FakeClock) -> None:
        values = batch(lake, "p", 20) | batch(lake, "i", 30, "inline " * 10)
        for key in list(values)[:12]:
            del lake[key]
        lake.store("soon", 1, ttl=5)
        lake["h"] = 1
        lake.create_snapshot("s")
        lake["h"] = 2
        lake.drop_snapshot("s")
        lake.collect()  # so that the pack is seen to be worn
        lake["dead"] = LARGE
        del lake["dead"]
        clock.advance(8 * 86_400)
        before = lake.stats(), files(lake), lake._catalog.trash()
        told = lake.maintain(dry_run=True)
        assert (told.expired, told.history, told.dry_run) == (1, 1, True)
        assert (told.compacted.flushed, told.compacted.repacked) == (30, 8)
        assert (told.collected.objects, told.collected.dry_run) == (1, True)
        assert (lake.stats(), files(lake), lake._catalog.trash()) == before
        done = lake.maintain()
        assert (done.expired, done.history) == (told.expired, told.history)
        assert done.compacted == told.compacted

    def test_its_limits_stop_it_and_the_next_run_goes_on(
        self, lake: Lake, clock: FakeClock
    ) -> None:
        batch(lake, "i", 50, "inline " * 11)
        lake.store("soon", 1, ttl=5)
        clock.advance(8 * 86_400)
        done = lake.maintain(max_seconds=0)
        assert not done.finished
        assert (done.expired, done.compacted.flushed) == (0, 0)
        done = lake.maintain(max_bytes=1000, max_seconds=timedelta(minutes=1))
        assert not done.finished
        assert done.expired == 1
        assert 0 < done.compacted.moved_bytes <= 1000
        assert lake.maintain().finished
        assert lake.stats().inline_objects == 0
        for wrong in (-1, "soon", True):
            with pytest.raises(ValidationError, match="max_seconds"):
                lake.maintain(max_seconds=wrong)  # type: ignore[arg-type]

    @pytest.mark.parametrize("slow", ["list", "open_write"])
    def test_files_go_though_listing_or_compacting_takes_all_the_time(
        self, tmp_path: Path, clock: FakeClock, slow: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        passed = [0.0]
        monkeypatch.setattr(checks, "time", SimpleNamespace(monotonic=lambda: passed[0]))

        class Slow(LocalStore):
            def list(self, prefix: str) -> Iterator[StoredFile]:
                passed[0] += 1.2 if slow == "list" else 0
                return super().list(prefix)

            @contextmanager
            def open_write(self, path: str) -> Iterator[BinaryIO]:
                passed[0] += 1.2 if slow == "open_write" else 0
                with super().open_write(path) as file:
                    yield file

        store = Slow(tmp_path)
        with open_lake(tmp_path, clock=clock, objects=store, inline_threshold=100) as lake:
            lake["a"] = LARGE
            batch(lake, "i", 4, "inline " * 11)
            del lake["a"]
            lake.collect()
            clock.advance(8 * 86_400)
            done = lake.maintain(max_seconds=1)
            assert not done.finished
            assert done.collected.files == 1

    def test_a_dry_run_of_each_part(self, lake: Lake, clock: FakeClock) -> None:
        values = batch(lake, "p", 6)
        lake.store("soon", 1, ttl=5)
        lake.create_snapshot("s")
        lake["p/0001"] = "again"
        clock.advance(5)
        assert dict(lake.cleanup_expired(dry_run=True)) == {"deleted": 0, "remaining": 1}
        told = lake.purge(prefix="p/000", dry_run=True)
        assert (told.entries, told.versions, told.packs_rewritten) == (6, 1, 1)
        assert told.bytes == sum(len(f'"{value}"') for value in values.values()) + len('"again"')
        assert told.snapshots == ["s"]
        assert told.dry_run
        assert lake["p/0000"] == values["p/0000"]
        assert lake.at("s")["p/0001"] == values["p/0001"]
        done = lake.purge(prefix="p/000")
        assert (done.entries, done.versions, done.bytes) == (6, 1, told.bytes)


@pytest.mark.parametrize(
    ("operation", "flag"),
    [
        *((name, "dry_run") for name in ("collect", "compact", "maintain", "cleanup_expired")),
        ("collect", "orphans"),
        ("verify", "repair"),
        ("purge", "dry_run"),
    ],
)
@pytest.mark.parametrize("value", [None, 0, "no"])
def test_a_flag_is_true_or_false(lake: Lake, operation: str, flag: str, value: object) -> None:
    lake["a"] = 1
    arguments = {flag: value} | ({"key": "a"} if operation == "purge" else {})
    with pytest.raises(ValidationError, match=flag):
        getattr(lake, operation)(**arguments)
    assert lake["a"] == 1


OPERATIONS = {
    "collect": lambda lake: lake.collect(grace=0),
    "compact": lambda lake: lake.compact(),
    "purge": lambda lake: lake.purge(prefix="p/000"),
    "maintain": lambda lake: lake.maintain(),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_fault_at_any_storage_call_loses_nothing(
    tmp_path: Path, operation: str, fault: str
) -> None:
    """The operation fails or succeeds; what is named is readable, and the next run cleans up."""
    number = calls = 0
    while number <= calls:
        folder = tmp_path / str(number)
        store = FaultyStore(LocalStore(folder))
        with open_lake(folder, objects=store, inline_threshold=100) as lake:
            values = batch(lake, "p", 20) | batch(lake, "q", 4, "inline " * 11)
            lake["alone"] = values["alone"] = LARGE
            for key in list(values)[10:16]:
                del lake[key], values[key]
            lake["gone"] = LARGE + "gone"
            del lake["gone"]
            store.plan({number: fault})  # type: ignore[dict-item]
            try:
                OPERATIONS[operation](lake)
            except LakebedError:
                assert fault != "delay"
            calls = max(calls, len(store.calls))
            store.plan()
            purged = {key for key in values if operation == "purge" and key.startswith("p/000")}
            expected = {key: value for key, value in values.items() if key not in purged}
            assert {key: lake[key] for key in expected} == expected
            OPERATIONS[operation](lake)
            lake.collect(grace=0)
            assert dict(lake.items()) == expected
            assert not lake.verify().problems
        number += 1
    assert calls > 0
