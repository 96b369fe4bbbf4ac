"""Scopes, watched blocks, queues and signals of an asynchronous lake."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from lakebed import aio
from lakebed.errors import ValidationError
from tests.aio.conftest import Run


def test_a_block_is_watched(run: Run, where: dict[str, Any]) -> None:
    async def main() -> None:
        async with aio.open(**where) as lake:
            await lake.store("a", 1)
            watch = lake.watch("run")
            with pytest.raises(ValidationError, match="not begun"):
                _ = watch.snapshot
            async with watch as run_:
                await lake.store("a", 2)
                assert len(await run_.diff) == 1
                await lake.store("b", 1)
            await lake.store("later", 1)
            assert sorted([change.key async for change in run_.diff]) == ["a", "b"]
            assert run_.snapshot.name == "run"
            await run_.undo()
            assert [key async for key in lake] == ["a"]
            assert await lake.retrieve("a") == 1

    run(main())


def test_a_scope(run: Run, where: dict[str, Any]) -> None:
    async def main() -> None:
        async with aio.open(**where) as lake:
            async with lake.scope("user/42") as user:
                assert user.prefix == "user/42/"
                await user.store("name", "Ada")
                assert await user.count() == 1
                assert [row async for row in user.sql("SELECT key FROM entries")] == [("name",)]
                inner = user.scope("session/1", inherit=True)
                assert inner.prefix == "user/42/session/1/"
                assert await inner.retrieve("name") == "Ada"
            assert await lake.retrieve("user/42/name") == "Ada"  # closing a scope closes no lake
            with pytest.raises(ValidationError):
                lake.scope("a//b")

    run(main())


def test_each_entry_is_taken_once(run: Run, where: dict[str, Any]) -> None:
    async def main() -> None:
        async with aio.open(**where) as lake:
            await lake.store_batch({"key": f"todo/{n:03}", "value": n} for n in range(60))

            async def work() -> list[int]:
                taken = []
                while (entry := await lake.take("todo/", "done/")) is not None:
                    taken.append(entry.value)
                return taken

            taken = await asyncio.gather(*(work() for _ in range(8)))
            assert sorted(n for some in taken for n in some) == list(range(60))
            before = await lake.now()
            assert await lake.now() >= before

    run(main())


def test_a_signal_ends_a_wait(run: Run, where: dict[str, Any]) -> None:
    async def main() -> None:
        async with aio.open(**where) as lake, lake.listen("news") as signals:
            if not signals.wakes:
                await signals.wait(0.01)
                return
            waiting = asyncio.create_task(signals.wait(300))
            while not waiting.done():  # one that is sent too early is not heard
                await lake.signal("news")
                await asyncio.sleep(0.01)
            await waiting
            cancelled = asyncio.create_task(signals.wait(300))
            await asyncio.sleep(0)
            cancelled.cancel()
            with pytest.raises(asyncio.CancelledError):
                await cancelled

    run(main())
