"""Sessions of many agents, kept in a lake."""

from __future__ import annotations

from lakebed.sessions.agents import Agents
from lakebed.sessions.artifacts import Artifacts
from lakebed.sessions.heads import Heads
from lakebed.sessions.views import Views


class SessionManager(Heads, Artifacts, Agents, Views):
    """The conversations, memories, tasks and artifacts that several agents share.

        manager = SessionManager(lakebed.open())
        session = manager.create_session("Plan the trip", ["ada", "researcher"])
        manager.create_task(session.id, agent_name="researcher", task_type="look up", input={})
        task = manager.claim_task("researcher")

    Everything is stored in the lake under `sessions/`, with history, search, snapshots and SQL. You
    can use it from any thread, and from any number of processes on one lake. `lake` may be a scope.
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
