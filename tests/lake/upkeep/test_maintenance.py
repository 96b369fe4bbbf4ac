"""Collection, compaction, verification, purge: what nothing holds goes, and nothing else."""

from __future__ import annotations

import io
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO

import pyarrow.parquet as pq
import pytest

import lakebed
from lakebed.errors import CorruptionError, LakebedError, NotFoundError, ValidationError
from lakebed.lake.lake import Lake
from lakebed.objects.local import LocalStore
from lakebed.objects.names import object_path, pack_path, temporary_path
from lakebed.objects.store import StoredFile
from lakebed.testing import FakeClock, FaultyStore, open_lake
from lakebed.testing.faults import FAULTS

DAY = 86_400 * 1_000_000
LARGE = "a large value " * 40


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def lake(tmp_path: Path, clock: FakeClock) -> Iterator[Lake]:
    with open_lake(tmp_path / "lake", clock=clock, inline_threshold=100) as lake:
        yield lake


def batch(lake: Lake, prefix: str, count: int, text: str = LARGE) -> dict[str, str]:
    values = {f"{prefix}/{number:04}": f"{text}{prefix}{number}" for number in range(count)}
    lake.store_batch([{"key": key, "value": value} for key, value in values.items()])
    return values


def files(lake: Lake) -> set[str]:
    """The files of contents; those of the search index aside."""
    assert lake._objects is not None
    found = (file.path for prefix in ("objects", "packs") for file in lake._objects.list(prefix))
    return {path for path in found if not path.endswith(".segment")}


def _contents(lake: Lake, path: str) -> list[bytes]:
    """What a file holds, taken out of its pack."""
    assert lake._objects is not None
    data = lake._objects.read(path)
    if not path.startswith("packs/"):
        return [data]
    values: list[bytes] = pq.read_table(io.BytesIO(data))["value"].to_pylist()
    return values


def path_of(lake: Lake, key: str) -> Path:
    entry = lake.entry(key)
    assert entry is not None
    assert entry.storage_uri is not None
    return Path(entry.storage_uri.removeprefix("file://").partition("#")[0])


class TestCollect:
    def test_bytes_wait_out_their_grace(self, lake: Lake, clock: FakeClock) -> None:
        lake["a"] = LARGE
        del lake["a"]
        first = lake.collect(grace=10)
        assert (first.objects, first.files, first.waiting) == (1, 0, 1)
        clock.advance(9)
        assert lake.collect(grace=10).files == 0
        clock.advance(1)
        assert lake.collect(grace=10).files == 1
        assert not files(lake)

    def test_without_grace_bytes_go_in_the_same_call(self, lake: Lake) -> None:
        lake["a"] = LARGE
        del lake["a"]
        assert lake.collect(grace=0).files == 1
        assert not files(lake)

    def test_what_anything_refers_to_stays(self, lake: Lake) -> None:
        lake["now"] = lake["other"] = LARGE
        lake["then"] = LARGE + "then"
        lake.create_snapshot("s")
        del lake["now"], lake["then"]
        assert lake.collect(grace=0).objects == 0
        assert lake["other"] == LARGE
        assert lake.at("s")["then"] == LARGE + "then"

    def test_history_gives_up_its_contents_with_its_snapshot(self, lake: Lake) -> None:
        lake["a"] = LARGE
        lake.create_snapshot("s")
        lake["a"] = 1
        lake.drop_snapshot("s")
        assert lake.maintain().history == 1
        lake.collect(grace=0)
        assert not files(lake)
        assert lake.stats().objects == 1

    def test_content_that_comes_back_before_the_collection_stays(self, lake: Lake) -> None:
        lake["a"] = LARGE
        del lake["a"]
        lake["b"] = LARGE
        assert lake.collect(grace=0).objects == 0
        assert lake["b"] == LARGE

    def test_content_that_comes_back_after_it_is_uploaded_anew(self, lake: Lake) -> None:
        lake["a"] = LARGE
        del lake["a"]
        lake.collect()
        assert not lake.store("b", LARGE).deduplicated
        lake.collect(grace=0)
        assert lake["b"] == LARGE

    def test_a_pack_goes_when_nothing_in_it_lives(self, lake: Lake) -> None:
        values = batch(lake, "p", 10)
        for key in list(values)[1:]:
            del lake[key]
        assert lake.collect(grace=0).objects == 9
        assert len(files(lake)) == 1
        assert lake["p/0000"] == values["p/0000"]
        del lake["p/0000"]
        lake.collect(grace=0)
        assert not files(lake)
        assert lake.stats().packs == 0

    def test_a_dry_run_changes_nothing(self, lake: Lake) -> None:
        lake["a"] = LARGE
        del lake["a"]
        before = lake.stats(), files(lake)
        assert lake.collect(grace=0, dry_run=True).objects == 1
        assert (lake.stats(), files(lake)) == before

    def test_orphans_are_found_by_listing_and_only_when_old(self, tmp_path: Path) -> None:
        # With the machine's clock, which gives the files their times.
        with open_lake(tmp_path / "lake", inline_threshold=100) as lake:
            lake["a"] = LARGE
            named = files(lake)
            assert lake._objects is not None
            lake._objects.write("objects/ab/" + "ab" * 32 + "-0123456789abcdef.json", b"1")
            lake._objects.write(pack_path(), b"1")
            assert lake.collect(grace=0).orphans is None
            assert lake.collect(grace=0, orphans=True).orphans == 0
            assert lake.collect(grace=0, orphan_grace=0, orphans=True).orphans == 2
            assert files(lake) == named
            assert lake["a"] == LARGE

    def test_uploads_in_flight_are_no_orphans(self, tmp_path: Path) -> None:
        with open_lake(tmp_path / "lake", inline_threshold=100) as lake:
            assert lake._objects is not None
            path = pack_path()
            lake._catalog.lease([path], 60)
            lake._objects.write(path, b"half")
            lake._objects.write(pack_path(), b"stray")
            assert lake.collect(grace=0, orphan_grace=0, orphans=True).orphans == 1
            assert files(lake) == {path}

    def test_a_file_that_is_being_written_is_no_orphan(self, tmp_path: Path) -> None:
        with open_lake(tmp_path / "lake", inline_threshold=100) as lake:
            assert lake._objects is not None
            path = pack_path()
            lake._catalog.lease([path], 60)
            with lake._objects.open_write(path) as file:
                file.write(b"half")
                assert lake.collect(0, 0, orphans=True).orphans == 0
            assert files(lake) == {path}

    def test_lapsed_leases_become_garbage(self, lake: Lake, clock: FakeClock) -> None:
        assert lake._objects is not None
        lake._catalog.lease(["packs/upload.parquet"], 60)
        lake._objects.write("packs/upload.parquet", b"half")
        clock.advance(61)
        assert lake.collect(grace=0).files == 1
        assert not files(lake)

    def test_what_is_being_written_is_no_orphan(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with lakebed.open(tmp_path / "lake", inline_threshold=0) as lake:
            write = LocalStore.open_write

            @contextmanager
            def watched(store: LocalStore, path: str) -> Iterator[BinaryIO]:
                with write(store, path) as file:
                    monkeypatch.undo()
                    found = lake.collect(grace=0, orphan_grace=0, orphans=True)
                    assert found.orphans == 0
                    yield file

            monkeypatch.setattr(LocalStore, "open_write", watched)
            lake.store_batch({"key": f"k{n}", "value": f"value {n}"} for n in range(10))
            assert lake["k3"] == "value 3"
            # Of a killed writer.
            (tmp_path / "lake" / temporary_path(pack_path())).write_bytes(b"x")
            assert lake.collect(grace=0, orphan_grace=0, orphans=True).orphans == 1
            assert lake.verify().problems == []

    def test_files_of_others_stay(self, tmp_path: Path) -> None:
        """Whatever has no ending that a lake gives is somebody else's, as is any other folder."""
        folder = tmp_path / "lake"
        with lakebed.open(folder, inline_threshold=0) as lake:
            lake["a"] = LARGE
            batch(lake, "p", 3)
            left = object_path(bytes(32), "json")
            names = (
                "README.md", "objects/README.md", "objects/.DS_Store", "packs/.DS_Store",
                "packs/other/1.parquet", "objects/00/notes.txt", f"{left}.bak",
                "other/data.parquet",
            )  # fmt: skip
            for name in (left, *names):
                (folder / name).parent.mkdir(exist_ok=True)
                (folder / name).write_bytes(b"x")
            assert lake.collect(grace=0, orphan_grace=0, orphans=True).orphans == 1
            assert all((folder / name).exists() for name in names)
            assert not (folder / left).exists()
            assert not lake.verify().problems

    @pytest.mark.parametrize("argument", [{"grace": -1}, {"grace": "1"}, {"orphan_grace": -0.5}])
    def test_wrong_arguments(self, lake: Lake, argument: dict[str, object]) -> None:
        with pytest.raises(ValidationError, match=next(iter(argument))):
            lake.collect(**argument)  # type: ignore[arg-type]


class TestCompact:
    def test_inline_values_move_to_packs_and_keep_their_versions(self, lake: Lake) -> None:
        values = batch(lake, "i", 50, "inline " * 11)
        before = {entry.key: entry.version for entry in lake.list()}
        report = lake.compact()
        assert (report.flushed, report.packs_written) == (50, 1)
        assert {entry.key: entry.version for entry in lake.list()} == before
        assert dict(lake.retrieve_batch(values)) == values
        assert lake.stats().inline_objects == 0
        assert not lake.verify().problems

    def test_small_values_and_young_ones_stay(self, lake: Lake, clock: FakeClock) -> None:
        lake["small"] = "x"
        lake["young"] = "y" * 90
        clock.advance(5)
        assert lake.compact(older_than=10).flushed == 0
        assert lake.compact(older_than=5).flushed == 1
        assert lake.entry("small").inlined  # type: ignore[union-attr]

    def test_worn_packs_are_rewritten(self, lake: Lake) -> None:
        values = batch(lake, "p", 20)
        for key in list(values)[:15]:
            del lake[key]
        lake.collect()
        report = lake.compact()
        assert (report.repacked, report.packs_given_up) == (5, 1)
        lake.collect(grace=0)
        assert len(files(lake)) == 1
        assert dict(lake.items()) == dict(list(values.items())[15:])

    def test_small_packs_are_merged(self, lake: Lake) -> None:
        values = batch(lake, "p", 5) | batch(lake, "q", 5)
        assert lake.stats().packs == 2
        lake.compact()
        assert lake.stats().packs == 1
        assert lake.compact().packs_written == 0
        assert dict(lake.items()) == values

    def test_max_bytes_bounds_a_run(self, lake: Lake) -> None:
        batch(lake, "i", 50, "inline " * 11)
        report = lake.compact(max_bytes=1000)
        assert 0 < report.moved_bytes <= 1000
        assert report.flushed < 50

    def test_a_reader_finds_what_has_moved(self, lake: Lake) -> None:
        values = batch(lake, "p", 4)
        entries = list(lake.list())
        batch(lake, "q", 4)
        lake.compact()
        lake.collect(grace=0)
        assert [entry.value for entry in entries] == list(values.values())

    @pytest.mark.parametrize("packed", [False, True], ids=["inline", "packed"])
    def test_a_number_that_another_object_has_by_the_commit(
        self, tmp_path: Path, packed: bool
    ) -> None:
        """SQLite gives the number of the last object again once it is gone, and a pack's as well:
        the object that has it now must not be sent to the bytes of the one that had it."""
        meanwhile: list[Callable[[], object]] = []

        class Watched(LocalStore):
            @contextmanager
            def open_write(self, path: str) -> Iterator[BinaryIO]:
                with super().open_write(path) as file:
                    while meanwhile:
                        meanwhile.pop()()
                    yield file

        with (
            open_lake(tmp_path, objects=Watched(tmp_path), inline_threshold=100) as lake,
            lakebed.open(tmp_path) as other,
        ):
            text = "packed " * 50 if packed else "inline " * 11
            batch(lake, "old", 3, text)
            del lake["old/0000"], lake["old/0001"]
            lake.collect()

            def replace() -> None:
                del other["old/0002"]
                # What lies in the catalog has gone with its last name.
                assert other.collect(grace=0).objects == (1 if packed else 0)
                batch(other, "new", 3, text)

            meanwhile.append(replace)
            lake.compact()
            assert not meanwhile
            assert not lake.verify().problems
            assert dict(lake.items()) == {f"new/000{n}": f"{text}new{n}" for n in range(3)}
            for path in files(lake):
                assert b"old" not in b"".join(_contents(lake, path))


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
        self, tmp_path: Path, clock: FakeClock, slow: str
    ) -> None:
        class Slow(LocalStore):
            def list(self, prefix: str) -> Iterator[StoredFile]:
                time.sleep(1.2 if slow == "list" else 0)
                return super().list(prefix)

            @contextmanager
            def open_write(self, path: str) -> Iterator[BinaryIO]:
                time.sleep(1.2 if slow == "open_write" else 0)
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


class TestVerify:
    def test_a_clean_lake_has_no_problems(self, lake: Lake) -> None:
        batch(lake, "p", 5)
        lake["a"], lake["b"] = LARGE, 1
        report = lake.verify()
        assert report.objects == 7
        assert not report.problems

    @pytest.mark.parametrize("damage", ["flip", "cut", "remove", "swap"])
    def test_damage_is_named_and_never_returned(self, lake: Lake, damage: str) -> None:
        lake["a"], lake["b"] = LARGE, LARGE[::-1]
        lake.create_snapshot("s")
        path = path_of(lake, "a")
        data = bytearray(path.read_bytes())
        if damage == "flip":
            data[7] ^= 1
            path.write_bytes(data)
        elif damage == "cut":
            path.write_bytes(data[:-1])
        elif damage == "remove":
            path.unlink()
        else:
            path.write_bytes(path_of(lake, "b").read_bytes())
        (problem,) = lake.verify().problems
        entry = lake.entry("a")
        assert entry is not None
        assert problem.kind == ("missing" if damage == "remove" else "damaged")
        assert problem.entry_keys == ["a"]
        assert problem.snapshots == ["s"]
        assert "'a'" in problem.text
        assert entry.content_hash in problem.text
        with pytest.raises(CorruptionError, match="'a'"):
            lake.retrieve("a")
        assert lake["b"] == LARGE[::-1]

    @pytest.mark.parametrize("damage", ["flip", "cut", "remove", "swap"])
    def test_damage_in_a_pack(self, lake: Lake, damage: str) -> None:
        ours, theirs = batch(lake, "p", 3), batch(lake, "q", 3)
        path, other = path_of(lake, "p/0000"), path_of(lake, "q/0000")
        entry = lake.entry("p/0000")
        assert entry is not None
        assert entry.storage_uri is not None
        offset, length, _ = map(int, entry.storage_uri.partition("#")[2].split("-"))
        data = bytearray(path.read_bytes())
        data[offset + length // 2] ^= 1
        if damage == "flip":
            path.write_bytes(data)
        elif damage == "cut":
            path.write_bytes(data[: offset + length // 2])
        elif damage == "remove":
            path.unlink()
        else:
            path.write_bytes(other.read_bytes())
        problems = lake.verify().problems
        assert {key for problem in problems for key in problem.entry_keys} == set(ours)
        assert {problem.kind for problem in problems} == {
            "missing" if damage == "remove" else "damaged"
        }
        assert any(entry.content_hash in problem.text for problem in problems)
        found = lake.retrieve_batch([*ours, *theirs])
        assert dict(found) == theirs
        assert set(found.errors) == set(ours)
        for key in ours:
            with pytest.raises(CorruptionError, match=key):
                lake.retrieve(key)

    def test_an_inline_value_changed_behind_our_back(self, lake: Lake) -> None:
        lake["a"] = "inline"
        connection = lake._catalog._executor.connection()  # type: ignore[attr-defined]
        connection.execute("UPDATE object SET inline_value = x'3131'")
        (problem,) = lake.verify().problems
        assert problem.entry_keys == ["a"]
        with pytest.raises(CorruptionError):
            lake.retrieve("a")

    def test_repair_takes_what_another_file_proves(self, lake: Lake) -> None:
        lake["a"] = LARGE
        del lake["a"]
        lake.collect()  # the first upload waits in the trash
        lake["a"] = LARGE
        path_of(lake, "a").unlink()
        (problem,) = lake.verify(repair=True).problems
        assert problem.repaired
        assert lake["a"] == LARGE
        assert not lake.verify().problems

    def test_repair_corrects_counts(self, lake: Lake) -> None:
        batch(lake, "p", 3)
        connection = lake._catalog._executor.connection()  # type: ignore[attr-defined]
        connection.execute("UPDATE pack SET live = 7")
        (problem,) = lake.verify(repair=True).problems
        assert (problem.kind, problem.repaired) == ("miscounted pack", True)
        assert not lake.verify().problems

    def test_a_sample(self, lake: Lake) -> None:
        batch(lake, "p", 200)
        assert 0 < lake.verify(sample=0.5).objects < 200
        for wrong in (0, 1.5, True, "all"):
            with pytest.raises(ValidationError, match="sample"):
                lake.verify(sample=wrong)  # type: ignore[arg-type]


class TestPurge:
    CANARY = "canarybird"

    def test_nothing_of_it_is_left(self, lake: Lake, tmp_path: Path) -> None:
        kept = batch(lake, "kept", 5)
        lake.store("secret/small", self.CANARY, {"note": self.CANARY})
        lake["secret/large"] = f"{self.CANARY} " * 100
        batch(lake, "secret/batch", 5, f"{self.CANARY} " * 100)
        lake.list(metadata_filter={"note": self.CANARY})
        assert lake.search(self.CANARY).total == 7
        lake.create_snapshot("s")
        lake["secret/small"] = f"{self.CANARY} again"
        lake["secret/small"] = f"{self.CANARY} and again"
        receipt = lake.purge(prefix="secret/")
        assert (receipt.entries, receipt.versions, receipt.packs_rewritten) == (7, 1, 0)
        assert receipt.snapshots == ["s"]
        found = subprocess.run(
            ["grep", "-rl", self.CANARY, tmp_path / "lake"], capture_output=True, check=False
        )
        assert found.stdout == b""
        assert set(lake) == set(lake.at("s")) == set(kept)
        assert lake.search(self.CANARY).total == 0
        assert lake.snapshots()[0].purged_at is not None
        assert dict(lake.items()) == kept
        assert not lake.verify().problems

    def test_a_shared_pack_is_rewritten(self, lake: Lake) -> None:
        values = batch(lake, "p", 10)
        old = files(lake)
        receipt = lake.purge("p/0003")
        assert (receipt.entries, receipt.packs_rewritten, receipt.files) == (1, 1, 1)
        assert not old & files(lake)
        del values["p/0003"]
        assert dict(lake.items()) == values

    def test_bytes_that_lie_in_trash_and_among_the_dead_go_as_well(self, lake: Lake) -> None:
        values = batch(lake, "p", 4)
        lake["q"] = values["p/0000"]  # the same content
        del lake["p/0000"], lake["q"]
        lake.collect()  # its bytes stay in the pack, which others need
        lake["p/0000"] = values["p/0000"]  # and come a second time
        batch(lake, "r", 4)
        lake.compact()  # the old packs wait out their grace
        before = files(lake)
        assert lake._catalog.trash() == 2
        lake.purge("p/0000")
        assert len(before & files(lake)) < len(before)
        for path in files(lake):
            assert b"p0" not in b"".join(_contents(lake, path))
        assert not lake.verify().problems

    def test_an_upload_that_was_broken_off_goes_as_well(self, lake: Lake) -> None:
        lake["a"] = LARGE
        entry = lake.entry("a")
        assert entry is not None
        assert lake._objects is not None
        path = object_path(bytes.fromhex(entry.content_hash.removeprefix("sha256:")), "json")
        lake._catalog.lease([path], 60)
        lake._objects.write(path, b"the same")
        lake._catalog.lease(["packs/other.parquet"], 60)
        receipt = lake.purge("a")
        assert not files(lake)
        assert any("1 uploads" in place for place in receipt.remains)

    def test_values_that_the_key_had_earlier_are_told_of(self, lake: Lake) -> None:
        batch(lake, "p", 4)
        lake["p/0000"] = LARGE + "second"
        lake["p/0000"] = LARGE + "third"
        told = " ".join(lake.purge("p/0000").remains)
        assert "1 packs in which values lie" in told  # the first
        assert "1 files that were given up earlier" in told  # the second
        batch(lake, "q", 4)
        lake.compact()
        lake.collect(grace=0)
        for path in files(lake):
            assert b"p0" not in b"".join(_contents(lake, path))
        told = " ".join(lake.purge("p/0001").remains)
        assert "dead" not in told
        assert "packs" not in told
        assert "given up" not in told

    def test_with_all_history_those_go_as_well(self, tmp_path: Path) -> None:
        with lakebed.open(tmp_path / "all", inline_threshold=100, history="all") as lake:
            batch(lake, "p", 4)
            lake["p/0000"] = LARGE + "second"
            assert lake.purge("p/0000").versions == 1
            for path in files(lake):
                assert b"p0" not in b"".join(_contents(lake, path))
                assert b"second" not in b"".join(_contents(lake, path))

    def test_one_that_was_cut_short_is_finished_by_maintain(self, lake: Lake) -> None:
        values = batch(lake, "p", 10)
        old = files(lake)
        lake._catalog.purge("p/0003", "p/0003\x01", 10)  # the names; then the process dies
        lake.maintain()
        lake.collect(grace=0)
        assert not old & files(lake)
        del values["p/0003"]
        assert dict(lake.items()) == values

    def test_a_content_that_others_hold_stays(self, lake: Lake) -> None:
        lake["a"] = lake["b"] = LARGE
        lake.purge("a")
        assert lake["b"] == LARGE
        assert "a" not in lake

    def test_a_key_that_only_history_has(self, lake: Lake) -> None:
        lake["a"] = 1
        lake.create_snapshot("s")
        del lake["a"]
        receipt = lake.purge("a")
        assert (receipt.entries, receipt.versions) == (0, 1)
        with pytest.raises(NotFoundError):
            lake.at("s").retrieve("a")

    def test_more_keys_than_one_step(self, lake: Lake) -> None:
        batch(lake, "p", 2500, "inline ")
        lake["q"] = 1
        assert lake.purge(prefix="p/").entries == 2500
        assert list(lake) == ["q"]

    @pytest.mark.parametrize("arguments", [{}, {"key": "a", "prefix": "b"}, {"prefix": ""}])
    def test_wrong_arguments(self, lake: Lake, arguments: dict[str, str]) -> None:
        lake["a"] = 1
        with pytest.raises(ValidationError):
            lake.purge(**arguments)
        assert lake["a"] == 1


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
