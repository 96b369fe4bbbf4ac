"""The calls on sessions: create, list, change, delete, summarise."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from itertools import islice
from typing import Any

from lakebed.clock import from_micros
from lakebed.errors import ConflictError
from lakebed.records import Entry
from lakebed.sessions import layout
from lakebed.sessions.base import moment, new_id, shown, time_of
from lakebed.sessions.checks import (
    check_choice,
    check_count,
    check_moment,
    check_name,
    check_names,
    check_object,
    check_session_id,
    check_text,
)
from lakebed.sessions.layout import Ticket
from lakebed.sessions.records import SESSION_STATUSES, Memory, SessionStatus, Statistics, Summary
from lakebed.sessions.session import Session
from lakebed.sessions.talking import Talking
from lakebed.sessions.tasks.calls import Tasks

_TITLE_BYTES = 1000
_SHOWN = 5
_STEP = 1000


class Heads(Talking, Tasks):
    """The calls on sessions."""

    def create_session(
        self,
        title: str,
        participants: Iterable[str] = (),
        metadata: Mapping[str, Any] | None = None,
    ) -> Session:
        """Create a session whose status is active. `participants`: names of agents and people.

        `metadata`: a JSON object of your own.
        """
        value = {
            "title": check_text("title", title, most=_TITLE_BYTES),
            "participants": check_names("participants", participants),
            "metadata": check_object("metadata", metadata),
            "status": "active",
        }
        now = self._clock.now()
        session_id = new_id(now)
        value["created"] = shown(now)
        with self.lake.transaction() as tx:
            tx.store(f"{layout.HEADS}{session_id}", value, _about(value), if_absent=True)
            self._touch(tx, session_id, now)
        return self.load(session_id)

    def load(self, session_id: str) -> Session:
        """Return a session by its id. Raises NotFoundError if it does not exist."""
        return self._load(session_id)[0]

    def _load(self, session_id: str) -> tuple[Session, dict[str, int]]:
        """Return a session and the number of its tasks by status."""
        head = self._head(session_id)
        found = self.lake.get(f"{layout.ACTIVITY}{session_id}")
        activity = moment(head.value["created"] if found is None else found["at"])
        counts, claimed = self._counted(session_id)
        if claimed:
            activity = max(activity, time_of(claimed))
        session = self._session(head, activity)
        session.count("task", sum(counts.values()))
        return session, counts

    def _agents_of(self, session_id: str) -> set[str]:
        """Return the agents that have open tasks in a session."""
        listing = self.lake.list(
            layout.parts(session_id, "task"), metadata_filter={"status": "open"}
        )
        return {entry.metadata["agent"] for entry in listing}

    def _held_since(self, agents: Iterable[str]) -> dict[str, datetime]:
        """Return when a task of each session was last claimed.

        A claim only renames the task's entry in the queue, and does not update `last_activity`.
        """
        latest = dict[str, datetime]()
        for agent in agents:
            for entry in self.lake.list(layout.due(agent)):
                ticket = Ticket.of(entry.key)
                if ticket.holder is not None:
                    session_id = layout.session_of(ticket.task_id)
                    at = time_of(ticket.holder.token)
                    latest[session_id] = max(at, latest.get(session_id, at))
        return latest

    def _session(self, head: Entry, last_activity: datetime) -> Session:
        session_id = head.key[len(layout.HEADS) :]
        return Session(session_id, head.value, head.content_hash, last_activity, self._count_parts)

    def _count_parts(self, session_id: str, kind: str) -> int:
        return self.lake.search(None, prefix=layout.parts(session_id, kind), limit=0).total

    def update(
        self,
        session_id: str,
        *,
        title: str | None = None,
        participants: Iterable[str] | None = None,
        metadata: Mapping[str, Any] | None = None,
        if_match: str | None = None,
    ) -> Session:
        """Change the given fields of a session.

        `if_match`: change the session only if it has this `content_hash`, else raise ConflictError.
        Without it, changes of these fields by others are overwritten. Raises NotFoundError if the
        session does not exist.
        """
        changes = dict[str, Any]()
        if title is not None:
            changes["title"] = check_text("title", title, most=_TITLE_BYTES)
        if participants is not None:
            changes["participants"] = check_names("participants", participants)
        if metadata is not None:
            changes["metadata"] = check_object("metadata", metadata)
        return self._change(session_id, lambda value: value | changes, if_match)

    def pause(self, session_id: str) -> Session:
        """Set the status to paused. Tasks can still be claimed: the status is only information."""
        return self._set_status(session_id, "paused")

    def resume(self, session_id: str) -> Session:
        """Set the status to active."""
        return self._set_status(session_id, "active")

    def complete(self, session_id: str) -> Session:
        """Set the status to completed."""
        return self._set_status(session_id, "completed")

    def _set_status(self, session_id: str, status: SessionStatus) -> Session:
        return self._change(session_id, lambda value: value | {"status": status}, None)

    def _change(
        self,
        session_id: str,
        change: Callable[[dict[str, Any]], dict[str, Any]],
        if_match: str | None,
    ) -> Session:
        while True:
            head = self._head(session_id)
            value = change(head.value)
            try:
                with self.lake.transaction() as tx:
                    tx.store(head.key, value, _about(value), if_match=if_match or head.content_hash)
                    self._touch(tx, session_id, self._clock.now())
            except ConflictError:
                if if_match is None and head.key in self.lake:
                    continue
                raise
            return self.load(session_id)

    def list_sessions(
        self,
        status: SessionStatus | None = None,
        participant: str | None = None,
        since: datetime | None = None,
        limit: int | None = None,
    ) -> list[Session]:
        """Return sessions, the most recently active first.

        `status`, `participant`: only sessions with this status or participant. `since`: only
        sessions active at or after this aware datetime. `limit`: the most sessions.
        """
        conditions: list[dict[str, Any]] = []
        if status is not None:
            conditions.append({"status": check_choice("status", status, SESSION_STATUSES)})
        if participant is not None:
            name = check_name("participant", participant)
            conditions.append({"participants": {"$contains": name}})
        first = None if since is None else from_micros(check_moment("since", since))
        most = None if limit is None else check_count("limit", limit)
        listing = self.lake.list(
            layout.HEADS, metadata_filter={"$and": conditions} if conditions else None
        )
        activity = self._activity()
        found = []
        for head in listing:
            session_id = head.key[len(layout.HEADS) :]
            at = activity.get(session_id) or moment(head.value["created"])
            if first is None or at >= first:
                found.append(self._session(head, at))
        found.sort(key=lambda session: (session.last_activity, session.id), reverse=True)
        return found[:most]

    def _activity(self) -> dict[str, datetime]:
        rows = self.lake.read_listing(self.lake.list(layout.ACTIVITY))
        latest = {row.key[len(layout.ACTIVITY) :]: moment(value["at"]) for row, value in rows}
        for session_id, at in self._held_since(self._queue_agents()).items():
            latest[session_id] = max(at, latest.get(session_id, at))
        return latest

    def _queue_agents(self) -> Iterator[str]:
        """Yield the agents that have open tasks, by jumping from the keys of one agent to the
        next."""
        behind: str | None = None
        while found := list(islice(self.lake.list(layout.QUEUE, after=behind, limit=1), 1)):
            ticket = Ticket.of(found[0].key)
            yield ticket.agent
            behind = f"{layout.QUEUE}{layout.escaped(ticket.agent)}/\U0010ffff"

    def delete(self, session_id: str) -> bool:
        """Delete a session with all of its parts, open tasks included. Returns whether it existed.

        History and snapshots still have it. `purge` of the lake also removes it from them.
        """
        there = self.lake.delete(f"{layout.HEADS}{check_session_id(session_id)}")
        for agent in self._agents_of(session_id):
            for ticket, _ in self.tickets(agent):
                if layout.session_of(ticket.task_id) == session_id:
                    self.lake.delete(ticket.key())
        while keys := [
            entry.key for entry in self.lake.list(layout.parts(session_id), limit=_STEP)
        ]:
            with self.lake.transaction() as tx:
                for key in keys:
                    tx.delete(key)
        self.lake.delete(f"{layout.ACTIVITY}{session_id}")
        return there

    def summary(self, session_id: str) -> Summary:
        """Return a summary of a session. Raises NotFoundError if it does not exist."""
        session, counts = self._load(session_id)
        fields = {name: session[name] for name in Summary.FIELDS if name in Session.FIELDS}
        some = {
            name: self._some(session_id, kind)
            for name, kind in (
                ("decisions", "decision"),
                ("questions", "question"),
                ("risks", "risk"),
                ("action_items", "action_item"),
            )
        }
        return Summary(**fields, **some, tasks_by_status=counts)

    def _some(self, session_id: str, kind: str) -> list[Memory]:
        return self.memories(session_id, type=kind, limit=_SHOWN)

    def statistics(self) -> Statistics:
        """Return totals over all sessions."""
        statuses = dict.fromkeys(SESSION_STATUSES, 0)
        parts = dict.fromkeys(layout.KINDS, 0)
        for head in self.lake.list(layout.HEADS):
            statuses[head.metadata["status"]] += 1
            session_id = head.key[len(layout.HEADS) :]
            for kind in layout.KINDS:
                parts[kind] += self._count_parts(session_id, kind)
        agents = self.lake.search(None, prefix=layout.AGENTS, limit=0).total
        return Statistics(
            sessions=sum(statuses.values()),
            sessions_by_status=statuses,
            chunks=parts["chunk"],
            memories=parts["memory"],
            tasks=parts["task"],
            tasks_by_status=self.count_tasks(),
            artifacts=parts["artifact"],
            agents=agents,
        )


def _about(value: dict[str, Any]) -> dict[str, Any]:
    names = ("title", "status", "participants")
    return {"kind": "session", **{name: value[name] for name in names}}
