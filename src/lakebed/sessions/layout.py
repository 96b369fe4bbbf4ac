"""Where everything of the sessions lies: the one place that knows keys.

    sessions/head/<session>                       title, participants, status
    sessions/activity/<session>                   when anything of it last changed
    sessions/part/<session>/chunk/<chunk>         what was said, in order
    sessions/part/<session>/memory/<type>/<key>   what was learnt
    sessions/part/<session>/task/<task>           what is to be done, and what came of it
    sessions/part/<session>/artifact/<type>/<name>
    sessions/agent/<name>                         who there is
    sessions/queue/<agent>/ready/<urgency>/<created>/<task id>/<attempts>
    sessions/queue/<agent>/due/<when>/<holder>/<urgency>/<created>/<task id>/<attempts>

An open task has one entry in the queue. Ready ones stand in the order in which they are claimed.
Under `due` stand those that nobody may claim before a time: `-` as the holder for one that is to
run later, else who has claimed it, until the lease ends. A state changes by renaming that entry,
so that each change is made by one of all who try.
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
_MOST = 10**9  # of a priority
_ESCAPES = {"%": "%25", "/": "%2F", ":": "%3A"}


def escaped(name: str) -> str:
    """A name as one part of a key."""
    if not _ESCAPES.keys() & set(name):
        return name
    return "".join(_ESCAPES.get(letter, letter) for letter in name)


def unescaped(part: str) -> str:
    """The name that a part of a key stands for."""
    for letter, escape in reversed(_ESCAPES.items()):
        part = part.replace(escape, letter)
    return part


def parts(session_id: str, kind: str = "") -> str:
    """What the keys of a session's parts begin with, all or those of a kind."""
    return f"{PARTS}{session_id}/{kind and kind + '/'}"


def task_key(task_id: str) -> str:
    """The key of a task's record: its id tells the session."""
    session_id, _, name = task_id.partition(".")
    return f"{parts(session_id, 'task')}{name}"


def session_of(task_id: str) -> str:
    """The session of a task."""
    return task_id.partition(".")[0]


class Holder(NamedTuple):
    """Who has claimed a task: the agent, its process, and which claim it is."""

    running: bool
    agent: str
    process_id: str
    token: str

    def part(self) -> str:
        """As a part of a key."""
        state = "r" if self.running else "c"
        return f"{state}:{escaped(self.agent)}:{escaped(self.process_id)}:{self.token}"

    @classmethod
    def of(cls, part: str) -> Holder | None:
        """The holder that a part of a key tells; None for a task that is to run later."""
        if part == LATER:
            return None
        state, agent, process_id, token = part.split(":")
        return cls(state == "r", unescaped(agent), unescaped(process_id), token)


class Ticket(NamedTuple):
    """An open task as its entry in the queue tells it. `due` in microseconds, None if it is ready;
    `attempts` that were made before this one."""

    agent: str
    due: int | None
    holder: Holder | None
    priority: int
    created: int
    task_id: str
    attempts: int

    def key(self) -> str:
        """The key of the entry."""
        if self.due is None:
            where = ready(self.agent)
        else:
            who = LATER if self.holder is None else self.holder.part()
            where = f"{due(self.agent)}{self.due:016}/{who}/"
        return f"{where}{self.place()}/{self.attempts}"

    def place(self) -> str:
        """Its place among ready ones: by urgency, then age."""
        return f"{_MOST - self.priority:010}/{self.created:016}/{self.task_id}"

    def ready_again(self, attempts: int) -> Ticket:
        """The same task, to be claimed by anybody."""
        return self._replace(due=None, holder=None, attempts=attempts)

    @classmethod
    def of(cls, key: str) -> Ticket:
        """The ticket that a key of the queue tells."""
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
    """What the keys of an agent's ready tasks begin with."""
    return f"{QUEUE}{escaped(agent)}/ready/"


def due(agent: str) -> str:
    """What the keys of an agent's claimed and later tasks begin with."""
    return f"{QUEUE}{escaped(agent)}/due/"
