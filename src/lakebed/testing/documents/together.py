"""Threads and processes that write at once lose nothing."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from lakebed.testing.documents.base import Base, Connect

# The child does not import the suite, which takes long to load.
_CHILD = """
import asyncio, pickle, sys
(make, kind, options), collection, times = pickle.loads(bytes.fromhex(sys.argv[1]))

def work(tx):
    number = tx.get_document(collection, "n")["data"]["n"]
    tx.set_document(collection, "n", {"n": number + 1})

async def wait(tx):
    number = (await tx.get_document(collection, "n"))["data"]["n"]
    await tx.set_document(collection, "n", {"n": number + 1})

async def run():
    async with make(kind, **options) as store:
        for _ in range(times):
            print(await store.run_transaction(wait))

if kind.endswith("_async"):
    asyncio.run(run())
else:
    with make(kind, **options) as store:
        for _ in range(times):
            print(store.run_transaction(work))
"""


class TogetherTests(Base):
    """Many writers change the same documents."""

    def test_threads_that_increment(self, store: Any, collection: str) -> None:
        threads, times = (3, 1) if self.slow else (4, 8)
        store.set_document(collection, "n", {"n": 0})

        def work(number: int) -> None:
            for turn in range(times):
                _increment(store, collection, number)
                mark = {"n": store.increment(1), "seen": store.array_union([f"{number}-{turn}"])}
                assert store.update_document(collection, "direct", mark)["success"]
                result = store.set_document(collection, "new", {"n": store.increment(1)}, True)
                assert result["success"], result

        store.set_document(collection, "direct", {})
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(work, range(threads)))
        done = threads * times
        found = store.get_document(collection, "n")["data"]
        assert found["n"] == done
        assert Counter(found["by"]) == dict.fromkeys(range(threads), times)
        direct = store.get_document(collection, "direct")["data"]
        assert (direct["n"], len(direct["seen"])) == (done, done)
        assert store.get_document(collection, "new")["data"] == {"n": done}

    def test_processes_that_increment(self, store: Any, collection: str, connect: Connect) -> None:
        processes, times = (2, 1) if self.slow else (3, 6)
        store.set_document(collection, "n", {"n": 0})
        told = pickle.dumps((connect, collection, times)).hex()
        started = [
            subprocess.Popen(
                [sys.executable, "-c", _CHILD, told], stdout=subprocess.PIPE, text=True
            )
            for _ in range(processes)
        ]
        for process in started:
            said, _ = process.communicate(timeout=120)
            assert said.splitlines() == ["{'success': True, 'result': None}"] * times
        assert store.get_document(collection, "n")["data"]["n"] == processes * times

    def test_no_skew(self, store: Any, collection: str) -> None:
        """Two transactions each turn a document off if the other one is on. One stays on."""
        rounds = 1 if self.slow else 5
        for turn in range(rounds):
            for name in ("a", "b"):
                store.set_document(collection, f"{name}{turn}", {"on": True})

            def leave(mine: str, other: str) -> None:
                def work(tx: Any) -> None:
                    if tx.get_document(collection, other)["data"]["on"]:
                        tx.update_document(collection, mine, {"on": False})

                result = store.run_transaction(work)
                assert result["success"], result

            with ThreadPoolExecutor(2) as pool:
                pairs = (f"a{turn}", f"b{turn}"), (f"b{turn}", f"a{turn}")
                list(pool.map(lambda pair: leave(*pair), pairs))
            left = [store.get_document(collection, f"{n}{turn}")["data"]["on"] for n in "ab"]
            assert sorted(left) == [False, True]


def _increment(store: Any, collection: str, number: int) -> None:
    def work(tx: Any) -> None:
        data = tx.get_document(collection, "n")["data"]
        by = [*data.get("by", []), number]
        tx.set_document(collection, "n", {"n": data["n"] + 1, "by": by})

    result = store.run_transaction(work)
    assert result["success"], result
