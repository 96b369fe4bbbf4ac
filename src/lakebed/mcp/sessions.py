"""The tools on sessions: conversations, memories, tasks, artifacts, agents."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from lakebed.errors import ValidationError
from lakebed.mcp.entries import IfAbsent, IfMatch, Limit
from lakebed.mcp.telling import LONGEST, brief, plain, shown
from lakebed.sessions.manager import SessionManager
from lakebed.sessions.records import AgentStatus, ChunkFormat, SessionStatus, TaskStatus

SessionId = Annotated[str, Field(description="The id of a session")]
TaskId = Annotated[str, Field(description="The id of a task")]
Claim = Annotated[str, Field(description="The claim that task_claim gave")]
MemoryType = Literal[
    "idea", "decision", "question", "action_item", "context", "preference", "fact", "risk"
]
ArtifactType = Literal["code", "document", "research", "prd", "report"]
Tags = Annotated[list[str] | None, Field(description="Words by which it can be found")]
Lease = Annotated[
    float,
    Field(
        description="Seconds until the task is pending again, unless a heartbeat extends it", gt=0
    ),
]
_WAIT = 25.0  # seconds; clients wait longer than this for an answer


class SessionTools:
    """The tools on sessions."""

    def __init__(self, manager: SessionManager) -> None:
        self._manager = manager

    def session_create(
        self,
        title: Annotated[str, Field(description="What it is about")],
        participants: Annotated[list[str] | None, Field(description="Who takes part")] = None,
    ) -> dict[str, Any]:
        """Create a session that agents share."""
        return _told(self._manager.create_session(title, participants or ()))

    def session_list(
        self,
        status: SessionStatus | None = None,
        participant: Annotated[
            str | None, Field(description="Only sessions with this participant")
        ] = None,
        since: Annotated[
            str | None,
            Field(description="Only sessions active since this time: ISO 8601 with a zone"),
        ] = None,
        limit: Limit = 20,
    ) -> dict[str, Any]:
        """List sessions, the most recently active first."""
        first = None if since is None else _moment("since", since)
        found = self._manager.list_sessions(status, participant, first, limit)
        return {"sessions": [plain(session) for session in found]}

    def session_show(self, session_id: SessionId) -> dict[str, Any]:
        """Return a summary of a session: counts, tasks by status, decisions, questions, risks."""
        return _told(self._manager.summary(session_id))

    def session_update(
        self,
        session_id: SessionId,
        title: str | None = None,
        participants: list[str] | None = None,
        status: SessionStatus | None = None,
        if_match: IfMatch = None,
    ) -> dict[str, Any]:
        """Change the title, the participants or the status of a session."""
        done = self._manager.update(
            session_id, title=title, participants=participants, if_match=if_match
        )
        if status is not None:
            change = {
                "paused": self._manager.pause,
                "active": self._manager.resume,
                "completed": self._manager.complete,
            }[status]
            done = change(session_id)
        return _told(done)

    def session_search(
        self,
        text: Annotated[str, Field(description="Plain words. Any of them may match.")],
        session_id: Annotated[str | None, Field(description="Only in this session")] = None,
        kind: Literal["chunk", "memory", "task", "artifact"] | None = None,
        limit: Limit = 10,
    ) -> dict[str, Any]:
        """Return chunks, memories, tasks and artifacts with any of the words, the best first."""
        hits = self._manager.search(session_id, text, kind=kind, limit=limit)
        found = [
            {"kind": hit.metadata["kind"], "session_id": hit.metadata["session"]}
            | {"score": round(hit.score, 3), "value": brief(hit.value)}
            for hit in hits
        ]
        return {"total": hits.total, "hits": found}

    def chunk_add(
        self,
        session_id: SessionId,
        content: Annotated[str, Field(description="What was said")],
        format: ChunkFormat = "dialogue",
        extracted_items: Annotated[
            list[Any] | None, Field(description="What was found in the text, as JSON")
        ] = None,
    ) -> dict[str, Any]:
        """Add a piece of text to the end of the conversation."""
        made = self._manager.add_chunk(session_id, content, format, extracted_items or ())
        return {"id": made.id, "created": made.created.isoformat()}

    def chunk_list(
        self,
        session_id: SessionId,
        limit: Limit = 20,
        after: Annotated[
            str | None, Field(description="Start after the chunk with this id")
        ] = None,
    ) -> dict[str, Any]:
        """Return the conversation of a session, in order."""
        found = self._manager.chunks(session_id, limit=limit, after=after)
        return {"chunks": [plain(c) | _cut("content", c.content) for c in found]}

    def memory_add(
        self,
        session_id: SessionId,
        type: MemoryType,
        key: Annotated[str, Field(description="Its name, unique within its type")],
        content: Annotated[Any, Field(description="Text or JSON")],
        tags: Tags = None,
        if_absent: IfAbsent = False,
        if_match: IfMatch = None,
    ) -> dict[str, Any]:
        """Store something learnt. An existing memory of this type and key is replaced."""
        made = self._manager.add_memory(
            session_id, type, key, content, tags or (), if_match=if_match, if_absent=if_absent
        )
        return _told(made)

    def memory_list(
        self,
        session_id: SessionId,
        type: MemoryType | None = None,
        tags: Tags = None,
        match: Literal["all", "any"] = "all",
        text: Annotated[
            str | None, Field(description="Only memories with any of these words")
        ] = None,
        limit: Limit = 50,
    ) -> dict[str, Any]:
        """List memories by type, tags and text."""
        found = self._manager.memories(
            session_id, type=type, tags=tags or (), match=match, text=text, limit=limit
        )
        return {"memories": [plain(m) | _cut("content", m.content) for m in found]}

    def memory_delete(
        self, session_id: SessionId, type: MemoryType, key: str, if_match: IfMatch = None
    ) -> dict[str, Any]:
        """Delete a memory."""
        return {"deleted": self._manager.delete_memory(session_id, type, key, if_match=if_match)}

    def task_create(
        self,
        session_id: SessionId,
        agent_name: Annotated[str, Field(description="The agent that the task is for")],
        task_type: Annotated[str, Field(description="A word for the kind of work")],
        input: Annotated[Any, Field(description="What to do, as JSON or text")] = None,
        priority: Annotated[int, Field(description="The highest is claimed first")] = 0,
        run_after: Annotated[
            str | None, Field(description="The earliest time to claim it: ISO 8601 with a zone")
        ] = None,
        max_attempts: Annotated[
            int, Field(description="The task has failed after this many claims", ge=1)
        ] = 3,
    ) -> dict[str, Any]:
        """Create a task for an agent."""
        later = None if run_after is None else _moment("run_after", run_after)
        made = self._manager.create_task(
            session_id, agent_name, task_type, input, priority, later, max_attempts
        )
        return {"id": made.id, "status": made.status}

    def task_claim(
        self,
        agent_name: Annotated[str, Field(description="The agent whose task to claim")],
        control_agent: Annotated[
            str | None, Field(description="Who claims the task, if not the agent itself")
        ] = None,
        lease: Lease = 300,
        wait: Annotated[float, Field(description="Seconds to wait for a task", ge=0, le=_WAIT)] = 0,
    ) -> dict[str, Any]:
        """Claim the most urgent task that is due. Nobody else gets it while the lease lasts. End
        the task with task_complete or task_fail, and pass the claim."""
        task = self._manager.wait_for_task(agent_name, wait, control_agent, lease)
        return {"task": None if task is None else plain(task)}

    def task_heartbeat(self, task_id: TaskId, claim: Claim, lease: Lease = 300) -> dict[str, Any]:
        """Extend a claim, and set the status to running."""
        task = self._manager.task(task_id, claim=claim)
        if task.status == "claimed":
            task.start()
        task.heartbeat(lease)
        return {"status": task.status, "lease_until": plain(task.lease_until)}

    def task_complete(
        self,
        task_id: TaskId,
        claim: Claim,
        output: Annotated[Any, Field(description="The result, as JSON or text")] = None,
    ) -> dict[str, Any]:
        """Complete a task."""
        return {"status": self._manager.task(task_id, claim=claim).complete(output).status}

    def task_fail(
        self,
        task_id: TaskId,
        claim: Claim,
        error: Annotated[str, Field(description="What went wrong")],
        retry: Annotated[
            bool, Field(description="Make it pending again, if attempts are left")
        ] = True,
    ) -> dict[str, Any]:
        """Report that a task failed."""
        task = self._manager.task(task_id, claim=claim).fail(error, retry)
        return {"status": task.status, "attempts": task.attempts}

    def task_show(self, task_id: TaskId) -> dict[str, Any]:
        """Return a task with its input, status and output."""
        return _told(self._manager.task(task_id))

    def task_list(
        self,
        session_id: Annotated[str | None, Field(description="Only of this session")] = None,
        status: TaskStatus | None = None,
        agent_name: str | None = None,
        limit: Limit = 50,
    ) -> dict[str, Any]:
        """List tasks in the order of their creation."""
        found = self._manager.tasks(session_id, status=status, agent_name=agent_name, limit=limit)
        return {
            "tasks": [
                plain(t) | _cut("input", t.input) | _cut("output", t.output) | {"claim": None}
                for t in found
            ]
        }

    def artifact_add(
        self,
        session_id: SessionId,
        type: ArtifactType,
        name: Annotated[str, Field(description="Its name, such as src/main.py")],
        content: Annotated[str, Field(description="The text")],
        format: Annotated[str | None, Field(description="Such as python or markdown")] = None,
        if_absent: IfAbsent = False,
        if_match: IfMatch = None,
    ) -> dict[str, Any]:
        """Store a result. An existing artifact of this type and name gets a new version."""
        made = self._manager.add_artifact(
            session_id, type, name, content, format, if_match=if_match, if_absent=if_absent
        )
        return {"version": made.version, "content_hash": made.content_hash}

    def artifact_show(
        self,
        session_id: SessionId,
        type: ArtifactType,
        name: str,
        version: Annotated[int | None, Field(description="An earlier version")] = None,
        longest: Annotated[
            int, Field(description="Cut the content after this many characters")
        ] = LONGEST,
    ) -> dict[str, Any]:
        """Return an artifact with its content."""
        found = self._manager.artifact(session_id, type, name, version=version)
        fields = {n: plain(value) for n, value in found.items() if n != "content"}
        return fields | shown(found.content, longest)

    def artifact_list(
        self, session_id: SessionId, type: ArtifactType | None = None
    ) -> dict[str, Any]:
        """List the artifacts of a session."""
        found = self._manager.artifacts(session_id, type=type)
        return {
            "artifacts": [
                {n: plain(value) for n, value in artifact.items() if n != "content"}
                for artifact in found
            ]
        }

    def agent_register(
        self,
        name: str,
        type: Annotated[str, Field(description="What kind of agent")] = "agent",
        capabilities: Annotated[list[str] | None, Field(description="What it can do")] = None,
        status: AgentStatus = "available",
    ) -> dict[str, Any]:
        """Register an agent with its status."""
        return _told(
            self._manager.register_agent(name, type, capabilities=capabilities or (), status=status)
        )

    def agent_list(self) -> dict[str, Any]:
        """List the agents, with their status and when they were last seen."""
        return {"agents": [plain(agent) for agent in self._manager.agents()]}


def _told(record: object) -> dict[str, Any]:
    found: dict[str, Any] = plain(record)
    return found


def _cut(name: str, value: object) -> dict[str, Any]:
    return {name: brief(value)} if value is not None else {}


def _moment(name: str, text: str) -> datetime:
    found: datetime | None = None
    with suppress(ValueError):
        found = datetime.fromisoformat(text)
    if found is None or found.utcoffset() is None:
        raise ValidationError(f"{name} must be ISO 8601 with a zone, got {text!r}")
    return found
