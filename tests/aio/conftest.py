"""Where the lakes of these tests are, and how a test runs on an event loop."""

from __future__ import annotations

import asyncio
import gc
import secrets
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from lakebed.catalog.postgres.pool import PostgresConnections
from lakebed.catalog.sqlite.executor import SQLiteExecutor
from lakebed.duckdb.session import Session
from lakebed.objects.local import LocalStore
from tests.servers import PostgresServer

_SYNCHRONOUS: list[tuple[type, str]] = [
    (SQLiteExecutor, "connection"),
    (PostgresConnections, "_take"),
    (LocalStore, "read"),
    (LocalStore, "read_many"),
    (LocalStore, "open_write"),
    (LocalStore, "write"),
    (Session, "connect"),
    (Session, "attend"),
]
"""What every synchronous call of a catalog, a storage or DuckDB passes through."""


def _guarded(call: Callable[..., Any], loops: set[int]) -> Callable[..., Any]:
    def guarded(*args: Any, **options: Any) -> Any:
        assert threading.get_ident() not in loops, f"{call.__qualname__} blocks the event loop"
        return call(*args, **options)

    return guarded


Run = Callable[..., Any]


@pytest.fixture(params=["sqlite", "postgres"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """What opens the test's lake, on each catalog."""
    if request.param == "sqlite":
        return {"where": tmp_path / "lake"}
    found: dict[str, Any] = request.getfixturevalue("on_postgres")
    return found


@pytest.fixture
def on_postgres(postgres_18: PostgresServer, tmp_path: Path) -> dict[str, Any]:
    """What opens a lake on Postgres."""
    schema = f"t{secrets.token_hex(6)}"
    return {
        "catalog": {"type": "postgres", "url": postgres_18.url(), "schema": schema},
        "storage": tmp_path / "storage",
    }


@pytest.fixture
def run() -> Iterator[Run]:
    """Runs a coroutine in asyncio's debug mode; no task, thread or complaint may be left, and
    nothing synchronous may be called on the loop's thread."""
    complaints: list[dict[str, Any]] = []
    loops: set[int] = set()

    def run(coroutine: Coroutine[Any, Any, Any], *, debug: bool = True) -> Any:
        async def main() -> Any:
            loop = asyncio.get_running_loop()
            loops.add(threading.get_ident())
            loop.set_exception_handler(lambda _, context: complaints.append(context))
            try:
                return await coroutine
            finally:
                assert asyncio.all_tasks() == {asyncio.current_task()}

        return asyncio.run(main(), debug=debug)

    with ExitStack() as stack:
        for kind, name in _SYNCHRONOUS:
            stack.enter_context(patch.object(kind, name, _guarded(getattr(kind, name), loops)))
        yield run
    gc.collect()
    assert not complaints
    left = [thread for thread in threading.enumerate() if thread.name.startswith("lakebed-aio")]
    for thread in left:
        thread.join(5)
        assert not thread.is_alive(), thread


async def within(call: Awaitable[Any]) -> Any:
    """What a call returns, which has less than half a second."""
    async with asyncio.timeout(0.4):
        return await call
