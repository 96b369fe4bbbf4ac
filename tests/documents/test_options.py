"""Options of stores that are invalid. Each error says what it got, and shows no text."""

from __future__ import annotations

from typing import Any

import pytest

from lakebed.documents import create_metadata_store
from lakebed.errors import ConfigurationError

POSTGRES = {"type": "postgres", "url": "postgresql://h/db"}
MONGODB = {"type": "mongodb", "url": "mongodb://h/db"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (MONGODB | {"url": 5}, "url must be a string, got int"),
        (MONGODB | {"database": b"memory"}, "database must be a string, got bytes"),
        (MONGODB | {"database": ""}, "database must not be empty"),
        (POSTGRES | {"pool_size": "5"}, "pool_size must be a whole number, got str"),
        (POSTGRES | {"pool_size": True}, "pool_size must be a whole number, got bool"),
        (POSTGRES | {"pool_size": 0}, "pool_size must be 1 or more, got 0"),
        (POSTGRES | {"max_overflow": -1}, "max_overflow must be 0 or more, got -1"),
        (POSTGRES | {"timeout": "secret"}, "timeout must be seconds, got str"),
        (POSTGRES | {"timeout": 0},
         "timeout must be more than 0 and less than 1,000,000 seconds, got 0"),
        (POSTGRES | {"lock_timeout": float("inf")},
         "lock_timeout must be more than 0 and less than 1,000,000 seconds, got inf"),
        (POSTGRES | {"pgbouncer": 1}, "pgbouncer must be True or False, got int"),
        (POSTGRES | {"schema": None}, "schema must be a string, got NoneType"),
        *(
            (POSTGRES | {"schema": name},
             "schema must be valid Unicode with at most 63 bytes and no NUL character, got "
             f"{name!r}")
            for name in ("ä" * 32, "a\0", "a\ud800")
        ),
        (POSTGRES | {"async": "yes"}, "async must be True or False, got str"),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)  # fmt: skip
def test_an_invalid_option(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        create_metadata_store(**options)
    assert str(refused.value) == message
