"""A moment that was named once never changes, although versions become visible out of order."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import psycopg
import psycopg.sql
import pytest

import lakebed
from lakebed.errors import LockTimeoutError
from lakebed.lake.history.snapshots import LakeView
from lakebed.lake.lake import Lake
from lakebed.values.codec import encode_value
from tests.servers import PostgresServer


@pytest.fixture
def place(postgres_18: PostgresServer) -> dict[str, Any]:
    schema = f"t{secrets.token_hex(6)}"
    return {"type": "postgres", "url": postgres_18.url(), "schema": schema, "max_size": 4}


@contextmanager
def under_way(place: dict[str, Any], key: str) -> Iterator[psycopg.Connection[Any]]:
    """A store that has drawn its version and is not committed yet."""
    encoded = encode_value("late")
    with psycopg.connect(place["url"]) as connection:
        sql = (
            "SELECT * FROM {}.put_entry(%s, %s, %s, %s, %s, NULL, NULL, NULL, '{{}}', NULL, NULL, "
            "false, NULL, NULL, true, NULL, NULL)"
        )
        connection.execute(
            psycopg.sql.SQL(sql).format(psycopg.sql.Identifier(place["schema"])),
            (key, encoded.content_hash, encoded.format, encoded.byte_size, encoded.data),
        )
        yield connection


def views(lake: Lake, version: int) -> list[set[str]]:
    return [set(lake.at(version)), set(lake.at(datetime.now(UTC)))]


def test_a_write_under_way_is_waited_for(place: dict[str, Any]) -> None:
    with lakebed.open(catalog=place, history="all") as lake:
        lake.store("first", 1)
        with under_way(place, "late") as connection:
            version = lake.store("after", 2).version  # higher, and visible before
            assert set(lake) == {"first", "after"}
            committing = threading.Timer(0.3, connection.commit)
            begin = time.monotonic()
            committing.start()
            assert views(lake, version) == [{"first", "late", "after"}] * 2
            assert time.monotonic() - begin > 0.25
            committing.join()
        assert views(lake, version)[0] == {"first", "late", "after"}


def test_one_that_takes_too_long_is_an_error(place: dict[str, Any]) -> None:
    with lakebed.open(catalog=place, history="all", lock_timeout=0.3) as lake:
        version = lake.store("first", 1).version
        with under_way(place, "late") as connection:
            with pytest.raises(LockTimeoutError):
                lake.at(version)
            connection.rollback()
        assert set(lake.at(version)) == {"first"}


def test_moments_stay_as_they_are_while_others_write(place: dict[str, Any], soak: bool) -> None:
    seconds = 60.0 if soak else 2.0
    with lakebed.open(catalog=place, history="all") as lake:
        lake.store("k0", 0)
        until = time.monotonic() + seconds
        enough = threading.Event()

        def write(thread: int) -> None:
            number = 0
            while not enough.is_set():
                lake.store(f"k{(number * 3 + thread) % 7}", [thread, number])
                number += 1

        threads = [threading.Thread(target=write, args=(n,)) for n in range(3)]
        for thread in threads:
            thread.start()
        seen: list[tuple[LakeView, dict[str, Any]]] = []
        while time.monotonic() < until or len(seen) < 6:
            for moment in (datetime.now(UTC), max(entry.version for entry in lake.list())):
                view = lake.at(moment)
                seen.append((view, dict(view.items())))
        enough.set()
        for thread in threads:
            thread.join()
        for view, before in seen:
            assert dict(view.items()) == before
