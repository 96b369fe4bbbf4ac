"""Storing, reading, deleting, and batches."""

from __future__ import annotations

from typing import Any

import pytest

from lakebed.documents.data import identical
from lakebed.errors import NotFoundError, SerializationError, ValidationError
from lakebed.testing.documents.base import Base, failed

VALUES: dict[str, Any] = {
    "text": "straße \U0001f375 \u2028 \x7f '\"\\ %s {} $1",
    "empty": "",
    "integers": [0, 1, -1, 2**53 + 1, 2**63 - 1, -(2**63)],
    "floats": [0.0, 1.0, -2.5, 0.1, 1e-7, 1e16, 1e22, 123456789012345680000.0, 1e100, 1e-100],
    "flags": [True, False, None],
    "lists": [[], [[1], [2, [3]]], [{}, {"a": [{"b": None}]}]],
    "objects": {"empty": {}, "deep": {"a": {"b": {"c": {"d": 1}}}}},
    "names with spaces, quotes ' \" and ünïcode": 1,
    "0": "a name of digits",
}


class StoringTests(Base):
    """The calls on single documents and on many."""

    def test_shapes(self, store: Any, collection: str) -> None:
        first = store.set_document(collection, "ada", {"name": "Ada"})
        assert first == {
            "success": True, "doc_id": "ada", "collection": collection, "created": True,
        }  # fmt: skip
        again = store.set_document(collection, "ada", {"name": "Ada L."})
        assert again == first | {"created": False}
        assert store.get_document(collection, "ada") == {
            "success": True, "exists": True, "data": {"name": "Ada L."}, "doc_id": "ada",
        }  # fmt: skip
        assert store.get_document(collection, "bob") == {
            "success": True, "exists": False, "data": None, "doc_id": "bob",
        }  # fmt: skip
        assert store.document_exists(collection, "ada") == {"success": True, "exists": True}
        assert store.document_exists(collection, "bob") == {"success": True, "exists": False}
        assert store.query(collection) == {
            "success": True, "results": [{"doc_id": "ada", "data": {"name": "Ada L."}}], "count": 1,
        }  # fmt: skip
        assert store.update_document(collection, "ada", {"name": "A."})["success"] is True
        deleted = store.delete_document(collection, "ada")
        assert (deleted["success"], deleted["deleted"]) == (True, True)
        assert store.delete_document(collection, "ada")["deleted"] is False
        assert store.count(collection) == {"success": True, "count": 0}

    def test_values_come_back_as_they_went_in(self, store: Any, collection: str) -> None:
        values = dict(VALUES)
        if not self.nested_lists:
            refused = store.set_document(collection, "a", values)
            assert "$.lists" in failed(refused, "validation_error")
            del values["lists"]
        assert store.set_document(collection, "a", values)["success"]
        found = store.get_document(collection, "a")["data"]
        assert identical(found, values)
        assert identical(store.query(collection)["results"][0]["data"], values)

    @pytest.mark.parametrize(
        "value",
        [float("nan"), float("inf"), -0.0, 2**63, -(2**63) - 1, "a\0b", "\ud800", {"": 1},
         {1: 2}, {"a\0": 1}, {"\udfff": 1}, b"bytes", {1, 2}, object, {"x" * 1501: 1}],
        ids=repr,
    )  # fmt: skip
    def test_what_a_database_would_change_is_refused(
        self, store: Any, collection: str, value: Any
    ) -> None:
        result = store.set_document(collection, "a", {"outer": [{"inner": value}]})
        assert "$.outer[0].inner" in failed(result, "serialization_error")
        assert store.document_exists(collection, "a")["exists"] is False

    def test_limits(self, store: Any, collection: str) -> None:
        deep: Any = 1
        for _ in range(19):
            deep = {"a": deep}
        assert store.set_document(collection, "deep", {"a": deep})["success"]
        failed(store.set_document(collection, "deep", {"a": {"a": deep}}), "serialization_error")
        huge = {"text": "ab " * 400_000}
        assert "1,048,576" in failed(store.set_document(collection, "a", huge), "validation_error")

    @pytest.mark.parametrize("data", [None, 5, "text", [1], [("a", 1)]])
    def test_data_must_be_a_dict(self, store: Any, collection: str, data: Any) -> None:
        for call in (store.set_document, store.update_document):
            assert "data must be a dict" in failed(call(collection, "a", data), "validation_error")

    def test_merge(self, store: Any, collection: str) -> None:
        result = store.set_document(collection, "a", {"x": {"y": 1}, "k": 1}, merge=True)
        assert result["created"] is True
        result = store.set_document(
            collection, "a", {"x": {"z": [2]}, "l": None, "e": {}}, merge=True
        )
        assert result["created"] is False
        wanted = {"x": {"y": 1, "z": [2]}, "k": 1, "l": None, "e": {}}
        assert store.get_document(collection, "a")["data"] == wanted
        store.set_document(collection, "a", {"x": {"z": 3}, "k": {"now": "an object"}}, merge=True)
        wanted |= {"x": {"y": 1, "z": 3}, "k": {"now": "an object"}}
        assert store.get_document(collection, "a")["data"] == wanted
        store.set_document(collection, "a", {"only": 1})
        assert store.get_document(collection, "a")["data"] == {"only": 1}

    def test_update(self, store: Any, collection: str) -> None:
        failed(store.update_document(collection, "a", {"x": 1}), "not_found")
        assert store.document_exists(collection, "a")["exists"] is False
        store.set_document(collection, "a", {"x": {"y": 1, "z": 2}, "d.t": 0, "l": [1]})
        result = store.update_document(
            collection, "a", {"x.y": {"n": 1}, "new.deep.er": True, r"d\.t": 5}
        )
        assert result == {
            "success": True, "doc_id": "a", "collection": collection, "updated": True,
        }  # fmt: skip
        assert store.get_document(collection, "a")["data"] == {
            "x": {"y": {"n": 1}, "z": 2}, "new": {"deep": {"er": True}}, "d.t": 5, "l": [1],
        }  # fmt: skip

    @pytest.mark.parametrize(
        ("changes", "problem"),
        [({}, "at least one field"), ({"x": 1, "x.y": 2}, "give one of them"),
         ({"l.0": 1}, "must be an object"), ({"x..y": 1}, "empty"), ({"x\\y": 1}, "backslash"),
         ({5: 1}, "must be a string"), ({"x\0": 1}, "NUL")],
    )  # fmt: skip
    def test_a_malformed_update_changes_nothing(
        self, store: Any, collection: str, changes: Any, problem: str
    ) -> None:
        store.set_document(collection, "a", {"x": {"y": 1}, "l": [1]})
        result = store.update_document(collection, "a", changes)
        assert problem in failed(result, "validation_error")
        assert store.get_document(collection, "a")["data"] == {"x": {"y": 1}, "l": [1]}

    def test_batches(self, store: Any, collection: str) -> None:
        documents = [
            {"collection": collection, "doc_id": f"{i:03}", "data": {"i": i}} for i in range(60)
        ]
        assert store.batch_set(documents) == {"success": True, "count": 60}
        assert store.batch_set(documents[:3])["success"]
        assert store.count(collection)["count"] == 60
        keys = [{"collection": collection, "doc_id": f"{i:03}"} for i in range(10, 70)]
        assert store.batch_delete(keys)["success"]
        left = [found["doc_id"] for found in store.query(collection)["results"]]
        assert left == [f"{i:03}" for i in range(10)]
        assert store.batch_set([]) == {"success": True, "count": 0}
        many = [{"collection": collection, "doc_id": f"m{i}", "data": {}} for i in range(250)]
        assert store.batch_set(many, atomic=False) == {"success": True, "count": 250}
        assert store.count(collection)["count"] == 260

    def test_a_batch_with_an_error_stores_nothing(self, store: Any, collection: str) -> None:
        result = store.batch_set(
            [
                {"collection": collection, "doc_id": "a", "data": {}},
                {"collection": collection, "doc_id": "", "data": {}},
                {"collection": collection, "doc_id": "c", "data": {"x": float("nan")}},
            ]
        )
        failed(result, "validation_error")
        assert [*result["errors"]] == ["documents[1]", "documents[2]"]
        assert store.count(collection)["count"] == 0
        for wrong in (5, "text", [1], [{"collection": collection}], {"collection": collection}):
            failed(store.batch_set(wrong), "validation_error")
        failed(store.batch_set([], atomic=1), "validation_error")

    def test_collections(self, store: Any, collection: str) -> None:
        for name in ("a", "b"):
            store.set_document(f"{collection}-{name}", "x", {})
        listed = store.list_collections()
        assert listed["success"]
        assert listed["count"] == len(listed["collections"])
        assert listed["collections"] == sorted(listed["collections"])
        mine = [name for name in listed["collections"] if name.startswith(collection)]
        assert mine == [f"{collection}-a", f"{collection}-b"]
        store.delete_document(f"{collection}-a", "x")
        assert f"{collection}-a" not in store.list_collections()["collections"]

    def test_the_face_that_raises(self, store: Any, collection: str) -> None:
        documents = store.documents
        assert documents.set_document(collection, "a", {"n": 1})["created"] is True
        assert documents.get_document(collection, "a")["data"] == {"n": 1}
        assert documents.query(collection, filters=[("n", "==", 1)])["count"] == 1
        with pytest.raises(NotFoundError, match="no document 'b'"):
            documents.update_document(collection, "b", {"n": 1})
        with pytest.raises(ValidationError, match="unknown operator"):
            documents.query(collection, filters=[("n", "like", 1)])
        with pytest.raises(SerializationError):
            documents.set_document(collection, "a", {"n": float("inf")})

    def test_an_unknown_argument_is_named(self, store: Any, collection: str) -> None:
        result = store.query(collection, filter=[("n", "==", 1)])
        assert "did you mean 'filters'?" in failed(result, "validation_error")

    def test_a_closed_store(self, store: Any, collection: str) -> None:
        store.set_document(collection, "a", {})
        store.close()
        store.close()
        assert "closed" in failed(store.get_document(collection, "a"), "catalog_error")
