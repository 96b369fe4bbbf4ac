"""Batches over storage: packs, deduplication, what is damaged and what fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lakebed.errors import CatalogError, CorruptionError, StorageError, ValidationError
from lakebed.lake.entries import spool
from lakebed.lake.lake import Lake
from lakebed.objects.local import LocalStore
from lakebed.testing import FaultyStore, open_lake
from tests.lake.processes import run_together

LARGE = "large" * 100
HUGE = "x" * (5 << 20)


@pytest.fixture
def faulty(tmp_path: Path) -> FaultyStore:
    return FaultyStore(LocalStore(tmp_path / "lake"))


@pytest.fixture
def lake(tmp_path: Path, faulty: FaultyStore) -> Iterator[Lake]:
    with open_lake(tmp_path / "lake", objects=faulty, inline_threshold=100) as lake:
        yield lake


def rows(lake: Lake, sql: str) -> list[Any]:
    """What the catalog's database answers."""
    catalog: Any = lake._catalog
    return list(catalog._executor.fetch(sql, {}))


def files(folder: Path) -> set[str]:
    """Every file of the storage, by its path in it."""
    store = LocalStore(folder / "lake")
    return {file.path for part in ("objects", "packs") for file in store.list(part)}


def entries(values: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": value} for key, value in values.items()]


class TestPacks:
    def test_large_values_lie_in_packs(self, lake: Lake, tmp_path: Path) -> None:
        values: dict[str, Any] = {f"k{n}": LARGE + str(n) for n in range(50)}
        lake.store_batch(entries(values | {"small": 1, "huge": HUGE, "same": LARGE + "7"}))
        stats = lake.stats()
        assert (stats.packs, stats.objects, stats.inline_objects) == (1, 52, 1)
        (pack,) = rows(lake, "SELECT live, dead, byte_size FROM pack")
        assert pack[:2] == (50, 0)
        found = {entry.key: entry for entry in lake.list()}
        assert "#" in (found["k1"].storage_uri or "")
        assert "#" not in (found["huge"].storage_uri or "#")
        assert found["same"].storage_uri == found["k7"].storage_uri
        assert len(files(tmp_path)) == 2
        assert rows(lake, "SELECT * FROM pending") == rows(lake, "SELECT * FROM trash") == []

    def test_the_lake_has_them_already(self, lake: Lake, faulty: FaultyStore) -> None:
        lake.store("single", LARGE)
        lake.store_batch(entries({"a": LARGE + "a", "huge": HUGE}))
        faulty.plan()
        report = lake.store_batch(entries({"b": LARGE, "c": LARGE + "a", "d": HUGE}))
        assert report.deduplicated == 3
        assert not {call.name for call in faulty.calls} - {"read", "read_many"}

    def test_what_another_entry_replaced_is_dead(self, lake: Lake) -> None:
        batch = [*entries({"k": LARGE, "other": LARGE + "1"}), {"key": "k", "value": "small"}]
        assert lake.store_batch(batch).replaced == 1
        assert rows(lake, "SELECT live, dead FROM pack") == [(1, 1)]
        assert dict(lake) == {"k": "small", "other": LARGE + "1"}

    def test_a_pack_of_dead_objects_only(self, lake: Lake, tmp_path: Path) -> None:
        batch = [*entries({"k": LARGE, "j": HUGE})]
        batch += [{"key": "k", "value": "small"}, {"key": "j", "value": "small"}]
        lake.store_batch(batch)
        assert rows(lake, "SELECT * FROM pack") == []
        assert {uri for (uri,) in rows(lake, "SELECT uri FROM trash")} == files(tmp_path)

    def test_packs_of_bounded_size(self, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("lakebed.lake.entries.packing.PACK_BYTES", 10 * len(LARGE))
        values = {f"k{n}": LARGE + str(n) for n in range(95)}
        lake.store_batch(entries(values))
        assert lake.stats().packs == 11
        monkeypatch.setattr("lakebed.lake.entries.packing.PACK_OBJECTS", 4)
        lake.store_batch(entries({f"j{n}": LARGE + f"j{n}" for n in range(9)}))
        assert lake.stats().packs == 14
        assert dict(lake.retrieve_batch(values)) == values

    def test_one_content_a_hundred_thousand_times(self, lake: Lake, soak: bool) -> None:
        count = 100_000 if soak else 20_000
        for value in ("small", LARGE):
            report = lake.store_batch({"key": f"k{n}", "value": value} for n in range(count))
            assert (report.stored, report.deduplicated) == (count, count - 1)
        stats = lake.stats()
        assert (stats.entries, stats.packs) == (count, 1)
        assert rows(lake, "SELECT live, dead FROM pack") == [(1, 0)]
        report = lake.store_batch({"key": "one", "value": number} for number in range(count))
        assert (report.stored, report.replaced) == (1, count - 1)
        assert lake["one"] == count - 1


class TestVanishingContent:
    """Content that the lake held when the batch came by, and no longer when it commits."""

    @pytest.fixture
    def vanish(self, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[int]]:
        def plan(times: int) -> list[int]:
            """Collect everything just before each of the next commits; counts them."""
            catalog: Any = lake._catalog
            commit_batch, made = catalog.commit_batch, []

            def racing(*args: Any) -> Any:
                made.append(1)
                if len(made) <= times:
                    for key in list(lake):
                        lake.delete(key)
                    lake.collect(grace=0, orphan_grace=0)
                return commit_batch(*args)

            monkeypatch.setattr(catalog, "commit_batch", racing)
            return made

        return plan

    @pytest.mark.parametrize("atomic", [True, False])
    def test_it_is_uploaded_after_all(
        self, lake: Lake, vanish: Callable[[int], list[int]], atomic: bool
    ) -> None:
        pa = pytest.importorskip("pyarrow")
        table = pa.table({"a": range(100)})
        kept = {"json": LARGE, "bytes": LARGE.encode(), "huge": HUGE, "small": 1}
        lake.store_batch(entries(kept | {"table": table}))
        again = {f"again/{key}": value for key, value in kept.items()}
        made = vanish(1)
        report = lake.store_batch(
            entries(again | {"again/table": table, "new": LARGE + "new"}), atomic=atomic
        )
        assert len(made) == 2
        assert (report.created, report.failed) == (6, 0)
        assert {key: lake[key] for key in again} == again
        assert lake["again/table"] == table
        assert lake["new"] == LARGE + "new"
        assert rows(lake, "SELECT * FROM pending") == []
        assert not lake.verify().problems

    def test_again_and_again(self, lake: Lake, vanish: Callable[[int], list[int]]) -> None:
        lake.store_batch(entries({"a": LARGE}))
        made = vanish(100)
        report = lake.store_batch(entries({"b": LARGE}))
        assert (len(made), report.created) == (2, 1)  # what it has uploaded is under its lease

    @pytest.mark.parametrize("atomic", [True, False])
    def test_an_upload_that_lost_its_lease(
        self, lake: Lake, monkeypatch: pytest.MonkeyPatch, atomic: bool
    ) -> None:
        lake.store("a", 1)
        catalog: Any = lake._catalog
        commit_batch = catalog.commit_batch

        def late(*args: Any) -> Any:
            catalog._executor.transact(lambda tx: tx.run("DELETE FROM pending", {}))
            return commit_batch(*args)

        monkeypatch.setattr(catalog, "commit_batch", late)
        batch = entries({"a": LARGE, "b": 2})
        if atomic:
            with pytest.raises(StorageError, match="store it again"):
                lake.store_batch(batch)
        else:
            errors = lake.store_batch(batch, atomic=False).errors
            assert {key: type(error) for key, error in errors.items()} == {
                "a": StorageError,
                "b": StorageError,
            }
        assert dict(lake) == {"a": 1}
        monkeypatch.undo()
        assert lake.store_batch(batch).stored == 2


class TestFailures:
    @pytest.mark.parametrize("atomic", [True, False])
    @pytest.mark.parametrize("entries", [{"a": 1}, {"key": "a", "value": 1}, {}])
    def test_a_mapping_in_place_of_many(
        self, lake: Lake, entries: dict[str, Any], atomic: bool
    ) -> None:
        with pytest.raises(ValidationError) as refused:
            lake.store_batch(entries, atomic=atomic)
        assert str(refused.value) == (
            "entries must be an iterable of mappings, such as [{'key': 'a', 'value': 1}], "
            "got a single dict"
        )
        assert not lake

    def test_what_is_not_stored_becomes_garbage(self, lake: Lake, tmp_path: Path) -> None:
        def broken() -> Iterator[dict[str, Any]]:
            yield {"key": "huge", "value": HUGE}
            yield {"key": "large", "value": LARGE}
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            lake.store_batch(broken())
        left = files(tmp_path)
        assert len(left) == 1  # the pack was still waiting
        assert {uri for (uri,) in rows(lake, "SELECT uri FROM trash")} == left
        assert rows(lake, "SELECT * FROM pending") == []

    def test_the_iterables_error_is_the_one_told(
        self, lake: Lake, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def discard(_: object) -> None:
            raise CatalogError("no room for notes")

        def broken() -> Iterator[dict[str, Any]]:
            yield {"key": "huge", "value": HUGE}
            raise ZeroDivisionError

        monkeypatch.setattr(lake._catalog, "discard", discard)
        with pytest.raises(ZeroDivisionError):
            lake.store_batch(broken())

    def test_in_part_all_that_can_be_is_stored(self, lake: Lake, faulty: FaultyStore) -> None:
        values: dict[str, Any] = {"small": 1, "large": LARGE, "huge": HUGE, "huge/2": HUGE + "2"}
        for fails, failed in (
            ({0: "fail"}, {"huge"}),
            ({1: "lose"}, {"huge/2"}),
            ({2: "fail"}, {"large", "large/2"}),
            ({0: "fail", 1: "fail", 2: "lose"}, {"huge", "huge/2", "large", "large/2"}),
        ):
            faulty.plan(fails)
            more = {"large/2": LARGE + "2"}
            report = lake.store_batch(entries(values | more), atomic=False)
            assert set(report.errors) == failed
            assert report.stored == 5 - len(failed)
            stored = {key: value for key, value in (values | more).items() if key not in failed}
            assert {key: lake[key] for key in stored} == stored
            faulty.plan()
            for key in list(lake):
                lake.delete(key)
            lake.collect(grace=0)
        assert rows(lake, "SELECT * FROM pending") == []

    def test_in_part_with_what_the_lake_has(self, lake: Lake, faulty: FaultyStore) -> None:
        """First comes the look at what is reused, then the upload of the others."""
        lake.store("known", LARGE)
        for number, failed in ((0, "reused"), (1, "new")):
            faulty.plan({number: "fail"})
            values = {"reused": LARGE, "new": LARGE + f"{number}"}
            report = lake.store_batch(entries(values), atomic=False)
            assert set(report.errors) == {failed}
            values.pop(failed)
            assert {key: lake[key] for key in values} == values
        assert rows(lake, "SELECT * FROM pending") == []

    def test_a_second_try_inside_the_batch(self, lake: Lake, faulty: FaultyStore) -> None:
        """A content that could not be uploaded is tried again when it comes again."""
        faulty.plan({0: "fail"})
        report = lake.store_batch(entries({"a": HUGE, "b": HUGE}), atomic=False)
        assert (report.stored, report.failed) == (2, 0)
        assert lake["a"] == lake["b"] == HUGE

    def test_no_room_for_what_waits(self, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
        class Full(spool.Spool):
            def __init__(self) -> None:
                super().__init__()
                self._db.execute("PRAGMA max_page_count = 64")

        monkeypatch.setattr("lakebed.lake.entries.batch_run.Spool", Full)
        lake.store("a", 1)
        for atomic in (True, False):
            with pytest.raises(StorageError, match="temporary"):
                lake.store_batch(
                    ({"key": f"k{n}", "value": n} for n in range(29000)), atomic=atomic
                )
        assert "a" in lake

    @pytest.mark.parametrize("atomic", [True, False])
    def test_where_entries_wait_makes_no_difference(
        self, atomic: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("lakebed.lake.entries.batch_run.CHUNK", 10)
        values = [1, "two", LARGE, HUGE, "two" * 40]
        batch = [
            {"key": f"k{n * 7 % 31}", "value": [n % 9, values[n % 5]], "metadata": {"n": n}}
            for n in range(90)
        ]
        outcomes = []
        for room in (1, 4, 25, 20_000):
            monkeypatch.setattr(spool, "_WAITING", room)
            with open_lake(tmp_path / f"{room}") as lake:
                report = lake.store_batch(batch, atomic=atomic)
                assert (report.stored, report.replaced) == (31, 59)
                state = [(e.key, e.value, e.metadata) for e in lake.list()]
                outcomes.append((report, state))
        assert outcomes.count(outcomes[0]) == len(outcomes)

    def test_without_storage(self) -> None:
        with open_lake() as lake:
            values = {"small": 1, "large": LARGE, "huge": HUGE}
            assert lake.store_batch(entries(values)).created == 3
            assert dict(lake.retrieve_batch(values)) == values
            report = lake.store_batch(entries({"b": HUGE}), atomic=False)
            assert report.deduplicated == 1


class TestDamage:
    def test_the_others_still_come(self, lake: Lake, tmp_path: Path) -> None:
        packed = {f"pack/{n}": f"{n}" + "0123456789" * 20_000 for n in range(20)}
        lake.store_batch(entries(packed))
        lake.store_batch(entries({"lost pack/1": LARGE + "1", "lost pack/2": LARGE + "2"}))
        lake.store("object", LARGE + "object")
        lake.store("cut", LARGE + "cut")
        lake.store("lost", LARGE + "lost")
        lake.store("inline", 1)
        root = tmp_path / "lake"
        place = {entry.key: entry.storage_uri or "" for entry in lake.list()}

        def path(key: str) -> Path:
            return Path(place[key].removeprefix("file://").partition("#")[0])

        path("lost").unlink()
        path("lost pack/1").unlink()
        path("cut").write_bytes(path("cut").read_bytes()[:-5])
        offset = int(place["pack/7"].partition("#")[2].partition("-")[0])
        damaged = bytearray(path("pack/7").read_bytes())
        damaged[offset + 20 : offset + 40] = b"\xff" * 20
        path("pack/7").write_bytes(damaged)
        wanted = [*packed, "lost pack/1", "lost pack/2", "object", "cut", "lost", "inline", "none"]
        found = lake.retrieve_batch(wanted)
        assert found.missing == ["none"]
        gone = {"lost pack/1", "lost pack/2", "cut", "lost", "pack/7"}
        assert set(found.errors) >= gone
        assert set(found.errors) <= gone | set(packed)
        assert len(found.errors) < 12  # a damaged page hides its own values, no others
        assert found["object"] == LARGE + "object"
        assert found["inline"] == 1
        for key, error in found.errors.items():
            assert isinstance(error, CorruptionError)
            with pytest.raises(CorruptionError):
                found[key]
            with pytest.raises(CorruptionError):
                lake[key]
        for key in found:
            assert found[key] == lake[key]
        assert root.exists()

    def test_a_pack_that_cannot_be_read_now(self, lake: Lake, faulty: FaultyStore) -> None:
        values = {f"k{n}": LARGE + str(n) for n in range(5)}
        lake.store_batch(entries(values))
        lake.store("inline", 1)
        faulty.plan(dict.fromkeys(range(50), "fail"))
        found = lake.retrieve_batch([*values, "inline"])
        assert dict(found) == {"inline": 1}
        assert {type(error) for error in found.errors.values()} == {StorageError}
        faulty.plan()
        assert dict(lake.retrieve_batch(values)) == values

    def test_collected_between_the_two_reads(
        self, lake: Lake, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lake.store_batch(entries({"replaced": LARGE + "1", "deleted": LARGE + "2", "stays": 1}))
        catalog: Any = lake._catalog
        get_many = catalog.get_many

        def racing(keys: Any) -> Any:
            found = get_many(keys)
            monkeypatch.undo()
            lake.store("replaced", LARGE + "new")
            lake.delete("deleted")
            lake.collect(grace=0)
            return found

        monkeypatch.setattr(catalog, "get_many", racing)
        found = lake.retrieve_batch(["replaced", "deleted", "stays"])
        assert dict(found) == {"replaced": LARGE + "new", "stays": 1}
        assert found.missing == ["deleted"]
        assert found.errors == {}


class TestProcesses:
    def test_batches_at_once(self, tmp_path: Path, lake: Lake) -> None:
        code = """
report = lake.store_batch(
    {"key": f"{n % 3}/{number if n % 3 else 0}/{n:04}", "value": f"{n}" + "x" * 200 * (n % 2)}
    for n in range(900)
)
print(report.created, report.unchanged, report.deduplicated)
"""
        before = "import lakebed, sys; lake = lakebed.open(sys.argv[1] + '/lake')"
        said = run_together(code, tmp_path, 4, before)
        counts = [tuple(map(int, out.split())) for out in said]
        assert {created + unchanged for created, unchanged, _ in counts} == {900}
        assert sum(created for created, _, _ in counts) == len(lake) == 4 * 600 + 300
        assert {len(str(e.value)) > 150 for e in lake.list()} == {True, False}
        stats = lake.stats()
        assert stats.objects == 900
        assert sum(live for (live,) in rows(lake, "SELECT live FROM pack")) == 450
        assert not lake.verify().problems
