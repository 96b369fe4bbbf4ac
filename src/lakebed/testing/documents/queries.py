"""Queries: what each operator means, order, pages, and search."""

from __future__ import annotations

from typing import Any

import pytest

from lakebed.testing.documents.base import Base, failed

DOCUMENTS: dict[str, Any] = {
    "missing": {},
    "null": {"f": None},
    "false": {"f": False},
    "true": {"f": True},
    "zero": {"f": 0},
    "one": {"f": 1},
    "one-float": {"f": 1.0},
    "big": {"f": 2**53 + 1},
    "huge": {"f": 1e22},
    "text-1": {"f": "1"},
    "text-Z": {"f": "Z"},
    "text-a": {"f": "a"},
    "text-ä": {"f": "ä"},
    "list-empty": {"f": []},
    "list": {"f": [1, "a", None, [2], {"k": 1, "l": 2}]},
    "object": {"f": {"k": 1, "l": 2}},
    "nested": {"f": {"g": {"h": 5}}},
}
KNOWN = [name for name in DOCUMENTS if name not in ("missing", "null")]


def but(*names: str) -> list[str]:
    return [name for name in KNOWN if name not in names]


CASES: list[tuple[str, Any, list[str]]] = [
    ("==", 1, ["one", "one-float"]),
    ("==", "1", ["text-1"]),
    ("==", True, ["true"]),
    ("==", None, ["null"]),
    ("==", [], ["list-empty"]),
    ("==", {"l": 2.0, "k": 1}, ["object"]),
    ("==", {"k": 1}, []),
    ("==", float(2**53), []),
    ("!=", 1, but("one", "one-float")),
    ("!=", None, but()),
    ("!=", {"l": 2, "k": 1}, but("object")),
    ("<", 1, ["zero"]),
    ("<=", 1, ["zero", "one", "one-float"]),
    (">", 1, ["big", "huge"]),
    (">", float(2**53), ["big", "huge"]),
    (">=", 1e22, ["huge"]),
    ("<", "a", ["text-1", "text-Z"]),
    (">=", "a", ["text-a", "text-ä"]),
    ("in", [1, "a", None], ["null", "one", "one-float", "text-a"]),
    ("in", [], []),
    ("in", [[]], ["list-empty"]),
    ("not-in", [1, "a", None], but("one", "one-float", "text-a")),
    ("not-in", [], but()),
    ("array-contains", 1, ["list"]),
    ("array-contains", None, ["list"]),
    ("array-contains", [2], ["list"]),
    ("array-contains", {"k": 1, "l": 2}, ["list"]),
    ("array-contains", {"k": 1}, []),
    ("array-contains", 2, []),
    ("array-contains-any", ["x", "a"], ["list"]),
    ("array-contains-any", [], []),
]
ORDERED = [
    "missing", "null", "false", "true", "zero", "one", "one-float", "big", "huge",
    "text-1", "text-Z", "text-a", "text-ä", "list", "list-empty", "nested", "object",
]  # fmt: skip


class QueryTests(Base):
    """`query`, `count` and `search`."""

    @pytest.fixture
    def full(self, store: Any, collection: str) -> str:
        """A collection with a document of each kind of value."""
        documents = dict(DOCUMENTS)
        if not self.nested_lists:
            documents["list"] = {"f": [1, "a", None, {"k": 1, "l": 2}]}
        result = store.batch_set(
            [{"collection": collection, "doc_id": k, "data": v} for k, v in documents.items()]
        )
        assert result["success"], result
        return collection

    def test_operators(self, store: Any, full: str) -> None:
        for operator, value, matching in CASES:
            nested = operator == "array-contains" and isinstance(value, list)
            wanted = [] if nested and not self.nested_lists else matching
            filters = [("f", operator, value)]
            found = store.query(full, filters=filters)
            assert ids(found) == sorted(wanted), (operator, value)
            assert store.count(full, filters=filters) == {"success": True, "count": len(wanted)}

    def test_filters_hold_together_and_along_paths(self, store: Any, full: str) -> None:
        def found(*filters: Any) -> list[str]:
            return ids(store.query(full, filters=[*filters]))

        assert found(("f", ">", 0), ("f", "<", 2)) == ["one", "one-float"]
        assert found(("f.g.h", "==", 5)) == ["nested"]
        assert found(("f.k", "in", [1, 2]), ("f.l", "==", 2)) == ["object"]
        assert found(("f.0", "==", 1)) == []  # a path does not enter lists
        assert found(("f.g", "==", {"h": 5})) == ["nested"]
        assert found(("f.k", "!=", 5)) == ["object"]
        store.set_document(full, "dotted", {"f": {"0": {"g": "h"}}})
        assert found(("f.0.g", "==", "h")) == ["dotted"]

    def test_order_of_kinds(self, store: Any, full: str) -> None:
        ordered = [name for name in ORDERED if name != "one"]
        store.delete_document(full, "one")
        assert listed(store.query(full, order_by=[("f", "asc")])) == ordered
        backwards = listed(store.query(full, order_by=[("f", "desc")]))
        # Ties stay in the order of ids.
        assert backwards == ["nested", "object", "list", "list-empty", *reversed(ordered[:-4])]

    def test_order_by_several_and_ties(self, store: Any, collection: str) -> None:
        rows = [("a", 1, "x"), ("b", 2, "x"), ("c", 1, "y"), ("d", 1, "x"), ("e", 2, "y")]
        for doc_id, number, text in rows:
            store.set_document(collection, doc_id, {"n": number, "in": {"t": text}})
        order = [("n", "desc"), ("in.t", "asc")]
        wanted = ["b", "e", "a", "d", "c"]
        assert listed(store.query(collection, order_by=order)) == wanted
        assert listed(store.query(collection, order_by=order, limit=2, offset=1)) == wanted[1:3]
        for place, doc_id in enumerate(wanted):
            later = store.query(collection, order_by=order, start_after=doc_id)
            assert listed(later) == wanted[place + 1 :]
        by_values = store.query(collection, order_by=order, start_after={"n": 1, "in.t": "x"})
        assert listed(by_values) == ["c"]
        assert listed(store.query(collection, order_by=order, start_after={"n": 2})) == [
            "a", "d", "c",
        ]  # fmt: skip

    def test_pages(self, store: Any, collection: str) -> None:
        names = [f"{i:02}" for i in range(25)]
        store.batch_set(
            [{"collection": collection, "doc_id": n, "data": {"even": not i % 2}}
             for i, n in enumerate(names)]
        )  # fmt: skip
        seen: list[str] = []
        while page := listed(
            store.query(collection, limit=10, start_after=seen[-1] if seen else None)
        ):
            seen += page
        assert seen == names
        filters = [("even", "==", True)]
        assert listed(store.query(collection, filters, limit=3, offset=2)) == ["04", "06", "08"]
        assert listed(store.query(collection, limit=0)) == []
        assert listed(store.query(collection, limit=None)) == names
        assert listed(store.query(collection, offset=24)) == ["24"]
        assert listed(store.query(collection, start_after="a deleted one")) == []

    def test_a_hundred_is_the_usual_limit(self, store: Any, collection: str) -> None:
        documents = [
            {"collection": collection, "doc_id": f"{i:03}", "data": {}} for i in range(120)
        ]
        store.batch_set(documents, atomic=False)
        assert store.query(collection)["count"] == 100
        assert store.query(collection, limit=None)["count"] == 120

    def test_select(self, store: Any, collection: str) -> None:
        data = {"a": 1, "b": {"c": 2, "d": {"e": 3, "f": 4}}, "l": [{"x": 1}]}
        store.set_document(collection, "x", data)

        def selected(*fields: str) -> Any:
            return store.query(collection, select=[*fields])["results"][0]["data"]

        assert selected("a", "b.d.e", "none", "b.none.x") == {"a": 1, "b": {"d": {"e": 3}}}
        assert selected("b", "b.c") == {"b": data["b"]}
        assert selected("b.c", "b.d") == {"b": data["b"]}
        assert selected("l.x") == {}
        assert selected() == {}

    @pytest.mark.parametrize(
        "arguments",
        [{"filters": "f"}, {"filters": [("f", "==")]}, {"filters": [("f", "like", "x")]},
         {"filters": [("f", "=", 1)]}, {"filters": [("f", "$eq", 1)]}, {"filters": [(1, "==", 1)]},
         {"filters": [("f", "<", None)]}, {"filters": [("f", "<", True)]},
         {"filters": [("f", ">", [1])]}, {"filters": [("f", "in", 1)]},
         {"filters": [("f", "not-in", "abc")]}, {"filters": [("f", "==", object)]},
         {"filters": [("f", "==", float("nan"))]}, {"filters": [("f", "==", 2**63)]},
         {"filters": [("", "==", 1)]}, {"filters": [("a..b", "==", 1)]},
         {"filters": [("f", ["=="], 1)]}, {"filters": {"f": 1}}, {"order_by": "f"},
         {"order_by": ["f"]}, {"order_by": [("f", "up")]}, {"order_by": [("f", 1)]},
         {"limit": -1}, {"limit": "5"}, {"limit": True}, {"offset": -1}, {"offset": None},
         {"start_after": 5}, {"start_after": {"g": 1}, "order_by": [("f", "asc")]},
         {"start_after": {}}, {"select": "f"}, {"select": [1]}],
        ids=repr,
    )  # fmt: skip
    def test_malformed_queries(self, store: Any, collection: str, arguments: Any) -> None:
        failed(store.query(collection, **arguments), "validation_error")

    def test_starting_after_what_is_not_there(self, store: Any, collection: str) -> None:
        result = store.query(collection, order_by=[("f", "asc")], start_after="none")
        failed(result, "not_found")

    def test_search(self, store: Any, collection: str) -> None:
        texts = {
            "tea": {"text": "Ada drinks green tea in the morning", "n": 1},
            "coffee": {"text": "Bob drinks coffee", "tags": ["black"], "n": 2},
            "both": {"deep": {"list": ["tea and more tea", "coffee"]}, "n": 1},
            "none": {"text": "nothing of it", "n": 1},
        }
        for doc_id, data in texts.items():
            store.set_document(collection, doc_id, data)
        found = store.search(collection, "what tea?")
        assert found["success"]
        assert {one["doc_id"] for one in found["results"]} == {"tea", "both"}
        assert found["total"] == found["count"] == 2
        assert found["results"][0]["data"] == texts[found["results"][0]["doc_id"]]
        scores = [one["score"] for one in found["results"]]
        assert scores == sorted(scores, reverse=True)
        assert min(scores) > 0
        any_word = store.search(collection, "tea coffee", limit=1)
        assert (any_word["count"], any_word["total"]) == (1, 3)
        assert store.search(collection, "tea coffee", offset=3)["total"] == 3
        assert ids(store.search(collection, "tea drinks", filters=[("n", "==", 1)])) == [
            "both", "tea",
        ]  # fmt: skip
        for text in ("", "?!", "zzz", "\0", "tea' OR 1=1 --" * 0):
            assert store.search(collection, text)["results"] == []
        store.update_document(collection, "tea", {"text": "water"})
        assert ids(store.search(collection, "tea")) == ["both"]
        failed(store.search(collection, None), "validation_error")
        failed(store.search(collection, "tea", limit=-1), "validation_error")


def listed(result: Any) -> list[str]:
    """Return the ids of a result, in its order."""
    assert result["success"], result
    assert result["count"] == len(result["results"])
    return [one["doc_id"] for one in result["results"]]


def ids(result: Any) -> list[str]:
    """Return the ids of a result, sorted."""
    return sorted(listed(result))
