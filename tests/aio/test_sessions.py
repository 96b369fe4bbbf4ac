"""Sessions for coroutines: every call, and what the calls give."""

from __future__ import annotations

import asyncio
import inspect
from pathlib import Path
from typing import Any

import pytest

from lakebed import aio
from lakebed.errors import ConflictError, NotFoundError
from lakebed.sessions import SessionManager, Task
from tests.aio.conftest import Run
from tests.waiting import LONG, in_time

OF_THE_QUEUE = {"find", "finish", "move", "next_due", "now", "take", "tickets"}
"""What tasks ask of their manager; no call of a user's."""


def public(kind: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


def test_it_has_every_call() -> None:
    assert public(aio.AsyncSessionManager) == public(SessionManager) - OF_THE_QUEUE
    for name in public(aio.AsyncSessionManager):
        wanted = inspect.signature(getattr(SessionManager, name)).parameters
        found = inspect.signature(getattr(aio.AsyncSessionManager, name)).parameters
        assert list(found) == list(wanted), name
        assert [p.default for p in found.values()] == [p.default for p in wanted.values()], name
        assert getattr(aio.AsyncSessionManager, name).__doc__, name
    assert public(aio.AsyncTask) == public(Task)


def test_a_session_from_beginning_to_end(run: Run, where: dict[str, Any]) -> None:
    async def main() -> None:
        async with aio.open(**where) as lake:
            manager = aio.AsyncSessionManager(lake)
            session = await manager.create_session("Plan the trip", ["ada", "researcher"])
            await manager.add_chunk(session.id, "Ada: where is the ferry? " * 400)
            await manager.add_chunk(session.id, "Researcher: at the harbour")
            await manager.add_memory(session.id, "decision", "transport", "ferry", ["travel"])
            await manager.add_artifact(session.id, "document", "plan", "1. ferry", "md")
            chunks = [chunk.content async for chunk in manager.chunks(session.id)]
            assert chunks[1] == "Researcher: at the harbour"
            assert [artifact.name async for artifact in manager.artifacts(session.id)] == ["plan"]
            (memory,) = await manager.memories(session.id, tags=["travel"])
            assert memory.content == "ferry"
            (hit,) = await manager.search(session.id, "harbour")
            assert (await hit.read())["content"] == chunks[1]
            summary = await manager.summary(session.id)
            assert summary.title == "Plan the trip"
            rows = [row async for row in manager.sql("SELECT title FROM active_sessions")]
            assert rows == [("Plan the trip",)]
            assert (await manager.complete(session.id)).status == "completed"
            assert await manager.delete(session.id)
            with pytest.raises(NotFoundError):
                await manager.load(session.id)

    run(main())


def test_tasks_are_claimed_once(run: Run, where: dict[str, Any]) -> None:
    async def main() -> None:
        async with aio.open(**where) as lake:
            manager = aio.AsyncSessionManager(lake)
            session = await manager.create_session("Work")
            for number in range(24):
                await manager.create_task(session.id, "ada", "count", input=number)

            async def work() -> list[int]:
                done = []
                while (task := await manager.claim_task("ada")) is not None:
                    assert (await task.start()).status == "running"
                    await task.heartbeat(60)
                    await task.complete({"twice": 2 * task.input})
                    done.append(task.input)
                return done

            done = await asyncio.gather(*(work() for _ in range(6)))
            assert sorted(number for some in done for number in some) == list(range(24))
            assert (await manager.count_tasks(session.id))["completed"] == 24
            (again,) = await manager.tasks(session.id, limit=1)
            assert isinstance(again, aio.AsyncTask)
            with pytest.raises(ConflictError, match="nobody holds the task"):
                await again.complete()

    run(main())


def test_failing_giving_back_and_waiting(run: Run, where: dict[str, Any]) -> None:
    async def main() -> None:
        async with aio.open(**where) as lake:
            manager = aio.AsyncSessionManager(lake)
            session = await manager.create_session("Work")
            assert await manager.wait_for_task("ada", 0.05) is None
            waiting = asyncio.create_task(manager.wait_for_task("ada", 60))
            await asyncio.sleep(0.05)
            made = await manager.create_task(session.id, "ada", "look up", max_attempts=2)
            task = await waiting
            assert task is not None
            assert task.id == made.id
            assert (await task.release()).status == "pending"
            for attempt in (1, 2):
                task = await manager.claim_task("ada", "boss")
                assert task is not None
                assert task.attempts == attempt
                await task.fail("no luck")
            assert task.status == "failed"
            assert (await manager.task(made.id)).error == "no luck"
            with in_time(), pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await manager.wait_for_task("ada", LONG)

    run(main())


def test_opened_by_the_environment(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORAGE_BACKEND", "json")
    monkeypatch.setenv("SESSIONS_PATH", str(tmp_path / "sessions"))

    async def main() -> None:
        async with aio.get_session_manager() as manager:
            session = await manager.create_session("In a folder")
            assert "sessions" in repr(manager)
        async with aio.get_session_manager(
            {"backend": "json", "path": str(tmp_path / "sessions")}
        ) as manager:
            assert (await manager.load(session.id)).title == "In a folder"

    run(main())
