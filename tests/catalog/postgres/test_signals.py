"""Signals by LISTEN and NOTIFY."""

from __future__ import annotations

import threading
import time

import lakebed
from tests.servers import PostgresServer
from tests.waiting import LONG, in_time


def test_a_signal_wakes_who_listens(postgres_18: PostgresServer) -> None:
    url = postgres_18.url(postgres_18.create_database())
    with (
        lakebed.open(catalog=url) as lake,
        lakebed.open(catalog=url) as other,
        lake.listen("news") as signals,
        lake.scope("a/b").listen("news") as inside,
    ):
        assert signals.wakes
        assert inside.wakes
        timer = threading.Timer(0.2, lambda: other.signal("news"))
        timer.start()
        with in_time():
            signals.wait(LONG)
        timer.join()
        # Other topics, and other scopes, are heard by others.
        other.signal("other news")
        other.signal("news")
        began = time.monotonic()
        inside.wait(0.3)
        assert time.monotonic() - began >= 0.29
        other.scope("a/b").signal("news")
        with in_time():
            inside.wait(LONG)


def test_who_listens_survives_a_restart(private_postgres: PostgresServer) -> None:
    with (
        lakebed.open(catalog=private_postgres.url()) as lake,
        lake.listen("news") as signals,
    ):
        private_postgres.stop()
        with in_time(60):
            signals.wait(0.2)
        private_postgres.start()
        assert not signals.wakes
        signals.wait(0.01)


def test_elsewhere_nobody_is_woken() -> None:
    with lakebed.open(":memory:") as lake, lake.listen("news") as signals:
        assert not signals.wakes
        lake.signal("news")
        began = time.monotonic()
        signals.wait(0.1)
        assert time.monotonic() - began >= 0.09
