"""Field values that change an existing value: increments, unions, times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lakebed.testing.documents.base import Base, failed


class FieldTests(Base):
    """`server_timestamp`, `delete_field`, `increment`, `array_union`, `array_remove`."""

    def test_in_an_update(self, store: Any, collection: str) -> None:
        store.set_document(collection, "a", {"n": 1, "t": ["x", 1], "gone": 1, "in": {"n": 2.5}})
        result = store.update_document(
            collection,
            "a",
            {
                "n": store.increment(5),
                "in.n": store.increment(-1),
                "in.new": store.increment(3),
                "t": store.array_union(["y", "x", 1.0, True]),
                "u": store.array_union(["z", "z"]),
                "gone": store.delete_field(),
                "never.there": store.delete_field(),
            },
        )
        assert result["success"], result
        assert store.get_document(collection, "a")["data"] == {
            "n": 6, "t": ["x", 1, "y", True], "u": ["z"], "in": {"n": 1.5, "new": 3},
        }  # fmt: skip
        store.update_document(
            collection, "a", {"t": store.array_remove(["x", True]), "w": store.array_remove([1])}
        )
        found = store.get_document(collection, "a")["data"]
        assert found["t"] == [1, "y"]
        assert found["w"] == []

    def test_in_set_document(self, store: Any, collection: str) -> None:
        fields = {"n": store.increment(2), "deep": {"t": store.array_union(["a"])}}
        assert store.set_document(collection, "a", fields)["success"]
        assert store.get_document(collection, "a")["data"] == {"n": 2, "deep": {"t": ["a"]}}
        more = {"n": store.increment(2), "deep": {"t": store.array_union(["b"])}}
        store.set_document(collection, "a", more, merge=True)
        assert store.get_document(collection, "a")["data"] == {"n": 4, "deep": {"t": ["a", "b"]}}
        store.set_document(collection, "a", {"deep": {"t": store.delete_field()}}, merge=True)
        assert store.get_document(collection, "a")["data"] == {"n": 4, "deep": {}}
        store.set_document(collection, "a", fields)  # in place of the other
        assert store.get_document(collection, "a")["data"] == {"n": 2, "deep": {"t": ["a"]}}

    def test_the_time(self, store: Any, collection: str) -> None:
        stamp = store.server_timestamp()
        store.set_document(collection, "a", {"at": stamp, "deep": {"at": stamp}})
        store.batch_set([{"collection": collection, "doc_id": "b", "data": {"at": stamp}}])
        store.set_document(collection, "c", {})
        store.update_document(collection, "c", {"at": store.server_timestamp()})
        found = store.query(collection, order_by=[("at", "asc")])["results"]
        assert [one["doc_id"] for one in found] == ["a", "b", "c"]
        for one in found:
            text = one["data"]["at"]
            assert len(text) == len("2026-11-29T20:00:00.000000+00:00")
            at = datetime.fromisoformat(text)
            assert abs(at - datetime.now(UTC)) < timedelta(minutes=2)
        assert found[0]["data"]["deep"]["at"] == found[0]["data"]["at"]

    def test_what_does_not_fit_is_refused(self, store: Any, collection: str) -> None:
        before = {"text": "a", "n": 2**63 - 1, "none": None}
        store.set_document(collection, "a", before)
        for changes in (
            {"text": store.increment(1)},
            {"none": store.increment(1)},
            {"text": store.array_union([1])},
            {"n": store.array_remove([1])},
            {"n": {"x": store.delete_field()}},
        ):
            failed(store.update_document(collection, "a", changes), "validation_error")
        for changes in ({"n": store.increment(1)}, {"l": [store.increment(1)]}):
            failed(store.update_document(collection, "a", changes), "serialization_error")
        failed(store.set_document(collection, "a", {"x": store.delete_field()}), "validation_error")
        assert store.get_document(collection, "a")["data"] == before

    def test_malformed_ones_are_refused(self, store: Any) -> None:
        for make in (
            lambda: store.increment("1"),
            lambda: store.increment(True),
            lambda: store.increment(float("nan")),
            lambda: store.array_union("text"),
            lambda: store.array_remove(5),
            lambda: store.array_union([object()]),
        ):
            with pytest.raises(ValueError, match=r"takes|must be"):
                make()  # type: ignore[no-untyped-call]
