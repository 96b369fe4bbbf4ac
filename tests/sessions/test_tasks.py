"""What tasks of sessions do, the same in every backend."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from lakebed.errors import (
    ConflictError,
    NotFoundError,
)
from lakebed.sessions import SessionManager
from tests.waiting import until, within


def test_tasks_by_priority_then_age(manager: SessionManager) -> None:
    session = manager.create_session("s")
    assert manager.claim_task("w") is None
    for n, priority in enumerate((0, 5, -3, 5, 0, 10**9 - 1)):
        manager.create_task(session.id, agent_name="w", task_type=f"t{n}", input={"n": n},
                            priority=priority)  # fmt: skip
    manager.create_task(session.id, "somebody else", "t", priority=100)
    order = []
    while (task := manager.claim_task("w", lease=60)) is not None:
        order.append(task.task_type)
        assert (task.status, task.attempts, task.claimed_by) == ("claimed", 1, "w")
        assert task["input"] == {"n": int(task.task_type[1:])}
    assert order == ["t5", "t1", "t3", "t0", "t4", "t2"]


def test_a_task_from_beginning_to_end(manager: SessionManager) -> None:
    session = manager.create_session("s")
    made = manager.create_task(session.id, "w/1", "look up", {"q": 2**70, "long": "x" * 10_000})
    assert dict(made) == dict(manager.task(made.id))
    assert (made.status, made.attempts, made.claim) == ("pending", 0, None)
    assert (made.session_id, made.max_attempts, made.run_after) == (session.id, 3, None)
    task = manager.claim_task("w/1", control_agent="boss: a/b%")
    assert task is not None
    assert task.id == made.id
    assert task.input == made.input
    assert (task.claimed_by, task.process_id is None) == ("boss: a/b%", False)
    assert dict(manager.task(made.id)) == dict(task)
    assert task.start() is task
    assert manager.task(made.id).status == "running"
    before = task.lease_until
    task.heartbeat(900)
    assert task.lease_until is not None
    assert before is not None
    assert task.lease_until > before + timedelta(seconds=500)
    task.complete({"answer": [42]})
    for seen in (task, manager.task(made.id)):
        assert (seen.status, seen.output, seen.attempts) == ("completed", {"answer": [42]}, 1)
        assert (seen.error, seen.claim, seen.claimed_by) == (None, None, "boss: a/b%")
        assert seen.finished is not None
    for change in (task.start, task.heartbeat, task.complete, task.release):
        with pytest.raises(ConflictError, match="completed"):
            change()
    with pytest.raises(NotFoundError):
        manager.task(f"{session.id}.0000000000")


def test_a_task_that_fails(manager: SessionManager) -> None:
    session = manager.create_session("s")
    made = manager.create_task(session.id, "w", "t", max_attempts=2)
    first = manager.claim_task("w")
    assert first is not None
    first.fail("no network")
    assert (first.status, first.attempts, manager.task(made.id).status) == ("pending", 1, "pending")
    second = manager.claim_task("w")
    assert second is not None
    assert second.attempts == 2
    second.fail("still none")
    assert (second.status, second.error) == ("failed", "still none")
    assert dict(manager.task(made.id)) == dict(second)
    assert manager.claim_task("w") is None
    other = manager.create_task(session.id, "w", "t")
    third = manager.claim_task("w")
    assert third is not None
    third.fail("never again", retry=False)
    assert (manager.task(other.id).status, manager.task(other.id).attempts) == ("failed", 1)
    manager.create_task(session.id, "w", "t")
    fourth = manager.claim_task("w")
    assert fourth is not None
    assert fourth.release().attempts == 0


def test_a_claim_ends_with_its_lease(manager: SessionManager) -> None:
    session = manager.create_session("s")
    made = manager.create_task(session.id, "w", "t", max_attempts=2)
    late = manager.claim_task("w", lease=30)
    assert late is not None
    assert manager.claim_task("w") is None
    late.heartbeat(0.05)
    again = manager.wait_for_task("w", 60, lease=30)
    assert again is not None
    assert (again.id, again.attempts) == (made.id, 2)
    for change in (late.start, late.heartbeat, late.complete, lambda: late.fail("x"), late.release):
        with pytest.raises(ConflictError, match="has ended"):
            change()
    with pytest.raises(ConflictError, match="has ended"):
        manager.task(made.id, claim=late.claim)
    same = manager.task(made.id, claim=again.claim)
    same.heartbeat(30)
    again.heartbeat(0.05)  # another record of the same claim moved it
    until(lambda: manager.claim_task("w") or manager.task(made.id).status == "failed")
    failed = manager.task(made.id)
    assert (failed.status, failed.attempts) == ("failed", 2)
    assert "lease" in str(failed.error)


def test_tasks_that_run_later(manager: SessionManager) -> None:
    session = manager.create_session("s")
    now = datetime.now(UTC)
    tomorrow, yesterday = now + timedelta(days=1), now - timedelta(days=1)
    later = manager.create_task(session.id, "w", "later", priority=9, run_after=tomorrow)
    past = manager.create_task(session.id, "w", "past", run_after=yesterday)
    assert (later.status, later.run_after) == ("pending", tomorrow)
    ready = manager.claim_task("w")
    assert ready is not None
    assert ready.id == past.id
    assert manager.claim_task("w") is None
    soon = datetime.now(UTC) + timedelta(seconds=0.3)
    made = manager.create_task(session.id, "w", "soon", run_after=soon)
    task = manager.wait_for_task("w", 60)
    assert task is not None
    assert (task.id, task.attempts) == (made.id, 1)


def test_waiting_for_a_task(manager: SessionManager) -> None:
    session = manager.create_session("s")
    assert manager.wait_for_task("w", 0) is None
    assert manager.wait_for_task("w", 0.05) is None
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(manager.wait_for_task, "w", 20) for _ in range(3)]
        until(lambda: within(SessionManager.wait_for_task) == 3)
        made = {manager.create_task(session.id, "w", "t").id for _ in range(3)}
        found = {task.result(20).id for task in waiting}  # type: ignore[union-attr]
    assert found == made


def test_tasks_are_listed(manager: SessionManager) -> None:
    session, other = manager.create_session("s"), manager.create_session("o")
    for agent in ("a", "b"):
        for n in range(3):
            manager.create_task(session.id, agent, f"{agent}{n}")
    manager.create_task(other.id, "a", "other")
    done, held = manager.claim_task("a"), manager.claim_task("b")
    assert done is not None
    assert held is not None
    done.complete()
    held.start()
    types = [task.task_type for task in manager.tasks(session.id)]
    assert types == ["a0", "a1", "a2", "b0", "b1", "b2"]
    assert [t.task_type for t in manager.tasks(session.id, status="pending")] == [
        "a1", "a2", "b1", "b2",
    ]  # fmt: skip
    assert [t.task_type for t in manager.tasks(session.id, status="running")] == ["b0"]
    assert [t.task_type for t in manager.tasks(status="completed")] == ["a0"]
    assert len(manager.tasks(agent_name="a")) == 4
    assert len(manager.tasks(limit=2)) == 2
    counts = {"pending": 4, "claimed": 0, "running": 1, "completed": 1, "failed": 0}
    assert manager.count_tasks(session.id) == counts
    assert manager.count_tasks() == counts | {"pending": 5}
    assert manager.delete(session.id)
    assert [t.task_type for t in manager.tasks()] == ["other"]
    with pytest.raises((ConflictError, NotFoundError)):
        held.complete()
    task = manager.claim_task("a")
    assert task is not None
    assert (task.task_type, manager.claim_task("a")) == ("other", None)
