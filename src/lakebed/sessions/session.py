"""A session, as it was when it was read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, ClassVar, cast

from lakebed.records import Record
from lakebed.sessions.base import moment
from lakebed.sessions.records import SessionStatus


class Session(Record):
    """A session. It can also be read as a mapping of its fields.

    | field | |
    | --- | --- |
    | `id`, `title` | |
    | `status` | active, paused or completed |
    | `participants` | names of agents and people |
    | `metadata` | the caller's own JSON object |
    | `created`, `last_activity` | datetimes in UTC; changing a part updates `last_activity` |
    | `chunks`, `memories`, `tasks`, `artifacts` | how many it has, counted on first access |
    | `content_hash` | identifies the state, for `update(…, if_match=…)` |
    """

    __slots__ = ("_count", "_counts", "_value", "content_hash", "id", "last_activity")
    FIELDS: ClassVar[tuple[str, ...]] = (
        "id", "title", "status", "participants", "metadata", "created", "last_activity", "chunks",
        "memories", "tasks", "artifacts", "content_hash",
    )  # fmt: skip

    def __init__(
        self,
        session_id: str,
        value: dict[str, Any],
        content_hash: str,
        last_activity: datetime,
        count: Callable[[str, str], int],
    ) -> None:
        self.id = session_id
        self.content_hash = content_hash
        self.last_activity = last_activity
        self._value = value
        self._count = count
        self._counts = dict[str, int]()

    @property
    def title(self) -> str:
        return cast("str", self._value["title"])

    @property
    def status(self) -> SessionStatus:
        return cast("SessionStatus", self._value["status"])

    @property
    def participants(self) -> Sequence[str]:
        return cast("Sequence[str]", self._value["participants"])

    @property
    def metadata(self) -> dict[str, Any]:
        return cast("dict[str, Any]", self._value["metadata"])

    @property
    def created(self) -> datetime:
        return moment(self._value["created"])

    @property
    def chunks(self) -> int:
        return self._number("chunk")

    @property
    def memories(self) -> int:
        return self._number("memory")

    @property
    def tasks(self) -> int:
        return self._number("task")

    @property
    def artifacts(self) -> int:
        return self._number("artifact")

    def _number(self, kind: str) -> int:
        if kind not in self._counts:
            self._counts[kind] = self._count(self.id, kind)
        return self._counts[kind]

    def count(self, kind: str, number: int) -> None:
        """Set the number of parts of a kind."""
        self._counts[kind] = number

    def __repr__(self) -> str:
        return f"<Session {self.id} {self.title!r}, {self.status}>"
