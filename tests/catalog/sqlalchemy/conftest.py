"""A new database for a test."""

import secrets

import pytest

from tests.servers import MariaDBServer


@pytest.fixture
def name(mariadb: MariaDBServer) -> str:
    """A new database."""
    found = f"t{secrets.token_hex(6)}"
    mariadb.url(found)
    return found
