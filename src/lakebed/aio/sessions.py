"""Sessions of many agents, for coroutines."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from lakebed.aio.calls import perform
from lakebed.aio.crew import Closing, Crew, Face, call
from lakebed.aio.lake import AsyncLake, lake_over
from lakebed.aio.opening import Opening, start
from lakebed.aio.records import AsyncHits
from lakebed.aio.results import AsyncQueryResult
from lakebed.aio.streams import Pending, Stream
from lakebed.sessions.checks import check_seconds
from lakebed.sessions.manager import SessionManager
from lakebed.sessions.opening import open_sessions
from lakebed.sessions.records import Artifact, Chunk
from lakebed.sessions.tasks.task import LEASE, Task

if TYPE_CHECKING:
    from lakebed.duckdb.result import Row

_FIRST_POLL, _POLL = 0.02, 0.25  # seconds between two checks for a task
_SLOTS = tuple(name for name in Task.__slots__)


class AsyncTask(Task):
    """A task. It is like `Task`, with awaited calls."""

    __slots__ = ("_crew",)

    def __init__(self, task: Task, crew: Crew) -> None:
        for name in _SLOTS:
            if hasattr(task, name):
                setattr(self, name, getattr(task, name))
        self._crew = crew

    async def _done(self, change: Callable[[], Task]) -> AsyncTask:
        await perform(self._crew.single, change)
        return self

    async def start(self) -> AsyncTask:  # type: ignore[override]
        """Set the status to running, as `Task.start` does."""
        return await self._done(super().start)

    async def heartbeat(  # type: ignore[override]
        self, lease: float | timedelta | None = None
    ) -> AsyncTask:
        """Extend the claim to `lease` seconds from now, as `Task.heartbeat` does."""
        beat = super().heartbeat
        return await self._done(lambda: beat(lease))

    async def complete(self, output: Any = None) -> AsyncTask:  # type: ignore[override]
        """Complete the task, as `Task.complete` does."""
        complete = super().complete
        return await self._done(lambda: complete(output))

    async def fail(self, error: str, retry: bool = True) -> AsyncTask:  # type: ignore[override]
        """Report that the task failed, as `Task.fail` does."""
        fail = super().fail
        return await self._done(lambda: fail(error, retry))

    async def release(self) -> AsyncTask:  # type: ignore[override]
        """Return the task to the queue, as `Task.release` does."""
        return await self._done(super().release)


def _task(task: Task, crew: Crew) -> AsyncTask:
    return AsyncTask(task, crew)


def _optional_task(task: Task | None, crew: Crew) -> AsyncTask | None:
    return None if task is None else AsyncTask(task, crew)


def _tasks(tasks: list[Task], crew: Crew) -> list[AsyncTask]:
    return [AsyncTask(task, crew) for task in tasks]


class AsyncSessionManager(Face[SessionManager], Closing):
    """Sessions that agents share, for coroutines: the calls of `SessionManager`, awaited.

        async with lakebed.aio.open("memory") as lake:
            manager = AsyncSessionManager(lake)
            session = await manager.create_session("Plan the trip", ["ada"])
            task = await manager.claim_task("ada")

    Tasks are `AsyncTask` objects: `await task.complete(…)`. `lake` can be a scope. Closing the
    manager closes the lake.
    """

    def __init__(self, lake: AsyncLake) -> None:
        making = threading.Lock()
        made: list[SessionManager] = []

        def source() -> SessionManager:
            with making:
                if not made:
                    made.append(SessionManager(lake._source()))
                return made[0]

        super().__init__(lake._crew, source)
        self.lake = lake

    create_session = call(SessionManager.create_session)
    load = call(SessionManager.load, reads=True)
    update = call(SessionManager.update)
    list_sessions = call(SessionManager.list_sessions, reads=True)
    pause = call(SessionManager.pause)
    resume = call(SessionManager.resume)
    complete = call(SessionManager.complete)
    delete = call(SessionManager.delete)
    summary = call(SessionManager.summary, reads=True)
    statistics = call(SessionManager.statistics, reads=True)
    search = call(SessionManager.search, AsyncHits, reads=True)
    add_chunk = call(SessionManager.add_chunk)
    add_memory = call(SessionManager.add_memory)
    memory = call(SessionManager.memory, reads=True)
    memories = call(SessionManager.memories, reads=True)
    delete_memory = call(SessionManager.delete_memory)
    add_artifact = call(SessionManager.add_artifact)
    artifact = call(SessionManager.artifact, reads=True)
    artifact_history = call(SessionManager.artifact_history, reads=True)
    diff_artifact = call(SessionManager.diff_artifact, reads=True)
    delete_artifact = call(SessionManager.delete_artifact)
    register_agent = call(SessionManager.register_agent)
    register_sample_agents = call(SessionManager.register_sample_agents)
    agent = call(SessionManager.agent, reads=True)
    agents = call(SessionManager.agents, reads=True)
    set_agent_status = call(SessionManager.set_agent_status)
    remove_agent = call(SessionManager.remove_agent)
    create_task = call(SessionManager.create_task, _task)
    claim_task = call(SessionManager.claim_task, _optional_task)
    task = call(SessionManager.task, _task)
    tasks = call(SessionManager.tasks, _tasks)
    count_tasks = call(SessionManager.count_tasks, reads=True)

    async def wait_for_task(
        self,
        agent_name: str,
        timeout: float | timedelta,
        control_agent: str | None = None,
        lease: float | timedelta = LEASE,
    ) -> AsyncTask | None:
        """Claim a task as `claim_task` does. If none is due, wait up to `timeout` seconds for one.

        Returns None if no task becomes due in this time. The call tries four times a second on
        every catalog, so that waiting needs no thread and no connection.
        """
        deadline = time.monotonic() + check_seconds("timeout", timeout, least=0)
        pause = _FIRST_POLL
        while True:
            task = await self.claim_task(agent_name, control_agent, lease)
            left = deadline - time.monotonic()
            if task is not None or left <= 0:
                return task
            await asyncio.sleep(min(left, pause))
            pause = min(2 * pause, _POLL)

    def chunks(
        self, session_id: str, *, limit: int | None = None, after: str | None = None
    ) -> Stream[Chunk]:
        """Return the chunks of a session in order: `async for chunk in manager.chunks(id)`."""
        return Stream(
            self._crew.single,
            lambda: self._source().chunks(session_id, limit=limit, after=after),
        )

    def artifacts(
        self,
        session_id: str,
        *,
        type: str | None = None,  # noqa: A002
    ) -> Stream[Artifact]:
        """Return the artifacts of a session: `async for artifact in manager.artifacts(id)`."""
        return Stream(self._crew.single, lambda: self._source().artifacts(session_id, type=type))

    def sql(
        self, query: str, params: Sequence[object] | Mapping[str, object] | None = None
    ) -> Pending[AsyncQueryResult, Row]:
        """Return the result of a SELECT, which can use the tables of `SessionManager.sql`."""
        crew = self._crew

        async def begin() -> AsyncQueryResult:
            result = await perform(
                crew.long,
                lambda: self._source().sql(query, params),
                reads=True,
                discard=lambda left: left.close(),
            )
            return AsyncQueryResult(result, crew)

        return Pending(begin)

    async def close(self) -> None:
        """Wait for the running calls, then close the lake."""
        await self.lake.close()

    def __repr__(self) -> str:
        return f"<AsyncSessionManager on {self.lake.name}>"


def get_session_manager(
    where: str | os.PathLike[str] | Mapping[str, object] | None = None,
    *,
    max_workers: int | None = None,
) -> Opening[AsyncSessionManager]:
    """Open the sessions that a configuration or the environment names, for coroutines.

        async with lakebed.aio.get_session_manager() as manager:
            await manager.create_session("Plan the trip")

    `where` and the errors are those of `lakebed.sessions.get_session_manager`. `max_workers`: as
    for `lakebed.aio.open`.
    """

    async def begin() -> AsyncSessionManager:
        crew, lake = await start(max_workers, lambda: open_sessions(where))
        crew.fit(lake)
        return AsyncSessionManager(lake_over(crew, lambda: lake, lake.close, lake))

    return Opening(begin)
