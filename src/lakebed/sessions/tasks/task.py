"""A task: what its holder sees, and the calls that change it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, ClassVar, Protocol, cast

from lakebed.clock import from_micros
from lakebed.errors import ConflictError
from lakebed.records import Record
from lakebed.sessions.base import moment
from lakebed.sessions.checks import check_seconds, check_text
from lakebed.sessions.layout import Holder, Ticket, session_of
from lakebed.sessions.records import TaskStatus

LEASE = 300.0
"""The default length of a claim, in seconds."""


class Changes(Protocol):
    """The calls of the queue that a task needs."""

    def now(self) -> int: ...

    def move(self, old: Ticket, content_hash: str, new: Ticket) -> None: ...

    def finish(
        self, ticket: Ticket, content_hash: str, end: Mapping[str, Any]
    ) -> dict[str, Any]: ...

    def find(self, task_id: str) -> Ticket | None: ...


class Task(Record):
    """A task. It can also be read as a mapping of its fields.

    | field | |
    | --- | --- |
    | `id`, `session_id` | |
    | `agent_name` | the agent that the task is for |
    | `task_type`, `input` | what to do: a word of the caller's choice, and JSON |
    | `priority` | the highest is the most urgent |
    | `run_after`, `created` | datetimes in UTC; `run_after` is None if the task is due at once |
    | `status` | pending, claimed, running, completed or failed |
    | `attempts`, `max_attempts` | claims so far, the current one included, and the most allowed |
    | `claimed_by`, `process_id` | the agent and process of the last claim, or None |
    | `claim` | a token that identifies the current claim, or None |
    | `lease_until` | when the current claim ends, or None |
    | `output`, `error`, `finished` | the result, and when the task ended |

    The holder calls `start`, `heartbeat`, and one of `complete`, `fail` and `release`. These calls
    update this record. They raise ConflictError if the claim has ended meanwhile, for example
    because the lease ran out and another agent claimed the task.
    """

    __slots__ = ("_end", "_hash", "_lease", "_lock", "_queue", "_spec", "_ticket", "id")
    FIELDS: ClassVar[tuple[str, ...]] = (
        "id", "session_id", "agent_name", "task_type", "input", "priority", "run_after", "created",
        "status", "attempts", "max_attempts", "claimed_by", "process_id", "claim", "lease_until",
        "output", "error", "finished",
    )  # fmt: skip

    def __init__(
        self,
        queue: Changes,
        task_id: str,
        spec: dict[str, Any],
        ticket: Ticket | None,
        content_hash: str = "",
        lease: float = LEASE,
    ) -> None:
        self.id = task_id
        self._queue = queue
        self._spec = spec
        self._end = spec if "finished" in spec else None
        self._ticket = ticket
        self._hash = content_hash
        self._lease = lease
        self._lock = threading.Lock()  # one thread may send heartbeats while another one works

    @property
    def session_id(self) -> str:
        return session_of(self.id)

    @property
    def agent_name(self) -> str:
        return cast("str", self._spec["agent_name"])

    @property
    def task_type(self) -> str:
        return cast("str", self._spec["task_type"])

    @property
    def input(self) -> Any:
        return self._spec["input"]

    @property
    def priority(self) -> int:
        return cast("int", self._spec["priority"])

    @property
    def run_after(self) -> datetime | None:
        text = self._spec["run_after"]
        return None if text is None else moment(text)

    @property
    def created(self) -> datetime:
        return moment(self._spec["created"])

    @property
    def max_attempts(self) -> int:
        return cast("int", self._spec["max_attempts"])

    @property
    def _holder(self) -> Holder | None:
        return None if self._ticket is None else self._ticket.holder

    @property
    def status(self) -> TaskStatus:
        if self._end is not None:
            return cast("TaskStatus", self._end["status"])
        if self._holder is None:
            return "pending"
        return "running" if self._holder.running else "claimed"

    @property
    def attempts(self) -> int:
        if self._end is not None:
            return cast("int", self._end["attempts"])
        made = 0 if self._ticket is None else self._ticket.attempts
        return made + (self._holder is not None)

    @property
    def claimed_by(self) -> str | None:
        if self._end is not None:
            return cast("str | None", self._end["claimed_by"])
        return None if self._holder is None else self._holder.agent

    @property
    def process_id(self) -> str | None:
        if self._end is not None:
            return cast("str | None", self._end["process_id"])
        return None if self._holder is None else self._holder.process_id

    @property
    def claim(self) -> str | None:
        return None if self._end is not None or self._holder is None else self._holder.token

    @property
    def lease_until(self) -> datetime | None:
        if self.claim is None or self._ticket is None or self._ticket.due is None:
            return None
        return from_micros(self._ticket.due)

    @property
    def output(self) -> Any:
        return None if self._end is None else self._end["output"]

    @property
    def error(self) -> str | None:
        return None if self._end is None else cast("str | None", self._end["error"])

    @property
    def finished(self) -> datetime | None:
        return None if self._end is None else moment(self._end["finished"])

    def __repr__(self) -> str:
        return f"<Task {self.id} for {self.agent_name}: {self.task_type}, {self.status}>"

    def start(self) -> Task:
        """Set the status to running, which says that work has begun."""
        return self._while_held(
            lambda ticket, holder: self._move(ticket._replace(holder=holder._replace(running=True)))
        )

    def heartbeat(self, lease: float | timedelta | None = None) -> Task:
        """Extend the claim to `lease` seconds from now. The default is the lease of the claim."""
        seconds = self._lease if lease is None else check_seconds("lease", lease, least=0.05)
        return self._while_held(
            lambda ticket, _: self._move(
                ticket._replace(due=self._queue.now() + round(seconds * 1_000_000))
            )
        )

    def complete(self, output: Any = None) -> Task:
        """Complete the task. `output`: its result, as JSON."""
        return self._while_held(
            lambda ticket, holder: self._finish(ticket, holder, "completed", output, None)
        )

    def fail(self, error: str, retry: bool = True) -> Task:
        """Report that the task failed. `error`: why.

        With `retry`, the task becomes pending again, unless this was the last of `max_attempts`.
        """
        check_text("error", error)

        def change(ticket: Ticket, holder: Holder) -> None:
            if retry and ticket.attempts + 1 < self.max_attempts:
                self._move(ticket.ready_again(ticket.attempts + 1))
            else:
                self._finish(ticket, holder, "failed", None, error)

        return self._while_held(change)

    def release(self) -> Task:
        """Return the task to the queue, as if it had not been claimed."""
        return self._while_held(lambda ticket, _: self._move(ticket.ready_again(ticket.attempts)))

    def _move(self, ticket: Ticket) -> None:
        assert self._ticket is not None
        self._queue.move(self._ticket, self._hash, ticket)
        self._ticket = ticket

    def _finish(
        self, ticket: Ticket, holder: Holder, status: str, output: Any, error: str | None
    ) -> None:
        end = {"status": status, "output": output, "error": error, "attempts": ticket.attempts + 1}
        end |= {"claimed_by": holder.agent, "process_id": holder.process_id}
        self._end = self._spec = self._queue.finish(ticket, self._hash, end)
        self._ticket = None

    def _while_held(self, change: Callable[[Ticket, Holder], None]) -> Task:
        """Make a change that only the holder may make. Raises ConflictError if the claim ended."""
        with self._lock:
            while True:
                ticket, holder = self._ticket, self._holder
                if ticket is None or holder is None:
                    raise ConflictError(f"nobody holds the task {self.id!r}: it is {self.status}")
                try:
                    change(ticket, holder)
                except ConflictError:
                    # The entry has another key. Another record of this claim may have renamed it.
                    found = self._queue.find(self.id)
                    now = found.holder if found is not None else None
                    if found is None or now is None or now.token != holder.token:
                        raise ConflictError(
                            f"the claim of the task {self.id!r} has ended: "
                            "its lease ran out, or the task was finished or released"
                        ) from None
                    if found == ticket:
                        raise
                    self._ticket = found
                    continue
                return self
