"""Verification: damage is found by key and hash, and repaired from another copy."""

from __future__ import annotations

import pytest

from lakebed.errors import CorruptionError, ValidationError
from lakebed.lake.lake import Lake
from tests.lake.upkeep.contents import LARGE, batch, damage_packed, path_of


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

    @pytest.mark.parametrize("how", ["flip", "cut", "remove", "swap"])
    def test_damage_in_a_pack(self, lake: Lake, how: str) -> None:
        ours, theirs = batch(lake, "p", 3), batch(lake, "q", 3)
        entry = lake.entry("p/0000")
        assert entry is not None
        assert entry.storage_uri is not None
        damage_packed(lake, "p/0000", how, path_of(lake, "q/0000"))
        problems = lake.verify().problems
        assert {key for problem in problems for key in problem.entry_keys} == set(ours)
        assert {problem.kind for problem in problems} == {
            "missing" if how == "remove" else "damaged"
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
