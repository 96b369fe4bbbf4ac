"""Names, operators and values that would do harm if they became part of a query's text."""

from __future__ import annotations

from typing import Any

from lakebed.testing.documents.base import Base, failed

TEXTS = [
    "'", '"', "''", "\\", "`", ";", "--", "/* */", "%s", "%(a)s", "%", "$1", ":name", "?", "{}",
    "{0}", "}", "]", "[0]", "->", "->>", "#>", "@>", "*", "&", "|", "!", " ", "\n", "\t", "\r",
    "x' OR '1'='1", "'; DROP TABLE lakebed_metadata; --", '"; DROP TABLE lakebed_metadata; --',
    "x') OR 1=1 --", "data", "doc_id", "collection", "lakebed_metadata", "null", "true", "0",
    "-1", "1e400", "NaN", "undefined", "__proto__", "constructor", "_id", "id", "__name__",
    "$where", "$ne", "$gt", "$expr", "$function", "a.$b", "#pk", ":v", "attribute_exists(pk)",
    "size(data)", "../../etc/passwd", "..", ".", "/", "a/b", "a/b/c", "//", "%2F", "%25",
    "\u202e", "\ufeff",
    "\U0001f4a9", "e\u0301", "\u00e9", "\x7f", "\x1b[31m", "system.users", "~*~", "😀" * 20,
]  # fmt: skip
OPERATORS: list[Any] = [
    "", "=", "===", "<>", "LIKE", "like", "$eq", "$where", "$regex", "= 1 OR 1 =", "== 1; --",
    "in (", "IN", "Array-Contains", "array_contains", "contains", "is", "~", "==\0", " ==", "==\n",
    None, 5, True, ["=="], {"$ne": 1}, b"==", ("==",),
]  # fmt: skip


class HostileTests(Base):
    """Names and values are data, whatever characters they have."""

    def test_ids_and_values(self, store: Any, collection: str) -> None:
        kept = self._keep(
            "doc_id",
            lambda text: store.set_document(collection, text, {"value": text, "in": [text]}),
        )
        for number, text in enumerate(kept):
            # Try each name in only one of these ways, because servers are slow.
            if number % 4 == 0:
                assert store.get_document(collection, text)["data"]["value"] == text
                assert store.document_exists(collection, text)["exists"] is True
            elif number % 4 == 1:
                equal = store.query(collection, filters=[("value", "==", text)])
                assert [one["doc_id"] for one in equal["results"]] == [text]
            elif number % 4 == 2:
                holding = store.query(collection, filters=[("in", "array-contains", text)])
                assert [one["doc_id"] for one in holding["results"]] == [text]
            else:
                later = store.query(collection, [("value", ">=", text)], start_after=text)
                assert [one["doc_id"] for one in later["results"]] == sorted(
                    other for other in kept if other > text
                )
            if number % 10 == 0:  # a database without search reads all documents
                assert store.search(collection, text)["success"] is True
        found = store.query(collection, limit=None)["results"]
        assert [one["doc_id"] for one in found] == sorted(kept)
        backwards = store.query(collection, order_by=[("value", "desc")], limit=None)["results"]
        assert [one["doc_id"] for one in backwards] == sorted(kept, reverse=True)
        assert store.delete_document(collection, kept[0])["deleted"] is True
        assert store.count(collection)["count"] == len(kept) - 1

    def test_fields(self, store: Any, collection: str) -> None:
        data: dict[str, Any] = {}

        def keep(text: str) -> Any:
            result = store.set_document(collection, "alone", {text: 1, "deep": {text: [text]}})
            if result["success"]:
                data[text] = {"value": text}
            return result

        kept = self._keep("field", keep)
        assert store.set_document(collection, "all", data)["success"]
        store.delete_document(collection, "alone")
        for text in kept:
            path = text.replace("\\", "\\\\").replace(".", "\\.").replace("$", "\\$")
            found = store.query(
                collection, filters=[(f"{path}.value", "==", text)], select=[path],
                order_by=[(f"{path}.value", "desc")],
            )  # fmt: skip
            assert found["results"] == [{"doc_id": "all", "data": {text: {"value": text}}}], found
            other = store.query(collection, filters=[(f"{path}.value", "!=", text)])
            assert other["count"] == 0
        path = kept[0].replace("\\", "\\\\").replace(".", "\\.").replace("$", "\\$")
        assert store.update_document(collection, "all", {f"{path}.value": 5})["success"]
        data[kept[0]] = {"value": 5}
        assert store.get_document(collection, "all")["data"] == data

    def test_collections(self, store: Any, collection: str) -> None:
        names = [f"{text}{collection}" for text in TEXTS] + [f"{collection}{t}" for t in TEXTS]
        kept = self._keep("collection", lambda name: store.set_document(name, "a", {"n": 1}), names)
        listed = store.list_collections()["collections"]
        assert sorted(name for name in listed if collection in name) == sorted(kept)
        for name in kept:
            assert store.query(name)["results"] == [{"doc_id": "a", "data": {"n": 1}}]
            assert store.delete_document(name, "a")["deleted"] is True

    def test_operators(self, store: Any, collection: str) -> None:
        store.set_document(collection, "a", {"f": 1})
        for operator in OPERATORS:
            for call in (store.query, store.count):
                failed(call(collection, filters=[("f", operator, 1)]), "validation_error")
        assert store.query(collection)["count"] == 1

    def test_malformed_names(self, store: Any, collection: str) -> None:
        for name in ("", "a\0b", "\ud800", None, 5, b"a", ["a"], "x" * 501, "ä" * 251):
            for call in (store.get_document, store.document_exists, store.delete_document):
                failed(call(collection, name), "validation_error")
            failed(store.set_document(collection, name, {}), "validation_error")
        for name in ("", "a\0b", "\ud800", None, 5, "x" * 101):
            failed(store.set_document(name, "a", {}), "validation_error")
            failed(store.query(name), "validation_error")
            failed(store.count(name), "validation_error")
            failed(store.search(name, "a"), "validation_error")

    def _keep(self, kind: str, keep: Any, names: list[str] = TEXTS) -> list[str]:
        """Return the names that the store can hold. It must refuse exactly the ones it declares."""
        kept = []
        for name in names:
            result = keep(name)
            if self.refuses(kind, name):
                failed(result, "validation_error")
            else:
                assert result["success"] is True, (name, result)
                kept.append(name)
        return kept
