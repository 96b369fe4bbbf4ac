"""The LTM interface for coroutines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from lakebed.aio import AsyncLTMBackend, create_async_ltm_backend
from lakebed.errors import ConfigurationError
from lakebed.ltm import LTMBackend, create_ltm_backend
from lakebed.testing import LTMContract
from tests.aio import driver
from tests.aio.conftest import Run
from tests.aio.driver import close_loops, iterate, run


class DrivenTransaction:
    def __init__(self, transaction: Any) -> None:
        self._transaction = transaction
        self.store, self.delete = transaction.store, transaction.delete

    def commit(self) -> Any:
        return run(self._transaction.commit())

    def rollback(self) -> Any:
        return run(self._transaction.rollback())

    def __enter__(self) -> DrivenTransaction:
        run(self._transaction.__aenter__())
        return self

    def __exit__(self, *error: Any) -> None:
        run(self._transaction.__aexit__(*error))


class Driven:
    """A backend whose every call is a run of an event loop."""

    def __init__(self, memory: AsyncLTMBackend) -> None:
        self._memory = memory

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **options: run(getattr(self._memory, name)(*args, **options))

    @property
    def lake(self) -> Any:
        return driver.Driven(self._memory.lake)

    def iterate_all(self) -> Iterator[Any]:
        return iterate(self._memory.iterate_all())

    def transaction(self) -> DrivenTransaction:
        return DrivenTransaction(self._memory.transaction())

    def store_batch(self, entries: Any, **options: Any) -> Any:
        if isinstance(entries, Iterator):
            given = entries

            async def generate() -> AsyncIterator[Any]:
                for entry in given:
                    yield entry

            entries = generate()
        return run(self._memory.store_batch(entries, **options))

    def __enter__(self) -> Driven:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class TestAsyncLTM(LTMContract):
    @pytest.fixture(autouse=True)
    def _loops(self) -> Iterator[None]:
        yield
        close_loops()

    def make_backend(self, folder: Path) -> LTMBackend:
        memory = AsyncLTMBackend(create_ltm_backend("ducklake", path=folder / "lake"))
        return cast("LTMBackend", Driven(memory))


def test_made_by_name(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "memory.db"

    async def main() -> None:
        async with create_async_ltm_backend("sqlite", path=path, max_workers=2) as memory:
            assert (await memory.store("a", 1, {"kind": "note"}))["created"]
            await memory.lake.create_snapshot("s")
            assert await memory.lake.at("s").retrieve("a") == 1
            async with memory.transaction() as tx:
                assert tx.store("b", 2)["queued"]
            assert [row async for row in memory.iterate_all()] == [
                ("a", 1, {"kind": "note"}), ("b", 2, {})
            ]  # fmt: skip
        assert (await memory.retrieve("a"))["error_type"] == "catalog_error"
        again = await create_async_ltm_backend(path=path, lazy=True)
        assert "not connected" in repr(again)
        assert (await again.retrieve("a"))["value"] == 1
        await again.close()
        with pytest.raises(ConfigurationError, match="LTM backend 'tin'"):
            await create_async_ltm_backend("tin")

    run(main())


def test_a_lazy_one_tells_why_it_cannot_connect(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")

    async def main() -> None:
        path = tmp_path / "file" / "memory.db"
        async with create_async_ltm_backend("sqlite", path=path, lazy=True) as memory:
            results = await asyncio.gather(
                memory.store("a", 1), memory.retrieve("a"), memory.store_batch([])
            )
            assert not any(result["success"] for result in results)
            tx = memory.transaction()
            assert tx.store("a", 1)["success"]
            assert not (await tx.commit())["success"]

    run(main())
