"""The keys of everything in sessions. Only this module knows them.

    sessions/head/<session>                       title, participants, status
    sessions/activity/<session>                   when any part of it last changed
    sessions/part/<session>/chunk/<chunk>         what was said, in order
    sessions/part/<session>/memory/<type>/<key>   what was learnt
    sessions/part/<session>/task/<task>           what to do, and the result
    sessions/part/<session>/artifact/<type>/<name>
    sessions/agent/<name>                         a registered agent
    sessions/queue/<agent>/ready/<urgency>/<created>/<task id>/<attempts>
    sessions/queue/<agent>/due/<when>/<holder>/<urgency>/<created>/<task id>/<attempts>

An open task has one entry in the queue. Entries under `ready` are in the order in which tasks are
claimed. Entries under `due` are tasks that nobody may claim before a time. Such a task either runs
later, and has `-` as its holder, or it is claimed until its lease ends. A task changes its state by
renaming its entry. If several processes try that at once, only one succeeds.
"""

from __future__ import annotations

from typing import NamedTuple

ROOT = "sessions/"
HEADS = f"{ROOT}head/"
ACTIVITY = f"{ROOT}activity/"
PARTS = f"{ROOT}part/"
AGENTS = f"{ROOT}agent/"
QUEUE = f"{ROOT}queue/"

KINDS = ("chunk", "memory", "task", "artifact")
LATER = "-"
_MOST = 10**9  # the highest priority
_ESCAPES = {"%": "%25", "/": "%2F", ":": "%3A"}


def escaped(name: str) -> str:
    """Return a name as one part of a key."""
    if not _ESCAPES.keys() & set(name):
        return name
    return "".join(_ESCAPES.get(letter, letter) for letter in name)


def unescaped(part: str) -> str:
    """Return the name in a part of a key."""
    for letter, escape in reversed(_ESCAPES.items()):
        part = part.replace(escape, letter)
    return part


def parts(session_id: str, kind: str = "") -> str:
    """Return the prefix of the keys of a session's parts: of all, or of those of a kind."""
    return f"{PARTS}{session_id}/{kind and kind + '/'}"


def task_key(task_id: str) -> str:
    """Return the key of a task's record. The task's id names its session."""
    session_id, _, name = task_id.partition(".")
    return f"{parts(session_id, 'task')}{name}"


def session_of(task_id: str) -> str:
    """Return the session of a task."""
    return task_id.partition(".")[0]


class Holder(NamedTuple):
    """The holder of a task: the agent, its process, and the token of the claim."""

    running: bool
    agent: str
    process_id: str
    token: str

    def part(self) -> str:
        """Return the holder as a part of a key."""
        state = "r" if self.running else "c"
        return f"{state}:{escaped(self.agent)}:{escaped(self.process_id)}:{self.token}"

    @classmethod
    def of(cls, part: str) -> Holder | None:
        """Return the holder in a part of a key, or None for a task that runs later."""
        if part == LATER:
            return None
        state, agent, process_id, token = part.split(":")
        return cls(state == "r", unescaped(agent), unescaped(process_id), token)


class Ticket(NamedTuple):
    """An open task as its entry in the queue describes it.

    `due`: when it can be claimed, in microseconds; None if it is ready. `attempts`: how many
    attempts were made before this one.
    """

    agent: str
    due: int | None
    holder: Holder | None
    priority: int
    created: int
    task_id: str
    attempts: int

    def key(self) -> str:
        """Return the key of the entry."""
        if self.due is None:
            where = ready(self.agent)
        else:
            who = LATER if self.holder is None else self.holder.part()
            where = f"{due(self.agent)}{self.due:016}/{who}/"
        return f"{where}{self.place()}/{self.attempts}"

    def place(self) -> str:
        """Return the part of the key that orders ready tasks: by urgency, then by age."""
        return f"{_MOST - self.priority:010}/{self.created:016}/{self.task_id}"

    def ready_again(self, attempts: int) -> Ticket:
        """Return the ticket of the same task once anybody can claim it."""
        return self._replace(due=None, holder=None, attempts=attempts)

    @classmethod
    def of(cls, key: str) -> Ticket:
        """Return the ticket in a key of the queue."""
        agent, state, *rest = key[len(QUEUE) :].split("/")
        when, holder = None, None
        if state == "due":
            when, holder, rest = int(rest[0]), Holder.of(rest[1]), rest[2:]
        urgency, created, task_id, attempts = rest
        return cls(
            unescaped(agent), when, holder, _MOST - int(urgency), int(created), task_id,
            int(attempts),
        )  # fmt: skip


def ready(agent: str) -> str:
    """Return the prefix of the keys of an agent's ready tasks."""
    return f"{QUEUE}{escaped(agent)}/ready/"


def due(agent: str) -> str:
    """Return the prefix of the keys of an agent's claimed and later tasks."""
    return f"{QUEUE}{escaped(agent)}/due/"
