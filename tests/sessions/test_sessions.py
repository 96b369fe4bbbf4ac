"""What sessions do, the same in every backend."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import pyarrow as pa
import pytest

from lakebed.errors import (
    ConflictError,
    NotFoundError,
    QueryError,
    SerializationError,
    ValidationError,
)
from lakebed.sessions import SessionManager
from lakebed.sessions.records import MEMORY_TYPES

NOBODY = "0nobody00000"


def test_sessions_live(manager: SessionManager) -> None:
    session = manager.create_session("Plan the trip", ["ada", "researcher", "ada"], {"k": [1]})
    assert (session.status, session.title) == ("active", "Plan the trip")
    assert session.participants == ["ada", "researcher"]
    assert dict(session)["metadata"] == session["metadata"] == {"k": [1]}
    assert session.created == session.last_activity
    assert dict(manager.load(session.id)) == dict(session)
    paused = manager.pause(session.id)
    assert (paused.status, paused.last_activity > session.last_activity) == ("paused", True)
    assert manager.resume(session.id).status == "active"
    changed = manager.update(session.id, title="Trip", participants=["bob"], metadata={})
    assert (changed.title, changed.participants, changed.metadata) == ("Trip", ["bob"], {})
    assert manager.update(session.id, if_match=changed.content_hash).title == "Trip"
    with pytest.raises(ConflictError):
        manager.update(session.id, title="x", if_match=session.content_hash)
    assert manager.complete(session.id).status == "completed"
    assert manager.load(session.id).title == "Trip"
    assert manager.delete(session.id) is True
    assert manager.delete(session.id) is False
    assert list(manager.lake) == []
    for call in (manager.load, manager.pause, manager.summary, manager.update):
        with pytest.raises(NotFoundError, match=session.id):
            call(session.id)


def test_sessions_are_listed_by_activity(manager: SessionManager) -> None:
    first = manager.create_session("first", ["ada", "ü/%:"])
    second = manager.create_session("second", ["bob"])
    third = manager.create_session("third", ["ada"])
    manager.complete(third.id)
    manager.add_chunk(first.id, "hello")
    assert [s.title for s in manager.list_sessions()] == ["first", "third", "second"]
    assert [s.title for s in manager.list_sessions(status="active")] == ["first", "second"]
    assert [s.title for s in manager.list_sessions(participant="ada")] == ["first", "third"]
    assert [s.title for s in manager.list_sessions(participant="ü/%:", limit=5)] == ["first"]
    assert [s.title for s in manager.list_sessions("completed", "ada")] == ["third"]
    assert [s.title for s in manager.list_sessions(limit=1)] == ["first"]
    since = manager.load(third.id).last_activity
    assert [s.title for s in manager.list_sessions(since=since)] == ["first", "third"]
    manager.create_task(second.id, "w", "t")
    manager.create_task(first.id, "w2", "t")
    manager.claim_task("w")
    assert next(iter(manager.list_sessions())).title == "second"
    assert dict(manager.list_sessions(limit=1)[0]) == dict(manager.load(second.id))


def test_every_change_of_a_part_is_activity(manager: SessionManager) -> None:
    session = manager.create_session("s")
    latest = session.last_activity

    def moved() -> bool:
        nonlocal latest
        before, latest = latest, manager.load(session.id).last_activity
        return latest > before

    manager.add_chunk(session.id, "a")
    assert moved()
    manager.add_memory(session.id, "fact", "k", 1)
    assert moved()
    manager.add_artifact(session.id, "code", "a", "b")
    assert moved()
    manager.create_task(session.id, "w", "t")
    assert moved()
    task = manager.claim_task("w")
    assert task is not None
    assert moved()
    for change in (task.start, task.release):
        change()
        assert moved(), change
    task = manager.claim_task("w")
    assert task is not None
    task.complete()
    assert moved()
    manager.delete_memory(session.id, "fact", "k")
    assert moved()
    manager.update(session.id, title="t")
    assert moved()
    assert not moved()


def test_chunks_are_in_order_and_found_by_any_word(manager: SessionManager) -> None:
    session = manager.create_session("s")
    large = "pelican " + "word " * 300_000 + "zebra"
    texts = ["user: hello", "agent: good morning", large, "line\nline\u0000two"[:9]]
    made = [manager.add_chunk(session.id, text) for text in texts]
    made.append(manager.add_chunk(session.id, "the gist", "summary", [{"a": 1}, "x"]))
    read = list(manager.chunks(session.id))
    assert [chunk.content for chunk in read] == [*texts, "the gist"]
    assert [chunk.id for chunk in read] == [chunk.id for chunk in made]
    assert (read[-1].format, read[-1].extracted_items) == ("summary", [{"a": 1}, "x"])
    assert dict(read[0]) == dict(made[0])
    assert [c.id for c in manager.chunks(session.id, after=read[2].id)] == [c.id for c in read[3:]]
    assert len(list(manager.chunks(session.id, limit=2))) == 2
    for word in ("zebra", "PELICAN"):
        (hit,) = manager.search(session.id, word)
        assert hit.value["content"] == large
        assert hit.metadata["kind"] == "chunk"
    assert manager.load(session.id).chunks == 5


def test_memories_by_key_type_tags_and_text(manager: SessionManager) -> None:
    session = manager.create_session("s")
    for n, kind in enumerate(MEMORY_TYPES):
        tags = ["all", "even" if n % 2 == 0 else "odd"]
        manager.add_memory(session.id, kind, f"k/{n}", f"about walrus {n}", tags)
    other = manager.create_session("other")
    manager.add_memory(other.id, "fact", "k/6", "about walrus elsewhere", ["all"])
    assert manager.memory(session.id, "fact", "k/6").content == "about walrus 6"
    assert {m.type for m in manager.memories(session.id)} == set(MEMORY_TYPES)
    assert [m.key for m in manager.memories(session.id, type="risk")] == ["k/7"]
    assert len(manager.memories(session.id, tags=["all", "even"])) == 4
    assert len(manager.memories(session.id, tags=["odd", "even"], match="any")) == 8
    assert manager.memories(session.id, tags=["odd", "even"]) == []
    assert len(manager.memories(session.id, text="walrus")) == 8
    assert len(manager.memories(session.id, text="walrus", tags=["odd"], limit=3)) == 3
    assert [m.type for m in manager.memories(session.id, text="elsewhere")] == []
    old = manager.memory(session.id, "fact", "k/6")
    new = manager.add_memory(session.id, "fact", "k/6", {"deep": [1]}, if_match=old.content_hash)
    assert dict(manager.memory(session.id, "fact", "k/6")) == dict(new)
    assert (new.created, new.updated > old.updated, new.tags) == (old.created, True, [])
    with pytest.raises(ConflictError):
        manager.add_memory(session.id, "fact", "k/6", 1, if_match=old.content_hash)
    with pytest.raises(ConflictError):
        manager.add_memory(session.id, "fact", "k/6", 1, if_absent=True)
    assert manager.load(session.id).memories == 8
    assert manager.delete_memory(session.id, "fact", "k/6") is True
    assert manager.delete_memory(session.id, "fact", "k/6") is False
    with pytest.raises(NotFoundError):
        manager.memory(session.id, "fact", "k/6")


def test_artifacts_have_versions(manager: SessionManager, where: str) -> None:
    session = manager.create_session("s")
    first = manager.add_artifact(session.id, "code", "src/a.py", "a = 1\nb = 2\n", "python")
    second = manager.add_artifact(
        session.id, "code", "src/a.py", "a = 1\nb = 3", "python", {"by": "ada"}
    )
    table = pa.table({"a": [1, 2]})
    manager.add_artifact(session.id, "research", "numbers", table)
    manager.add_artifact(session.id, "document", "raw", b"\xff\x00")
    assert manager.artifact(session.id, "research", "numbers").content.equals(table)
    assert manager.artifact(session.id, "document", "raw").content == b"\xff\x00"
    listed = list(manager.artifacts(session.id))
    assert [(a.type, a.name, a.format) for a in listed] == [
        ("code", "src/a.py", "python"), ("document", "raw", "bytes"),
        ("research", "numbers", "table"),
    ]  # fmt: skip
    assert dict(listed[0]) == dict(second)
    assert (second.created, second.metadata) == (first.created, {"by": "ada"})
    assert len(list(manager.artifacts(session.id, type="prd"))) == 0
    with pytest.raises(ConflictError):
        manager.add_artifact(session.id, "code", "src/a.py", "x", if_match=first.content_hash)
    if not where.startswith("json:"):  # which keeps no history
        kept = manager.artifact_history(session.id, "code", "src/a.py")
        assert [a.content for a in kept] == [second.content, first.content]
        diff = manager.diff_artifact(session.id, "code", "src/a.py", first.version)
        assert diff.splitlines()[2:] == ["@@ -1,2 +1,2 @@", " a = 1", "-b = 2", "+b = 3"]
        old = manager.artifact(session.id, "code", "src/a.py", version=first.version)
        assert old.content == first.content
        raw = manager.artifact(session.id, "document", "raw").version
        with pytest.raises(ValidationError, match="not text in version"):
            manager.diff_artifact(session.id, "document", "raw", raw)
    assert manager.delete_artifact(session.id, "code", "src/a.py") is True
    assert manager.delete_artifact(session.id, "code", "src/a.py") is False
    assert manager.load(session.id).artifacts == 2


def test_agents(manager: SessionManager) -> None:
    made = manager.register_agent("codex/1", "coder", "codex exec", ["code", "tests"])
    assert dict(manager.agent("codex/1")) == dict(made)
    assert (made.status, made.capabilities) == ("available", ["code", "tests"])
    busy = manager.set_agent_status("codex/1", "busy")
    assert (busy.status, busy.last_seen > made.last_seen) == ("busy", True)
    samples = manager.register_sample_agents()
    assert manager.register_sample_agents() == []
    assert len(manager.agents()) == len(samples) + 1
    assert [agent.name for agent in manager.agents(status="busy")] == ["codex/1"]
    assert manager.remove_agent("codex/1") is True
    assert manager.remove_agent("codex/1") is False
    with pytest.raises(NotFoundError):
        manager.set_agent_status("codex/1", "busy")


def test_summary_and_statistics(manager: SessionManager) -> None:
    session = manager.create_session("s", ["ada"])
    manager.add_chunk(session.id, "hello")
    for n in range(7):
        manager.add_memory(session.id, "decision", f"d{n}", n)
    manager.add_memory(session.id, "risk", "r", "storm")
    manager.create_task(session.id, "w", "t")
    manager.create_session("empty")
    summary = manager.summary(session.id)
    assert (summary.title, summary.chunks, summary.memories, summary.tasks) == ("s", 1, 8, 1)
    assert [memory.key for memory in summary.decisions] == ["d0", "d1", "d2", "d3", "d4"]
    assert [memory.content for memory in summary.risks] == ["storm"]
    assert summary["tasks_by_status"]["pending"] == 1
    totals = manager.statistics()
    assert (totals.sessions, totals.memories, totals.agents) == (2, 8, 0)
    assert totals.sessions_by_status == {"active": 2, "paused": 0, "completed": 0}


def test_views(manager: SessionManager) -> None:
    session = manager.create_session("it's", ["ada"])
    manager.complete(manager.create_session("done").id)
    manager.add_chunk(session.id, "hello", "summary", [1])
    manager.add_memory(session.id, "fact", "k", {"a": 1}, ["x"])
    manager.add_artifact(session.id, "code", "a.py", "x" * 10)
    manager.register_agent("w/1:%")
    for n in range(3):
        manager.create_task(session.id, "w/1:%", f"t{n}", {"n": n}, priority=n)
    held = manager.claim_task("w/1:%", "ada/x")
    assert held is not None
    held.start()

    def rows(query: str, *params: Any) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in manager.sql(query, params or None)]

    assert rows("SELECT title, status FROM sessions ORDER BY title") == [
        ("done", "completed"), ("it's", "active"),
    ]  # fmt: skip
    ((found, at),) = rows("SELECT id, last_activity FROM active_sessions")
    assert found == session.id
    assert session.last_activity < at <= manager.load(session.id).last_activity
    assert rows("SELECT session_id, content, format FROM chunks") == [
        (session.id, "hello", "summary")
    ]
    assert rows("SELECT key, content->>'a', updated >= created FROM memories") == [("k", "1", True)]
    assert rows("SELECT name, byte_size FROM artifacts") == [("a.py", 12)]
    assert rows("SELECT name, status FROM agents") == [("w/1:%", "available")]
    found = rows("SELECT id, task_type, status, attempts, claimed_by, process_id, lease_until, "
                 "input->>'n', max_attempts FROM tasks ORDER BY created DESC LIMIT 1")  # fmt: skip
    assert found == [
        (held.id, "t2", "running", 1, "ada/x", held.process_id, held.lease_until, "2", 3)
    ]
    assert rows("SELECT task_type, place FROM task_queue ORDER BY place") == [("t1", 1), ("t0", 2)]
    held.complete([1])
    assert rows("SELECT status, output->>0 FROM tasks WHERE finished IS NOT NULL") == [
        ("completed", "1")
    ]
    together = (
        "WITH t AS (SELECT session_id, count(*) n FROM tasks GROUP BY 1) "
        "SELECT s.title, t.n FROM sessions s JOIN t ON t.session_id = s.id WHERE t.n > ?"
    )
    assert rows(together, 1) == [("it's", 3)]
    assert rows("SELECT count(*) > 5 FROM entries") == [(True,)]
    with pytest.raises(QueryError):
        manager.sql("DELETE FROM tasks")
    with pytest.raises(QueryError):
        manager.sql("SELECT * FROM read_text('/etc/passwd'), sessions")


WRONG: list[tuple[str, tuple[Any, ...]]] = [
    ("create_session", ("",)), ("create_session", (5,)), ("create_session", ("x" * 1001,)),
    ("create_session", ("t", "ada")), ("create_session", ("t", [""])),
    ("create_session", ("t", ["a\n"])), ("create_session", ("t", [], [1])),
    ("load", ("../x",)), ("load", ("",)), ("load", (None,)), ("delete", ("a/b",)),
    ("add_chunk", ("S", "")), ("add_chunk", ("S", 5)), ("add_chunk", ("S", "a", "poem")),
    ("add_chunk", ("S", "a", "summary", "abc")), ("add_chunk", ("S", "a\ud800")),
    ("add_memory", ("S", "rumour", "k", 1)), ("add_memory", ("S", "fact", "", 1)),
    ("add_memory", ("S", "fact", "k" * 401, 1)), ("add_memory", ("S", "fact", "k\0", 1)),
    ("add_memory", ("S", "fact", "k", 1, "tag")), ("add_memory", ("S", "fact", "k", 1, [5])),
    ("add_artifact", ("S", "poem", "n", "x")), ("add_artifact", ("S", "code", "n", {"a": 1})),
    ("add_artifact", ("S", "code", "n", None)),
    ("create_task", ("S", "", "t")), ("create_task", ("S", "w" * 101, "t")),
    ("create_task", ("S", "w", 5)), ("create_task", ("S", "w", "t", None, 1.5)),
    ("create_task", ("S", "w", "t", None, True)), ("create_task", ("S", "w", "t", None, 10**9)),
    ("create_task", ("S", "w", "t", None, 0, "tomorrow")),
    ("create_task", ("S", "w", "t", None, 0, datetime(2030, 1, 1))),  # noqa: DTZ001
    ("create_task", ("S", "w", "t", None, 0, None, 0)),
    ("claim_task", ("",)), ("claim_task", ("w", "")), ("claim_task", ("w", None, 0)),
    ("claim_task", ("w", None, "300")), ("wait_for_task", ("w", -1)), ("task", ("x",)),
    ("register_agent", ("a", "t", "", ())), ("register_agent", ("a", "t", None, "code")),
    ("register_agent", ("a", "t", None, (), "asleep")), ("search", ("S", "")), ("search", (5, "a")),
    ("list_sessions", ("asleep",)), ("list_sessions", (None, None, "today")),
]  # fmt: skip


def test_what_is_wrong_is_refused_and_changes_nothing(manager: SessionManager) -> None:
    session = manager.create_session("s")
    before = {row.key: row.version for row in manager.lake.list().rows()}
    for name, arguments in WRONG:
        filled = [session.id if argument == "S" else argument for argument in arguments]
        with pytest.raises(ValidationError):
            getattr(manager, name)(*filled)
    for value in (float("nan"), {1}, {1: 2}, object()):
        for call in (
            lambda v=value: manager.add_memory(session.id, "fact", "k", v),
            lambda v=value: manager.create_task(session.id, "w", "t", v),
            lambda v=value: manager.add_chunk(session.id, "a", extracted_items=[v]),
        ):
            with pytest.raises(SerializationError):
                call()
    assert {row.key: row.version for row in manager.lake.list().rows()} == before
    for call, *arguments in (
        (manager.add_chunk, "x"),
        (manager.add_memory, "fact", "k", 1),
        (manager.create_task, "w", "t"),
        (manager.add_artifact, "code", "n", "x"),
    ):
        with pytest.raises(NotFoundError):
            call(NOBODY, *arguments)  # type: ignore[operator]
    assert {row.key: row.version for row in manager.lake.list().rows()} == before


def test_threads_share_a_session(manager: SessionManager) -> None:
    session = manager.create_session("s")
    start = threading.Barrier(6)

    def work(number: int) -> int:
        start.wait()
        for n in range(5):
            manager.add_chunk(session.id, f"{number} says {n}")
            manager.add_memory(session.id, "fact", f"{number}/{n}", n)
            manager.create_task(session.id, "w", f"{number}.{n}")
        done = 0
        while (task := manager.claim_task("w")) is not None:
            task.complete(number)
            done += 1
        return done

    with ThreadPoolExecutor(6) as pool:
        done = list(pool.map(work, range(6)))
    loaded = manager.load(session.id)
    assert (loaded.chunks, loaded.memories, loaded.tasks) == (30, 30, 30)
    assert manager.count_tasks(session.id)["completed"] == sum(done) == 30
    for number in range(6):
        mine = [c.content for c in manager.chunks(session.id) if c.content.startswith(f"{number} ")]
        assert mine == [f"{number} says {n}" for n in range(5)]
