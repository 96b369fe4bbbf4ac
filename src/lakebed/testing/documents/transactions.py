"""Transactions: they read, then write all or none, and are repeated after a conflict."""

from __future__ import annotations

from typing import Any

import pytest

from lakebed.errors import NotFoundError
from lakebed.testing.documents.base import Base, failed


class TransactionTests(Base):
    """`run_transaction`."""

    def test_reads_then_writes(self, store: Any, collection: str) -> None:
        store.set_document(collection, "a", {"n": 10})
        store.set_document(collection, "b", {"n": 0})
        store.set_document(collection, "gone", {})

        def move(tx: Any) -> int:
            a = tx.get_document(collection, "a")
            b = tx.get_document(collection, "b")
            assert a == {"success": True, "exists": True, "data": {"n": 10}, "doc_id": "a"}
            assert tx.document_exists(collection, "c") == {"success": True, "exists": False}
            assert tx.update_document(collection, "a", {"n": a["data"]["n"] - 4})["success"]
            created = tx.set_document(collection, "b", {"n": b["data"]["n"] + 4})
            assert created["created"] is False
            assert tx.set_document(collection, "c", {"at": tx.server_timestamp()})["created"]
            assert tx.delete_document(collection, "gone")["deleted"] is True
            assert tx.delete_document(collection, "never")["deleted"] is False
            return 4

        assert store.run_transaction(move) == {"success": True, "result": 4}
        found = {one["doc_id"]: one["data"] for one in store.query(collection)["results"]}
        assert found.keys() == {"a", "b", "c"}
        assert (found["a"], found["b"]) == ({"n": 6}, {"n": 4})

    def test_its_reads_see_its_writes(self, store: Any, collection: str) -> None:
        store.set_document(collection, "a", {"n": 1, "t": "x"})
        store.set_document(collection, "b", {"n": 2})

        def work(tx: Any) -> list[Any]:
            tx.set_document(collection, "c", {"n": 3})
            tx.update_document(collection, "a", {"n": tx.increment(4)})
            tx.update_document(collection, "a", {"n": tx.increment(1)})
            tx.set_document(collection, "a", {"u": 1}, merge=True)
            tx.delete_document(collection, "b")
            assert tx.get_document(collection, "b")["exists"] is False
            assert tx.get_document(collection, "a")["data"] == {"n": 6, "t": "x", "u": 1}
            found = tx.query(collection, filters=[("n", ">", 2)], order_by=[("n", "desc")])
            return [one["doc_id"] for one in found["results"]]

        assert store.run_transaction(work)["result"] == ["a", "c"]
        assert store.get_document(collection, "a")["data"] == {"n": 6, "t": "x", "u": 1}

    def test_nobody_sees_it_before_its_end(self, store: Any, collection: str) -> None:
        def work(tx: Any) -> None:
            tx.set_document(collection, "a", {})
            tx.set_document(collection, "b", {})

        store.set_document(collection, "x", {})
        assert store.run_transaction(work)["success"]
        assert store.count(collection)["count"] == 3

    def test_an_error_undoes_it(self, store: Any, collection: str) -> None:
        def work(tx: Any) -> None:
            tx.set_document(collection, "a", {})
            raise RuntimeError("no")

        with pytest.raises(RuntimeError, match="no"):
            store.run_transaction(work)
        assert store.count(collection)["count"] == 0

        def other(tx: Any) -> None:
            tx.set_document(collection, "a", {})
            raise NotFoundError("of mine")

        assert failed(store.run_transaction(other), "not_found") == "of mine"
        assert store.count(collection)["count"] == 0

    def test_a_refused_call_fails_all_of_it(self, store: Any, collection: str) -> None:
        def work(tx: Any) -> None:
            tx.set_document(collection, "a", {})
            failed(tx.update_document(collection, "none", {"n": 1}), "not_found")
            failed(tx.set_document(collection, "", {}), "validation_error")

        failed(store.run_transaction(work), "not_found")
        assert store.count(collection)["count"] == 0

    def test_the_face_that_raises(self, store: Any, collection: str) -> None:
        def work(tx: Any) -> str:
            try:
                tx.update_document(collection, "a", {"n": 1})
            except NotFoundError:
                tx.set_document(collection, "a", {"n": tx.increment(1)})
            return "done"

        documents = store.documents
        assert documents.run_transaction(work) == {"success": True, "result": "done"}
        assert store.get_document(collection, "a")["data"] == {"n": 1}
        with pytest.raises(NotFoundError):
            documents.run_transaction(lambda tx: tx.update_document(collection, "b", {"n": 1}))

    def test_it_ends_with_its_function(self, store: Any, collection: str) -> None:
        kept = store.run_transaction(lambda tx: tx)["result"]
        assert "ended" in failed(kept.get_document(collection, "a"), "validation_error")

    def test_one_that_was_overtaken_runs_again(self, store: Any, collection: str) -> None:
        store.set_document(collection, "a", {"n": 1})
        runs: list[int] = []

        def work(tx: Any) -> int:
            seen: int = tx.get_document(collection, "a")["data"]["n"]
            runs.append(seen)
            if len(runs) == 1:
                store.set_document(collection, "a", {"n": 5})
            tx.update_document(collection, "a", {"n": seen + 1})
            return seen

        assert store.run_transaction(work) == {"success": True, "result": 5}
        assert runs == [1, 5]
        assert store.get_document(collection, "a")["data"] == {"n": 6}

    def test_what_it_did_not_find_counts(self, store: Any, collection: str) -> None:
        runs: list[bool] = []

        def work(tx: Any) -> None:
            there = tx.document_exists(collection, "a")["exists"]
            runs.append(there)
            if len(runs) == 1:
                store.set_document(collection, "a", {"second": True})
            if not there:
                tx.set_document(collection, "a", {"first": True})

        assert store.run_transaction(work)["success"]
        assert runs == [False, True]
        assert store.get_document(collection, "a")["data"] == {"second": True}

    def test_only_functions_run(self, store: Any) -> None:
        failed(store.run_transaction(5), "validation_error")
