"""Tasks of agents. Only one agent at a time can claim a task."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from lakebed.errors import ConflictError, NotFoundError
from lakebed.sessions import layout
from lakebed.sessions.base import new_id, shown
from lakebed.sessions.checks import (
    check_choice,
    check_count,
    check_moment,
    check_name,
    check_priority,
    check_seconds,
    check_session_id,
    check_task_id,
)
from lakebed.sessions.layout import Ticket
from lakebed.sessions.records import TASK_STATUSES, TaskStatus
from lakebed.sessions.tasks.queue import Queue, entry_value
from lakebed.sessions.tasks.task import LEASE, Task

_POLL = 0.25  # seconds between two tries while waiting
_FIRST_POLL = 0.02
_LISTENS = 2.0  # seconds after which a waiter tries even without a signal
_MAX_ATTEMPTS = 3


class Tasks(Queue):
    """The calls on tasks."""

    def create_task(
        self,
        session_id: str,
        agent_name: str,
        task_type: str,
        input: Any = None,  # noqa: A002
        priority: int = 0,
        run_after: datetime | None = None,
        max_attempts: int = _MAX_ATTEMPTS,
    ) -> Task:
        """Create a task for an agent.

        `task_type`: a word of your choice. `input`: JSON. `priority`: the task with the highest is
        claimed first, and of equal ones the oldest. `run_after`: an aware datetime, before which
        nobody can claim the task. `max_attempts`: after this many claims without a result, the task
        has failed. Raises NotFoundError if the session does not exist.
        """
        agent = check_name("agent_name", agent_name)
        later = None if run_after is None else check_moment("run_after", run_after)
        spec: dict[str, Any] = {
            "agent_name": agent,
            "task_type": check_name("task_type", task_type),
            "input": input,
            "priority": check_priority(priority),
            "run_after": None if later is None else shown(later),
            "max_attempts": check_count("max_attempts", max_attempts, least=1),
            "status": "open",
        }
        about = {"kind": "task", "session": session_id, "agent": agent, "type": task_type}
        with self._changing(session_id) as (tx, now):
            task_id = f"{session_id}.{new_id(now)}"
            spec["created"] = shown(now)
            due = later if later is not None and later > now else None
            ticket = Ticket(agent, due, None, priority, now, task_id, 0)
            tx.store(layout.task_key(task_id), spec, about | {"status": "open"}, if_absent=True)
            tx.store(ticket.key(), entry_value(spec), if_absent=True)
        if due is None:
            self._signal(agent)
        else:
            self._expect(agent, due)
        return Task(self, task_id, spec, ticket)

    def claim_task(
        self,
        agent_name: str,
        control_agent: str | None = None,
        lease: float | timedelta = LEASE,
    ) -> Task | None:
        """Claim the most urgent task of an agent that is due. Returns None if there is none.

        Of equally urgent tasks, the oldest is claimed. If several processes claim at once, each
        gets a different task. `control_agent`: who claims the task, if not the agent itself.
        `lease`: how long the claim lasts, a timedelta or seconds. `Task.heartbeat` extends it. If
        the agent dies, the lease ends and the task becomes pending again.
        """
        agent = check_name("agent_name", agent_name)
        who = agent if control_agent is None else check_name("control_agent", control_agent)
        return self.take(agent, who, check_seconds("lease", lease, least=0.05))

    def wait_for_task(
        self,
        agent_name: str,
        timeout: float | timedelta,
        control_agent: str | None = None,
        lease: float | timedelta = LEASE,
    ) -> Task | None:
        """Claim a task as `claim_task` does. If none is due, wait up to `timeout` seconds for one.

        Returns None if no task becomes due in this time. On Postgres, a new task wakes the waiting
        agents at once. Elsewhere they try four times a second.
        """
        deadline = time.monotonic() + check_seconds("timeout", timeout, least=0)
        agent, pause = check_name("agent_name", agent_name), _FIRST_POLL
        with self.lake.listen(_topic(agent)) as signals:
            while True:
                task = self.claim_task(agent, control_agent, lease)
                left = deadline - time.monotonic()
                if task is not None or left <= 0:
                    return task
                due = self.next_due(agent)
                until_due = left if due is None else max(0.001, (due - self.now()) / 1_000_000)
                most = _LISTENS if signals.wakes else pause
                signals.wait(min(left, until_due, most))
                pause = min(2 * pause, _POLL)

    def _signal(self, agent: str) -> None:
        self.lake.signal(_topic(agent))

    def task(self, task_id: str, *, claim: str | None = None) -> Task:
        """Return a task as it is now. Raises NotFoundError if it does not exist.

        The calls of the returned task act for its current holder. `claim`: the `claim` of a task
        that was claimed. If that claim no longer holds the task, the call raises ConflictError.
        Pass it where only the id of a task is known.
        """
        place = layout.task_key(check_task_id(task_id))
        found = self._find(task_id)
        record = self.lake.get(place)
        if record is None:
            raise NotFoundError(f"no task with the id {task_id!r}")
        ticket, content_hash = (None, "") if found is None else found
        task = Task(self, task_id, record, ticket, content_hash)
        if claim is not None and task.claim != claim:
            raise ConflictError(f"the claim of the task {task_id!r} has ended: it is {task.status}")
        return task

    def tasks(
        self,
        session_id: str | None = None,
        *,
        status: TaskStatus | None = None,
        agent_name: str | None = None,
        limit: int | None = None,
    ) -> list[Task]:
        """Return the tasks of a session, or of all sessions, in the order of their creation.

        `status`, `agent_name`: only tasks with this status, or for this agent. `limit`: the most
        tasks.
        """
        if status is not None:
            check_choice("status", status, TASK_STATUSES)
        most = None if limit is None else check_count("limit", limit)
        found = list[Task]()
        for task in self._read_tasks(session_id, status, agent_name):
            if most is not None and len(found) >= most:
                break
            if status is None or task.status == status:
                found.append(task)
        return found

    def _read_tasks(
        self, session_id: str | None, status: str | None, agent_name: str | None
    ) -> Iterator[Task]:
        condition = dict[str, Any]()
        if agent_name is not None:
            condition["agent"] = check_name("agent_name", agent_name)
        if status is not None:
            condition["status"] = status if status in ("completed", "failed") else "open"
        tickets = dict[str, dict[str, tuple[Ticket, str]]]()
        for prefix in self._task_prefixes(session_id):
            listing = self.lake.list(prefix, metadata_filter=condition or None)
            for row, record in self.lake.read_listing(listing):
                session, _, name = row.key[len(layout.PARTS) :].partition("/task/")
                task_id, agent = f"{session}.{name}", record["agent_name"]
                ticket, content_hash = None, ""
                if "finished" not in record:
                    if agent not in tickets:
                        tickets[agent] = {t.task_id: (t, h) for t, h in self.tickets(agent)}
                    ticket, content_hash = tickets[agent].get(task_id, (None, ""))
                    if ticket is None:  # the task moved or ended while tasks were read
                        yield self.task(task_id)
                        continue
                yield Task(self, task_id, record, ticket, content_hash)

    def _task_prefixes(self, session_id: str | None) -> Iterator[str]:
        if session_id is not None:
            yield layout.parts(check_session_id(session_id), "task")
            return
        for entry in self.lake.list(layout.HEADS):
            yield layout.parts(entry.key[len(layout.HEADS) :], "task")

    def count_tasks(self, session_id: str | None = None) -> dict[str, int]:
        """Return the number of tasks by status, in a session or in all sessions."""
        return self._counted(session_id)[0]

    def _counted(self, session_id: str | None) -> tuple[dict[str, int], str]:
        """Return the result of `count_tasks`, and the token of the latest claim."""
        counts, latest = dict.fromkeys(TASK_STATUSES, 0), ""
        agents = set[str]()
        for prefix in self._task_prefixes(session_id):
            for entry in self.lake.list(prefix):
                about = entry.metadata
                if about["status"] == "open":
                    agents.add(about["agent"])
                    counts["pending"] += 1
                else:
                    counts[about["status"]] += 1
        for held in self._held(agents):
            if session_id is None or layout.session_of(held.task_id) == session_id:
                assert held.holder is not None
                counts["running" if held.holder.running else "claimed"] += 1
                counts["pending"] -= 1
                latest = max(latest, held.holder.token)
        counts["pending"] = max(0, counts["pending"])  # a task may have ended in between
        return counts, latest

    def _held(self, agents: set[str]) -> Iterator[Ticket]:
        for agent in sorted(agents):
            for entry in self.lake.list(layout.due(agent)):
                ticket = Ticket.of(entry.key)
                if ticket.holder is not None:
                    yield ticket


def _topic(agent: str) -> str:
    return f"lakebed task for {agent}"
