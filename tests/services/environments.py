"""The environments in which clients of clouds find what runs here in their place."""

from __future__ import annotations

import pytest

from tests.services.dynamodb import REGION
from tests.services.firestore import FirestoreServer


@pytest.fixture
def in_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment as Lambda has it."""
    monkeypatch.setenv("AWS_REGION", REGION)
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def in_firestore(firestore: FirestoreServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment whose Firestore is the emulator."""
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", firestore.host)
