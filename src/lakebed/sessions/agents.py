"""The registry of agents."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lakebed.errors import ConflictError, NotFoundError
from lakebed.records import Entry
from lakebed.sessions import layout
from lakebed.sessions.base import Base, moment, shown
from lakebed.sessions.checks import check_choice, check_name, check_names, check_text
from lakebed.sessions.records import AGENT_STATUSES, Agent, AgentStatus

SAMPLES: tuple[dict[str, Any], ...] = (
    {
        "name": "claude-code",
        "type": "coder",
        "command": "claude -p",
        "capabilities": ["code", "review", "shell"],
    },
    {
        "name": "codex",
        "type": "coder",
        "command": "codex exec",
        "capabilities": ["code", "tests"],
    },
    {
        "name": "researcher",
        "type": "researcher",
        "command": None,
        "capabilities": ["search", "summarize"],
    },
    {"name": "human", "type": "human", "command": None, "capabilities": ["decide", "approve"]},
)


class Agents(Base):
    """The calls on agents."""

    def register_agent(
        self,
        name: str,
        type: str = "agent",  # noqa: A002
        command: str | None = None,
        capabilities: Iterable[str] = (),
        status: AgentStatus = "available",
    ) -> Agent:
        """Register an agent, replacing one of the same name. `command`: the text that starts it."""
        value = {
            "name": check_name("name", name),
            "type": check_name("type", type),
            "command": None if command is None else check_text("command", command, most=4000),
            "capabilities": check_names("capabilities", capabilities),
            "status": check_choice("status", status, AGENT_STATUSES),
            "last_seen": shown(self._clock.now()),
        }
        self.lake.store(_place(name), value, _about(value))
        return _agent(value)

    def register_sample_agents(self) -> list[Agent]:
        """Register a few sample agents and return them. Agents whose name is taken are skipped."""
        known = {agent.name for agent in self.agents()}
        return [self.register_agent(**a) for a in SAMPLES if a["name"] not in known]

    def agent(self, name: str) -> Agent:
        """Return an agent. Raises NotFoundError if it is not registered."""
        return _agent(self._agent_entry(name).value)

    def agents(self, *, status: AgentStatus | None = None) -> list[Agent]:
        """Return all agents, or those with a status, in the order of their names."""
        condition = None
        if status is not None:
            condition = {"status": check_choice("status", status, AGENT_STATUSES)}
        listing = self.lake.list(layout.AGENTS, metadata_filter=condition)
        return [_agent(value) for _, value in self.lake.read_listing(listing)]

    def set_agent_status(self, name: str, status: AgentStatus) -> Agent:
        """Set an agent's status, and its `last_seen` to now.

        Raises NotFoundError if the agent is not registered.
        """
        check_choice("status", status, AGENT_STATUSES)
        while True:
            entry = self._agent_entry(name)
            value = entry.value | {"status": status, "last_seen": shown(self._clock.now())}
            try:
                self.lake.store(_place(name), value, _about(value), if_match=entry.content_hash)
            except ConflictError:  # another change came first: overwrite it
                continue
            return _agent(value)

    def remove_agent(self, name: str) -> bool:
        """Remove an agent from the registry, but not its tasks. Returns whether it was there."""
        return self.lake.delete(_place(check_name("name", name)))

    def _agent_entry(self, name: str) -> Entry:
        found = self.lake.entry(_place(check_name("name", name)))
        if found is None:
            raise NotFoundError(f"no agent with the name {name!r}")
        return found


def _place(name: str) -> str:
    return f"{layout.AGENTS}{layout.escaped(name)}"


def _about(value: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "agent", "type": value["type"], "status": value["status"]}


def _agent(value: dict[str, Any]) -> Agent:
    return Agent(**(value | {"last_seen": moment(value["last_seen"])}))
