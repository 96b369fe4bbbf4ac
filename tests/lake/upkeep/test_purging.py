"""Purge: a value goes from the present, the history, snapshots and files."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import lakebed
from lakebed.errors import NotFoundError, ValidationError
from lakebed.lake.lake import Lake
from lakebed.objects.names import object_path
from tests.lake.upkeep.contents import LARGE, batch, contents_of, files


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
            assert b"p0" not in b"".join(contents_of(lake, path))
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
        assert "1 packs with values that had lost" in told  # the first
        assert "1 files that were given up earlier" in told  # the second
        batch(lake, "q", 4)
        lake.compact()
        lake.collect(grace=0)
        for path in files(lake):
            assert b"p0" not in b"".join(contents_of(lake, path))
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
                assert b"p0" not in b"".join(contents_of(lake, path))
                assert b"second" not in b"".join(contents_of(lake, path))

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
