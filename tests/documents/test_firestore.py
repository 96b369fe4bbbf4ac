"""What only Firestore has: documents of other programs, its own rules."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from lakebed.documents import create_metadata_store
from lakebed.testing.documents.base import failed
from tests.services.firestore import FirestoreServer


@pytest.fixture
def project(firestore: FirestoreServer, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", firestore.host)
    return firestore.create_project()


@pytest.fixture
def store(project: str) -> Iterator[Any]:
    with create_metadata_store("firestore", project=project) as store:
        yield store


def test_documents_are_as_they_are(store: Any, project: str, firestore: FirestoreServer) -> None:
    store.set_document("users", "ada", {"name": "Ada", "n": [1, 1.0, None]})
    client = firestore.client(project)
    document = client.collection("users").document("ada")
    assert document.get().to_dict() == {"name": "Ada", "n": [1, 1.0, None]}
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    document.update({"at": at, "friend": client.collection("users").document("bob")})
    found = store.get_document("users", "ada")["data"]
    assert found["at"] == "2026-01-02T03:04:05.000000+00:00"
    assert found["friend"] == "users/bob"
    # An update leaves the types of what it does not change.
    assert store.update_document("users", "ada", {"n": store.array_union([2])})["success"]
    raw = document.get().to_dict()
    assert raw["at"] == at
    assert raw["n"] == [1, 1.0, None, 2]
    client.close()


def test_lists_in_lists_are_refused(store: Any) -> None:
    store.set_document("c", "a", {"l": [{"deep": [1]}]})
    for data in ({"l": [[1]]}, {"o": {"l": [{"deep": [[]]}]}}):
        assert "list in a list" in failed(store.set_document("c", "a", data), "validation_error")
        assert "list in a list" in failed(store.update_document("c", "a", data), "validation_error")
    result = store.update_document("c", "a", {"l": store.array_union([[1]])})
    failed(result, "validation_error")
    assert store.query("c", filters=[("l", "==", [[1]])])["count"] == 0
    assert store.get_document("c", "a")["data"] == {"l": [{"deep": [1]}]}


def test_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", "127.0.0.1:9")
    with create_metadata_store("firestore", project="p", timeout=1.0) as store:
        result = store.get_document("c", "a")
        assert result["error_type"] in ("connection_error", "connection_timeout"), result
