"""The records of sessions. They are immutable, and can be read as mappings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from lakebed.records import Report

SessionStatus = Literal["active", "paused", "completed"]
TaskStatus = Literal["pending", "claimed", "running", "completed", "failed"]
AgentStatus = Literal["available", "busy", "offline", "error"]
ChunkFormat = Literal["dialogue", "summary", "transcript"]

SESSION_STATUSES = ("active", "paused", "completed")
TASK_STATUSES = ("pending", "claimed", "running", "completed", "failed")
AGENT_STATUSES = ("available", "busy", "offline", "error")
CHUNK_FORMATS = ("dialogue", "summary", "transcript")
MEMORY_TYPES = (
    "idea", "decision", "question", "action_item", "context", "preference", "fact", "risk",
)  # fmt: skip
ARTIFACT_TYPES = ("code", "document", "research", "prd", "report")


class Chunk(Report):
    """A piece of a conversation. `extracted_items`: JSON values that were found in it."""

    id: str
    session_id: str
    content: str
    format: ChunkFormat
    extracted_items: Sequence[Any]
    created: datetime


class Memory(Report):
    """Something learnt, under a type and a key. `created`: when the key was first stored."""

    session_id: str
    type: str
    key: str
    content: Any
    tags: Sequence[str]
    created: datetime
    updated: datetime
    content_hash: str


class Artifact(Report):
    """A result. `content`: a string, bytes or a table. `version`: its version in the lake."""

    session_id: str
    type: str
    name: str
    content: Any
    format: str
    metadata: Mapping[str, Any]
    version: int
    created: datetime
    updated: datetime
    content_hash: str

    def __repr__(self) -> str:
        return f"<Artifact {self.type}/{self.name}, {self.format}, version {self.version}>"


class Agent(Report):
    """A program or a person that works on tasks. `command`: the text that starts it."""

    name: str
    type: str
    command: str | None
    capabilities: Sequence[str]
    status: AgentStatus
    last_seen: datetime


class Summary(Report):
    """The summary of a session: counts, tasks by status, and the most important memories.

    `latest`: the beginning of the newest chunk, or None. `decisions`, `questions`, `risks` and
    `action_items`: up to five memories each, by key.
    """

    id: str
    title: str
    status: SessionStatus
    participants: Sequence[str]
    created: datetime
    last_activity: datetime
    chunks: int
    memories: int
    tasks: int
    artifacts: int
    tasks_by_status: Mapping[str, int]
    decisions: Sequence[Memory]
    questions: Sequence[Memory]
    risks: Sequence[Memory]
    action_items: Sequence[Memory]


class Statistics(Report):
    """Totals over all sessions."""

    sessions: int
    sessions_by_status: Mapping[str, int]
    chunks: int
    memories: int
    tasks: int
    tasks_by_status: Mapping[str, int]
    artifacts: int
    agents: int


class MoveReport(Report):
    """The result of an import or a migration.

    `stored`, `unchanged`: how many entries were stored, and how many were equal already. `left`:
    how many were not stored because the target has a newer one.
    """

    stored: int
    unchanged: int
    left: int
