"""Stores in a libSQL server, beside upserts over the bare protocol."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import NoReturn

import lakebed
from tests.benchmarks.documents import documents
from tests.benchmarks.runner import OURS, Contest, Room, benchmark
from tests.services.sqld import SqldServer, running_sqld

BARE = "bare protocol"
ROUNDS = 5
THREADS = 8
UPSERT = """
INSERT INTO bare ("key", "value") VALUES (?, ?)
ON CONFLICT ("key") DO UPDATE SET "value" = excluded."value\""""


def _missing(name: str, reason: str) -> NoReturn:
    raise SystemExit(f"{name} is not available: {reason}")


class Bare:
    """One table, and a request for each upsert, which is a transaction of its own."""

    def __init__(self, port: int) -> None:
        import urllib3

        self._pool = urllib3.HTTPConnectionPool("127.0.0.1", port, maxsize=THREADS)
        self.run('CREATE TABLE bare ("key" TEXT PRIMARY KEY, "value" TEXT)', [])

    def run(self, sql: str, values: list[str]) -> None:
        """Run a statement, again while others hold the lock."""
        args = [{"type": "text", "value": value} for value in values]
        execute = {"type": "execute", "stmt": {"sql": sql, "args": args}}
        body = json.dumps({"requests": [execute, {"type": "close"}]})
        while True:
            answer = self._pool.request("POST", "/v2/pipeline", body=body)
            result = json.loads(answer.data)["results"][0]
            if result["type"] == "ok":
                return
            assert result["error"]["code"] == "SQLITE_BUSY", answer.data

    def store(self, key: str, value: object) -> None:
        self.run(UPSERT, [key, json.dumps(value)])


@benchmark
def turso(room: Room) -> Iterator[Contest]:
    """Stores of one thread and of eight, on a server of this machine."""
    with ExitStack() as stack:
        server = stack.enter_context(running_sqld(_missing, SqldServer))
        lake = stack.enter_context(lakebed.open(catalog={"type": "turso", "url": server.url()}))
        bare = Bare(server.port)  # after the lake, which refuses a database of others
        stores: dict[str, Callable[[str, object], object]] = {OURS: lake.store, BARE: bare.store}
        count = room.count(800)
        rounds = [documents(count, start=number * count) for number in range(2 * ROUNDS)]
        pool = stack.enter_context(ThreadPoolExecutor(THREADS))

        def one(store: Callable[[str, object], object], number: int) -> None:
            for key, value in rounds[number]:
                store(key, value)

        def many(store: Callable[[str, object], object], number: int) -> None:
            for _ in pool.map(lambda pair: store(*pair), rounds[ROUNDS + number]):
                pass

        for title, work in (("one thread", one), (f"{THREADS} threads", many)):
            contenders = {
                name: (lambda number, store=store, work=work: work(store, number))
                for name, store in stores.items()
            }
            title = f"store of a 470-byte document in libSQL, {title}"
            yield Contest(title, contenders, {BARE: 0.6}, operations=count, rounds=ROUNDS)
