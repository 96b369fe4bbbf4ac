"""A place for sessions in every backend."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lakebed.sessions import SessionManager
from tests.sessions.backends import BACKENDS, open_sessions, place


@pytest.fixture(params=BACKENDS)
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return place(request.param, tmp_path, request)


@pytest.fixture
def manager(where: str) -> Iterator[SessionManager]:
    with open_sessions(where) as manager:
        yield manager
