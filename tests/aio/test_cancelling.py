"""Who is cancelled leaves nothing half done: no commit, no connection, no later call."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from lakebed import aio
from lakebed.errors import LakebedError
from tests.aio.conftest import Run, within
from tests.waiting import in_time

LARGE = "x" * 10_000
Call = Callable[[aio.AsyncLake, str], Awaitable[Any]]


async def transact(lake: aio.AsyncLake, mark: str, key: str = "one") -> None:
    async with lake.transaction() as tx:
        tx.store(key, mark)
        tx.store("two", mark + LARGE)


async def entries(mark: str) -> AsyncIterator[dict[str, Any]]:
    for key in ("one", "two"):
        await asyncio.sleep(0)
        yield {"key": key, "value": mark + LARGE}


async def report(*_: object) -> None:
    await asyncio.sleep(0)


CALLS: dict[str, Call] = {
    "store": lambda lake, mark: lake.store("one", mark + LARGE),
    "transaction": transact,
    "batch": lambda lake, mark: lake.store_batch(entries(mark), progress=report),
    "list of a batch": lambda lake, mark: lake.store_batch(
        [{"key": key, "value": mark} for key in ("one", "two")]
    ),
    "delete": lambda lake, _: lake.delete("one"),
    "update": lambda lake, mark: lake.update({"one": mark}),
    "snapshot": lambda lake, mark: lake.create_snapshot(mark),
    "restore": lambda lake, _: lake.restore("kept"),
    "maintain": lambda lake, _: lake.maintain(progress=report),
    "retrieve": lambda lake, _: lake.retrieve("kept"),
    "listing": lambda lake, _: lake.list(),
    "search": lambda lake, _: lake.search("word"),
    "sql": lambda lake, _: lake.sql("SELECT count(*) FROM entries"),
    "diff": lambda lake, _: lake.diff("kept"),
}


async def state(lake: aio.AsyncLake) -> tuple[Any, ...]:
    """All that a call may have changed, which belongs together."""
    values = await lake.retrieve_batch(["one", "two", "kept"])
    return dict(values), [snapshot.name for snapshot in await lake.snapshots()]


@pytest.mark.sampled("where", 2)
@pytest.mark.parametrize("name", CALLS)
def test_cancelled_at_every_await(run: Run, where: dict[str, Any], name: str, soak: bool) -> None:
    """After ever more steps of the loop: the call has happened whole or not at all, the next one
    works, and what was cancelled does not happen later."""

    async def main() -> None:
        async with aio.open(**where, max_workers=2) as lake:
            await lake.store("kept", "a word")
            await lake.create_snapshot("kept")
            outcomes = set[str]()
            for number in range(400 if soak else 14):
                for key in ("one", "two"):
                    await lake.store(key, "before")
                before, mark = await state(lake), f"m{number}"
                task = asyncio.create_task(_call(partial(CALLS[name], lake, mark)))
                await _later(number)
                task.cancel()
                try:
                    await task
                    outcomes.add("done")
                except asyncio.CancelledError:
                    outcomes.add("cancelled")
                found = await state(lake)
                _judge(name, mark, before, found)
                await asyncio.sleep(0.002)
                assert await state(lake) == found
            assert "cancelled" in outcomes
            # Both workers are free, and nothing is locked.
            async with asyncio.timeout(20):
                await asyncio.gather(*(lake.store(f"k{n}", n) for n in range(8)))

    run(main())


async def _call(call: Callable[[], Awaitable[Any]]) -> Any:
    return await call()


async def _later(number: int) -> None:
    """Steps of the loop at first, then time."""
    if number % 2:
        await asyncio.sleep(number * 0.0004)
    else:
        for _ in range(number // 2):
            await asyncio.sleep(0)


def _judge(name: str, mark: str, before: tuple[Any, ...], found: tuple[Any, ...]) -> None:
    values, snapshots = found
    if name == "snapshot":
        assert values == before[0]
        assert set(snapshots) - set(before[1]) <= {mark}
        return
    if name == "restore":
        done = "one" not in values
        assert values == ({"kept": "a word"} if done else before[0])
        assert len(snapshots) == len(before[1]) + done
        return
    assert snapshots == before[1]
    one, two = values.get("one"), values.get("two")
    if name in ("transaction", "batch", "list of a batch"):
        assert (one != "before") == (two != "before")
    elif name == "delete":
        assert one in ("before", None)
    elif name in ("store", "update"):
        assert str(one).startswith((mark, "before"))
    else:
        assert found == before


def test_storms(run: Run, where: dict[str, Any], soak: bool) -> None:
    """Tasks are cancelled at any moment: what was acknowledged is there, nothing comes late."""
    tasks, rounds = (64, 60) if soak else (24, 8)

    async def main() -> None:
        async with aio.open(**where, max_workers=4) as lake:
            acknowledged = dict.fromkeys(range(tasks), 0)
            pending = dict.fromkeys(range(tasks), 0)
            cancelled = 0

            async def work(task: int, rng: random.Random) -> None:
                while True:
                    pending[task] += 1
                    kind = rng.randrange(3)
                    if kind == 0:
                        await lake.store(f"t{task}", pending[task])
                    elif kind == 1:
                        async with lake.transaction() as tx:
                            tx.store(f"t{task}", pending[task])
                    else:
                        await lake.store_batch([{"key": f"t{task}", "value": pending[task]}])
                    acknowledged[task] = pending[task]
                    await lake.retrieve(f"t{task}")

            rng = random.Random(21)
            for _ in range(rounds):
                running = [
                    asyncio.create_task(work(task, random.Random(rng.random())))
                    for task in range(tasks)
                ]
                await asyncio.sleep(rng.uniform(0, 0.06))
                for each in rng.sample(running, tasks):
                    each.cancel()
                    await asyncio.sleep(0)
                for done in await asyncio.gather(*running, return_exceptions=True):
                    assert isinstance(done, asyncio.CancelledError), done
                    cancelled += 1
                found = {task: await lake.retrieve(f"t{task}", 0) for task in range(tasks)}
                for task, value in found.items():
                    assert acknowledged[task] <= value <= pending[task]
                assert found == {t: await lake.retrieve(f"t{t}", 0) for t in range(tasks)}
            assert cancelled == tasks * rounds
            assert sum(acknowledged.values()) > tasks
            assert (await lake.verify()).problems == []

    run(main())


def test_a_query_ends_with_its_task(run: Run, tmp_path: Path) -> None:
    slow = "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.range + b.range < 0"

    async def main() -> None:
        async with aio.open(tmp_path / "lake") as lake:
            await lake.store("a", 1)
            with in_time(20):
                with pytest.raises(TimeoutError):
                    await within(lake.sql(slow))
                assert await lake.sql("SELECT count(*) FROM entries")
                await lake.close()  # waits for what still runs

    run(main())


def test_a_batch_without_end_ends_with_its_task(run: Run, where: dict[str, Any]) -> None:
    async def main() -> None:
        async with aio.open(**where) as lake:

            async def endless() -> AsyncIterator[dict[str, Any]]:
                number = 0
                while True:
                    yield {"key": f"k{number}", "value": number}
                    number += 1

            def endless_and_synchronous() -> Any:
                number = 0
                while True:
                    yield {"key": f"k{number}", "value": number}
                    number += 1

            for batch in (endless(), endless_and_synchronous()):
                with pytest.raises(TimeoutError):
                    await within(lake.store_batch(batch))
                assert await lake.count() == 0
            with pytest.raises(TimeoutError):
                await within(lake.store_batch(endless(), atomic=False))
            found = await lake.keys()
            assert set(found) == {f"k{n}" for n in range(len(found))}  # what came before

    run(main())


def test_a_cancelled_step_of_an_iteration_loses_nothing(run: Run, where: dict[str, Any]) -> None:
    async def main() -> None:
        async with aio.open(**where) as lake:
            await lake.store_batch([{"key": f"k{n:05}", "value": n} for n in range(2500)])
            found = list[str]()
            keys = aiter(lake.keys())
            cancelled = 0
            while True:
                step = asyncio.create_task(_call(lambda: anext(keys)))
                await asyncio.sleep(0)
                if not step.done() and len(found) % 1000 == 0 and cancelled < 20:
                    step.cancel()
                try:
                    found.append(await step)
                except asyncio.CancelledError:
                    cancelled += 1
                except StopAsyncIteration:
                    break
            assert cancelled
            assert found == [f"k{n:05}" for n in range(2500)]

    run(main())


def test_a_cancelled_opening_leaves_no_lake(run: Run, where: dict[str, Any]) -> None:
    async def main() -> None:
        for number in range(20):
            opening = asyncio.create_task(_call(lambda: aio.open(**where)))
            await _later(number)
            opening.cancel()
            try:
                await (await opening).close()
            except asyncio.CancelledError:
                continue
        async with aio.open(**where) as lake:
            await lake.store("a", 1)

    run(main())


def test_a_cancelled_close_closes(run: Run, where: dict[str, Any]) -> None:
    async def main() -> None:
        for number in range(1, 9):
            lake = await aio.open(**where)
            stores = [asyncio.ensure_future(lake.store(f"k{n}", n)) for n in range(20)]
            await asyncio.sleep(0)
            closing = asyncio.create_task(lake.close())
            await _later(number)
            closing.cancel()
            await asyncio.gather(closing, *stores, return_exceptions=True)
            with pytest.raises(LakebedError, match="closed"):
                await lake.count()

    run(main())


def test_a_large_update_ends_with_its_task(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with aio.open(tmp_path / "lake") as lake:
            with pytest.raises(TimeoutError):
                await within(lake.update({f"k{n:06}": n for n in range(200_000)}))
            stored = await lake.count()
            await asyncio.sleep(0.05)
            assert await lake.count() == stored < 200_000

    run(main())


def test_an_ltm_batch_without_end_ends_with_its_task(run: Run, tmp_path: Path) -> None:
    def endless() -> Any:
        number = 0
        while True:
            yield {"key": f"k{number}", "value": number}
            number += 1

    async def main() -> None:
        async with aio.create_async_ltm_backend(path=tmp_path / "memory.db") as memory:
            with pytest.raises(TimeoutError):
                await within(memory.store_batch(endless()))
            assert await memory.lake.count() == 0

    run(main())


def test_a_transaction_that_gives_up_keeps_no_file(run: Run, tmp_path: Path) -> None:
    """Tables wait in temporary files, which complain if nobody closes them."""
    rows = pa.table({"n": pa.array(range(1_000_000)).cast("string")})

    async def main() -> None:
        async with aio.open(tmp_path / "lake", max_workers=1) as lake:
            tx = lake.transaction()
            tx.store("table", rows)
            assert (await tx.retrieve("table")).num_rows == len(rows)
            blocking = asyncio.create_task(_call(lambda: lake.update({"a": 1})))
            committing = asyncio.create_task(tx.commit())
            await asyncio.sleep(0)
            committing.cancel()
            await asyncio.gather(blocking, committing, return_exceptions=True)
            with pytest.raises(ZeroDivisionError):
                await _fail(lake, rows)
            assert await lake.keys() in (["a"], ["a", "table"])

    run(main())


async def _fail(lake: aio.AsyncLake, rows: pa.Table) -> None:
    async with lake.transaction() as tx:
        tx.store("other", rows)
        await tx.retrieve("other")
        raise ZeroDivisionError


def test_one_iteration_by_several_tasks(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with aio.open(tmp_path / "lake") as lake:
            await lake.store_batch([{"key": f"k{n:05}", "value": n} for n in range(5000)])
            keys = aiter(lake.keys())
            found = list[str]()

            async def take() -> None:
                async for key in keys:
                    found.append(key)
                    await asyncio.sleep(0)

            await asyncio.gather(*(take() for _ in range(8)))
            assert sorted(found) == [f"k{n:05}" for n in range(5000)]

    run(main())
