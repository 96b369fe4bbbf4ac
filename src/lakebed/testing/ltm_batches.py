"""The part of the LTM suite for several entries at once: batches and transactions."""

from __future__ import annotations

from typing import Any

import pytest

from lakebed.errors import ValidationError
from lakebed.ltm import LTMBackend

LARGE = "forget me not " * 10_000
"""A value that is too large to stay inline by default, if there is a storage."""


def some_wrong() -> list[dict[str, Any]]:
    """Return the entries of a batch. Three of them cannot be stored."""
    return [
        {"key": "good", "value": 1},
        {"key": "nan", "value": float("nan")},
        {"key": "ttl", "value": 1, "metadata": {"ttl": -1}},
        {"key": "moment", "value": 1, "metadata": {"expires_at": "tomorrow"}},
        {"key": "well", "value": 2, "metadata": {"ttl": 3600}},
    ]


class LTMBatches:
    """Several entries are stored together or not at all. See `LTMContract`."""

    def test_batches_refuse_what_is_no_batch(self, memory: LTMBackend) -> None:
        for nothing in (None, 5, "abc"):
            for result in (memory.store_batch(nothing), memory.retrieve_batch(nothing)):  # type: ignore[arg-type]
                assert (result["success"], result["error_type"]) == (False, "validation_error")
                assert type(nothing).__name__ in result["error"]

    def test_store_batch(self, memory: LTMBackend) -> None:
        entries: list[dict[str, Any]] = [
            {"key": "a", "value": 1, "metadata": {"m": 1}},
            {"key": "b", "value": LARGE},
        ]
        done = memory.store_batch(entry for entry in entries)
        assert done == {"success": True, "stored_count": 2, "failed_count": 0, "errors": {}}
        assert memory.retrieve("a")["metadata"] == {"m": 1}
        assert memory.retrieve("b")["value"] == LARGE
        assert memory.store_batch([])["stored_count"] == 0

    def test_atomic_batch_is_all_or_none(self, memory: LTMBackend) -> None:
        done = memory.store_batch(some_wrong())
        assert (done["success"], done["stored_count"], done["failed_count"]) == (False, 0, 3)
        assert done["error_type"] == "serialization_error"
        assert done["errors"].keys() == {"nan", "ttl", "moment"}
        assert list(memory.iterate_all()) == []

    def test_other_batches_store_what_they_can(self, memory: LTMBackend) -> None:
        done = memory.store_batch(some_wrong(), atomic=False)
        assert (done["success"], done["stored_count"], done["failed_count"]) == (True, 2, 3)
        kinds = {key: error["error_type"] for key, error in done["errors"].items()}
        assert kinds == {
            "nan": "serialization_error",
            "ttl": "validation_error",
            "moment": "validation_error",
        }
        assert "expires_at" in done["errors"]["moment"]["error"]
        assert [key for key, _, _ in memory.iterate_all()] == ["good", "well"]
        failed = memory.store_batch([{"key": "nan", "value": float("nan")}] * 2, atomic=False)
        assert (failed["success"], failed["stored_count"], failed["failed_count"]) == (False, 0, 2)
        assert failed["errors"].keys() == {"nan"}

    def test_batches_read_expiry_from_metadata(self, memory: LTMBackend) -> None:
        past = {"expires_at": "2001-01-01T00:00:00+00:00"}
        memory.store_batch(
            [{"key": "old", "value": 1, "metadata": past}, {"key": "new", "value": 1}]
        )
        assert [key for key, _, _ in memory.iterate_all()] == ["new"]

    def test_retrieve_batch(self, memory: LTMBackend) -> None:
        memory.store("a", None, {"m": 1})
        memory.store("b", LARGE)
        read = memory.retrieve_batch(["b", "absent", "a", "b"])
        assert (read["success"], read["found_count"], read["missing_count"]) == (True, 2, 1)
        assert read["entries"].keys() == {"a", "b", "absent"}
        assert read["entries"]["absent"] is None
        assert read["entries"]["a"] == memory.retrieve("a")
        assert read["entries"]["b"] == memory.retrieve("b")
        assert memory.retrieve_batch([])["entries"] == {}

    def test_transaction(self, memory: LTMBackend) -> None:
        memory.store("old", 1)
        tx = memory.transaction()
        assert tx.store("new", {"a": 1}, {"m": 1})["success"] is True
        assert tx.store("large", LARGE)["success"] is True
        assert tx.delete("old")["success"] is True
        assert memory.retrieve("new")["found"] is False
        assert tx.commit() == {"success": True, "operations": 3}
        assert [key for key, _, _ in memory.iterate_all()] == ["large", "new"]
        assert memory.retrieve("new")["metadata"] == {"m": 1}
        again = tx.commit()
        assert (again["success"], again["error_type"]) == (False, "validation_error")
        assert tx.store("late", 1)["error_type"] == "validation_error"
        assert tx.rollback()["error_type"] == "validation_error"

    def test_rollback(self, memory: LTMBackend) -> None:
        tx = memory.transaction()
        tx.store("a", 1)
        tx.delete("b")
        assert tx.rollback() == {"success": True, "discarded": 2}
        assert tx.commit()["error_type"] == "validation_error"
        assert list(memory.iterate_all()) == []

    def test_a_transaction_with_a_refused_change_stores_nothing(self, memory: LTMBackend) -> None:
        tx = memory.transaction()
        tx.store("a", 1)
        assert tx.store("b", float("nan"))["error_type"] == "serialization_error"
        tx.store("c", 1)
        committed = tx.commit()
        assert (committed["success"], committed["error_type"]) == (False, "serialization_error")
        assert list(memory.iterate_all()) == []

    def test_a_block_commits_or_rolls_back(self, memory: LTMBackend) -> None:
        with memory.transaction() as tx:
            tx.store("a", 1, {"ttl": 3600})
        assert memory.retrieve("a")["metadata"] == {"ttl": 3600}
        with pytest.raises(ZeroDivisionError), memory.transaction() as tx:  # noqa: PT012
            tx.store("b", 1)
            raise ZeroDivisionError
        assert memory.retrieve("b")["found"] is False
        with pytest.raises(ValidationError), memory.transaction() as tx:  # noqa: PT012
            tx.store("c", 1)
            tx.store("", 1)
        assert memory.retrieve("c")["found"] is False
