"""Collection: contents that nothing refers to go, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pytest

import lakebed
from lakebed.errors import ValidationError
from lakebed.lake.lake import Lake
from lakebed.objects.local import LocalStore
from lakebed.objects.names import object_path, pack_path, temporary_path
from lakebed.testing import FakeClock, open_lake
from tests.lake.upkeep.contents import LARGE, batch, files


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
