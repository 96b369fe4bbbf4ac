"""Batches from generators, and callbacks that run in the caller's task."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from lakebed import aio
from tests.aio.conftest import Run


async def numbered(count: int) -> AsyncIterator[dict[str, Any]]:
    for n in range(count):
        if n % 97 == 0:
            await asyncio.sleep(0)
        yield {"key": f"k{n:05}", "value": n}


def test_batches_from_async_generators(run: Run, where: dict[str, Any]) -> None:
    async def main() -> None:
        async with aio.open(**where) as lake:
            seen: list[int] = []

            async def report(done: int, total: int | None) -> None:
                assert total is None
                assert await lake.contains("there")  # it may use the lake
                seen.append(done)

            await lake.store("there", 1)
            report_ = await lake.store_batch(numbered(1234), progress=report)
            assert report_.stored == 1234
            assert seen == [*range(100, 1300, 100), 1234]
            assert await lake.count() == 1235

            async def failing() -> AsyncIterator[dict[str, Any]]:
                yield {"key": "half", "value": 1}
                raise ZeroDivisionError

            with pytest.raises(ZeroDivisionError):
                await lake.store_batch(failing())
            assert not await lake.contains("half")
            with pytest.raises(ZeroDivisionError):
                await lake.store_batch(failing(), atomic=False)
            assert await lake.contains("half")

            async def keys() -> AsyncIterator[str]:
                yield "half"

            assert await lake.retrieve_batch(keys()) == {"half": 1}

    run(main())


def test_generators_that_use_the_lake_wait_for_no_turn(run: Run, tmp_path: Path) -> None:
    """With one worker, five batches whose generators store and read meanwhile."""

    async def main() -> None:
        async with aio.open(tmp_path / "lake", max_workers=1) as lake:

            async def entries(batch: int, depth: int) -> AsyncIterator[dict[str, Any]]:
                for n in range(5):
                    await lake.store(f"in/{batch}/{depth}/{n}", n)
                    yield {"key": f"out/{batch}/{depth}/{n}", "value": n}
                if depth:
                    await lake.store_batch(entries(batch, depth - 1))

            async with asyncio.timeout(60):
                await asyncio.gather(*(lake.store_batch(entries(b, 2)) for b in range(5)))
            assert await lake.count() == 5 * 3 * 5 * 2

    run(main())


def test_an_error_in_a_callback_ends_the_call(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with aio.open(tmp_path / "lake") as lake:
            closed: list[int] = []

            async def entries() -> AsyncIterator[dict[str, Any]]:
                try:
                    for n in range(10_000):
                        yield {"key": f"k{n}", "value": n}
                finally:
                    await asyncio.sleep(0)
                    closed.append(n)

            def report(*_: object) -> None:
                raise ZeroDivisionError

            with pytest.raises(ZeroDivisionError):
                await lake.store_batch(entries(), progress=report)
            assert len(closed) == 1  # and not by a task of its own
            assert await lake.count() == 0

    run(main())


def test_context_variables_reach_callbacks(run: Run, tmp_path: Path) -> None:
    span = contextvars.ContextVar("span", default="none")

    async def main() -> None:
        seen: list[str] = []
        loop = threading.get_ident()

        def embed(texts: list[str]) -> list[list[float]]:
            seen.append(f"embedder {span.get()}")
            return [[1.0, 0.0] for _ in texts]

        async with aio.open(tmp_path / "lake", embedder=embed) as lake:

            async def agent(name: str) -> None:
                span.set(name)

                def report(*_: object) -> None:
                    assert threading.get_ident() == loop
                    seen.append(f"progress {span.get()}")

                entries = ({"key": f"{span.get()}/{n}", "value": "text"} for n in range(100))
                await lake.store_batch(entries, progress=report)
                await lake.search("text", mode="vector")

            await agent("a")
            await asyncio.create_task(agent("b"))
            assert await lake.count() == 200
        assert {"progress a", "progress b", "embedder a", "embedder b"} <= set(seen)
        assert not [each for each in seen if "none" in each]

    run(main())
