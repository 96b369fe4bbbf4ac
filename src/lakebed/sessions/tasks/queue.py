"""The queue of open tasks. A task changes by renaming or deleting its entry."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, cast

from lakebed.errors import ConflictError, CorruptionError, NotFoundError
from lakebed.records import Entry
from lakebed.sessions import layout
from lakebed.sessions.base import Base, new_id, shown
from lakebed.sessions.layout import Holder, Ticket
from lakebed.sessions.tasks.task import Task
from lakebed.values.codec import encode_value
from lakebed.values.json import decode_text

_LOOK = 50_000  # microseconds between two checks for tasks that have fallen due
_PAGE = 100
_FAR = 3_600_000_000  # microseconds after which to check, if no task is known to fall due
_SMALL = 2048  # bytes; the queue's entry of a smaller task has the task itself


class _Look(NamedTuple):
    """When to check again for tasks that have fallen due. `due`: the earliest known time."""

    next: int
    due: int


class Queue(Base):
    """The calls that claim, move and end tasks."""

    def __init__(self, lake: Any) -> None:
        super().__init__(lake)
        self._looks: dict[str, _Look] = {}

    def now(self) -> int:
        """Return the lake's time in microseconds."""
        return self._clock.now()

    def take(self, agent: str, who: str, lease: float) -> Task | None:
        """Claim the first ready task of an agent."""
        self._return_due(agent)
        task = self._take_ready(agent, who, lease)
        if task is None and self._return_due(agent, at_once=True):
            task = self._take_ready(agent, who, lease)
        return task

    def _take_ready(self, agent: str, who: str, lease: float) -> Task | None:
        now = self.now()
        holder = Holder(False, who, process_id(), new_id(now))
        end = now + round(lease * 1_000_000)
        entry = self.lake.take(
            layout.ready(agent), f"{layout.due(agent)}{end:016}/{holder.part()}/"
        )
        if entry is None:
            return None
        self._expect(agent, end)
        ticket = Ticket.of(entry.key)
        spec = self._spec(ticket.task_id, entry)
        if spec is None:  # the session was deleted meanwhile
            self.lake.delete(entry.key)
            return self._take_ready(agent, who, lease)
        return Task(self, ticket.task_id, spec, ticket, entry.content_hash, lease)

    def _expect(self, agent: str, due: int) -> None:
        """Note that a task of the agent falls due at this time."""
        look = self._looks.get(agent)
        if look is not None and due < look.due:
            self._looks[agent] = look._replace(due=due)

    def _spec(self, task_id: str, entry: Entry) -> dict[str, Any] | None:
        """Return the description of a task. A small one is in the queue's entry itself."""
        if entry.byte_size:
            return cast("dict[str, Any]", decode_text(entry.value.decode()))
        return cast("dict[str, Any] | None", self.lake.get(layout.task_key(task_id)))

    def next_due(self, agent: str) -> int | None:
        """Return when the next task falls due, as far as this process knows, or None."""
        look = self._looks.get(agent)
        return None if look is None else look.due

    def _return_due(self, agent: str, *, at_once: bool = False) -> bool:
        """Make tasks ready that are due: their lease has ended, or they were to run later.

        Returns whether there were any. Unless `at_once`, not every call checks.
        """
        now = self.now()
        look = self._looks.get(agent)
        if look is not None and not at_once and now < min(look.next, look.due):
            return False
        found, due, page = False, now + _FAR, 1  # one entry shows whether any task is due
        while entries := list(self.lake.list(layout.due(agent), limit=page)):
            for entry in entries:
                ticket = Ticket.of(entry.key)
                assert ticket.due is not None
                if ticket.due > now:
                    due = ticket.due
                    break
                self._return(ticket, entry)
                found = True
            else:
                page = _PAGE
                continue
            break
        self._looks[agent] = _Look(now + _LOOK, due)
        return found

    def _return(self, ticket: Ticket, entry: Entry) -> None:
        """Make a task ready, or end it as failed if it has had its last attempt."""
        try:
            if ticket.holder is None:
                self.move(ticket, entry.content_hash, ticket.ready_again(ticket.attempts))
                return
            made = ticket.attempts + 1
            spec = self._spec(ticket.task_id, entry)
            if spec is None or made >= spec["max_attempts"]:
                error = f"the lease of {ticket.holder.agent} ended during attempt {made}"
                end = {"status": "failed", "output": None, "error": error, "attempts": made}
                holder = ticket.holder
                end |= {"claimed_by": holder.agent, "process_id": holder.process_id}
                self.finish(ticket, entry.content_hash, end)
            else:
                self.move(ticket, entry.content_hash, ticket.ready_again(made))
        except (ConflictError, NotFoundError):
            return  # another process was first, or the session was deleted

    def move(self, old: Ticket, content_hash: str, new: Ticket) -> None:
        """Rename an entry of the queue. Raises ConflictError if the entry no longer exists."""
        if new == old:
            return
        value = self.lake.get(old.key())
        if value is None:
            raise ConflictError(f"the task {old.task_id!r} was changed meanwhile")
        with self.lake.transaction() as tx:
            tx.delete(old.key(), if_match=content_hash)
            tx.store(new.key(), value, if_absent=True)
            if new.holder is not None or new.due is None:
                self._touch(tx, layout.session_of(old.task_id), self.now())
        if new.due is None:
            self._signal(new.agent)
        else:
            self._expect(new.agent, new.due)

    def finish(self, ticket: Ticket, content_hash: str, end: Mapping[str, Any]) -> dict[str, Any]:
        """End a task. Returns its final record. Raises ConflictError if its entry no longer exists,
        and NotFoundError if its session was deleted."""
        place = layout.task_key(ticket.task_id)
        record = self.lake.entry(place)
        if record is None:
            self.lake.delete(ticket.key())
            raise NotFoundError(f"the session of the task {ticket.task_id!r} was deleted")
        now = self.now()
        value: dict[str, Any] = record.value | end | {"finished": shown(now)}
        with self.lake.transaction() as tx:
            tx.delete(ticket.key(), if_match=content_hash)
            about = record.metadata | {"status": end["status"]}
            tx.store(place, value, about, if_match=record.content_hash)
            self._touch(tx, layout.session_of(ticket.task_id), now)
        return value

    def find(self, task_id: str) -> Ticket | None:
        """Return the ticket of an open task, or None if it has ended or does not exist."""
        found = self._find(task_id)
        return None if found is None else found[0]

    def _find(self, task_id: str) -> tuple[Ticket, str] | None:
        """Return the ticket of an open task and the hash of its entry, or None."""
        for _ in range(20):
            record = self.lake.get(layout.task_key(task_id))
            if record is None or "finished" in record:
                return None
            agent = record["agent_name"]
            for ticket, content_hash in self.tickets(agent):
                if ticket.task_id == task_id:
                    return ticket, content_hash
        raise CorruptionError(f"the open task {task_id!r} has no entry in the queue")

    def tickets(self, agent: str) -> Iterator[tuple[Ticket, str]]:
        """Yield the open tasks of an agent with the hashes of their entries, ready tasks last."""
        for prefix in (layout.due(agent), layout.ready(agent)):
            for entry in self.lake.list(prefix):
                yield Ticket.of(entry.key), entry.content_hash

    def _signal(self, agent: str) -> None:
        """Wake the processes that wait for a task of this agent."""


def entry_value(spec: Mapping[str, Any]) -> bytes:
    """Return the value of a task's entry in the queue: the task itself, if it is small.

    The value is bytes, so that no search finds the task twice.
    """
    text = encode_value(dict(spec)).data
    return text if len(text) <= _SMALL else b""


def process_id() -> str:
    """Return an id of this process for all machines: the host's name and the process's number."""
    return f"{socket.gethostname()[:60]}.{os.getpid()}"
