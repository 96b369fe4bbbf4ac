"""Sessions of many agents, kept in a lake."""

from __future__ import annotations

from lakebed.sessions.agents import Agents
from lakebed.sessions.artifacts import Artifacts
from lakebed.sessions.heads import Heads
from lakebed.sessions.views import Views


class SessionManager(Heads, Artifacts, Agents, Views):
    """A lake with the conversations, memories, tasks and artifacts that several agents share.

        manager = SessionManager(lakebed.open())
        session = manager.create_session("Plan the trip", ["ada", "researcher"])
        manager.create_task(session.id, agent_name="researcher", task_type="look up", input={})
        task = manager.claim_task("researcher")

    Everything is stored in `lake` under `sessions/`, with history, search, snapshots and SQL.
    `lake` may be a scope. Any thread can use the manager, and any number of processes one lake.

    All calls raise ValidationError for an invalid argument, and the errors of the lake.
    """

    def close(self) -> None:
        """Close the lake."""
        self.lake.close()

    def __enter__(self) -> SessionManager:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<SessionManager on {self.lake.name}>"
