"""Several changes that happen together or not at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import pytest

from lakebed.errors import ConflictError, NotFoundError, SerializationError, ValidationError
from lakebed.lake.lake import Lake
from lakebed.testing.conformance.base import Conformance, OpenLake, contents

LARGE = "x" * 10_000


class Transactions(Conformance):
    """`transaction()`: changes are queued on the client, then checked and applied at commit."""

    FEATURE: ClassVar[str] = "transactions"

    def test_all_at_once(self, lake: Lake) -> None:
        lake.store("gone", 1)
        with lake.transaction() as tx:
            tx.store("a", 1, {"x": 1})
            tx.store("b", LARGE)
            tx.delete("gone")
            assert list(lake) == ["gone"]
        assert contents(lake) == {"a": (1, {"x": 1}, None), "b": (LARGE, {}, None)}

    def test_reads_see_what_is_queued(self, lake: Lake) -> None:
        lake.store("there", "old")
        lake.store("gone", "old")
        with lake.transaction() as tx:
            assert tx.retrieve("there") == "old"
            tx.store("there", (1, 2))
            tx.store("new", b"\x00")
            assert tx.delete("gone") is True
            assert tx.delete("gone") is False
            assert tx.delete("never") is False
            assert tx.retrieve("there") == [1, 2]
            assert tx.retrieve("new") == b"\x00"
            assert tx.retrieve("gone", None) is None
            with pytest.raises(NotFoundError):
                tx.retrieve("gone")
            with pytest.raises(NotFoundError):
                tx.retrieve("never")
            assert lake["there"] == "old"

    def test_what_is_queued_is_a_copy(self, lake: Lake) -> None:
        value, metadata = {"x": [1]}, {"y": [1]}
        with lake.transaction() as tx:
            tx.store("a", value, metadata)
            value["x"].append(2)
            metadata["y"].append(2)
            tx.retrieve("a")["x"].append(3)
        assert contents(lake) == {"a": ({"x": [1]}, {"y": [1]}, None)}

    def test_an_error_in_the_block_stores_nothing(self, lake: Lake) -> None:
        lake.store("a", 1)
        stats = lake.stats()

        def change_and_fail() -> None:
            with lake.transaction() as tx:
                tx.store("a", 2)
                tx.store("b", LARGE)
                tx.delete("a")
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            change_and_fail()
        assert contents(lake) == {"a": (1, {}, None)}
        assert lake.stats() == stats

    @pytest.mark.parametrize("position", [0, 1, 2])
    def test_a_failed_condition_stores_nothing(self, lake: Lake, position: int) -> None:
        content_hash = lake.store("m", 1).content_hash
        lake.store("z", 1)
        lake.store("m", 2)
        tx = lake.transaction()
        changes: list[Callable[[], object]] = [lambda: tx.store("a", 1), lambda: tx.delete("z")]
        changes.insert(position, lambda: tx.store("m", 3, if_match=content_hash))
        for change in changes:
            change()
        with pytest.raises(ConflictError, match="'m'"):
            tx.commit()
        assert contents(lake) == {"m": (2, {}, None), "z": (1, {}, None)}

    def test_conditions_are_judged_at_commit(self, lake: Lake) -> None:
        content_hash = lake.store("a", 1).content_hash
        lake.store("b", 1)
        tx = lake.transaction()
        tx.store("a", 2, if_match=content_hash)
        tx.store("b", 2, if_absent=True)
        lake.delete("b")
        assert tx.commit() == 2
        assert dict(lake) == {"a": 2, "b": 2}
        tx = lake.transaction()
        tx.store("c", 1, if_absent=True)
        lake.store("c", "first")
        with pytest.raises(ConflictError):
            tx.commit()
        assert lake["c"] == "first"

    def test_several_changes_of_one_key(self, lake: Lake) -> None:
        first = lake.store("a", 0)
        with lake.transaction() as tx:
            tx.store("a", 1)
            tx.delete("a")
            tx.store("a", 2, if_absent=True)
            tx.store("a", 3, {"x": 1})
            tx.store("b", 1)
            tx.delete("b")
        assert contents(lake) == {"a": (3, {"x": 1}, None)}
        entry = lake.entry("a")
        assert entry is not None
        assert entry.version > first.version
        tx = lake.transaction()
        tx.store("c", 1, if_absent=True)
        tx.store("c", 2, if_absent=True)
        with pytest.raises(ConflictError):
            tx.commit()
        assert "c" not in lake

    def test_same_content_under_several_keys(self, opening: OpenLake) -> None:
        lake = opening(inline_threshold=100)
        with lake.transaction() as tx:
            for number in range(5):
                tx.store(f"large/{number}", LARGE)
                tx.store(f"small/{number}", "x")
        assert lake.stats().objects == 2
        assert len(lake) == 10
        assert lake["large/4"] == LARGE

    def test_it_ends(self, lake: Lake) -> None:
        tx = lake.transaction()
        tx.store("a", 1)
        assert tx.commit() == 1
        again = lake.transaction()
        again.store("b", 1)
        assert again.rollback() == 1
        for ended in (tx, again):
            for call in (ended.commit, ended.rollback, lambda ended=ended: ended.store("c", 1)):
                with pytest.raises(ValidationError, match="ended"):
                    call()
        with lake.transaction() as early:
            early.store("d", 1)
            early.rollback()
        assert list(lake) == ["a"]

    def test_bad_input_is_refused_at_once(self, lake: Lake) -> None:
        with lake.transaction() as tx:
            tx.store("a", 1)
            with pytest.raises(SerializationError):
                tx.store("b", {1, 2})
            with pytest.raises(ValidationError):
                tx.store("", 1)
            with pytest.raises(ValidationError):
                tx.delete("a", if_match="no hash")
        assert dict(lake) == {"a": 1}

    def test_an_empty_one(self, lake: Lake) -> None:
        with lake.transaction():
            pass
        assert lake.transaction().commit() == 0
        assert len(lake) == 0
