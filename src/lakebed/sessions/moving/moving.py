"""Move sessions from one lake to another. A move can be repeated, and stores nothing twice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from lakebed.errors import NotFoundError
from lakebed.lake.lake import Lake
from lakebed.model import Progress
from lakebed.sessions import layout
from lakebed.sessions.checks import check_session_id
from lakebed.sessions.layout import Ticket
from lakebed.sessions.records import MoveReport
from lakebed.values.codec import encode_metadata, encode_value
from lakebed.values.tables import is_table

_STEP = 500
_TIMES = ("updated", "finished", "at", "last_seen", "created")


class Moving(NamedTuple):
    """An entry that is being moved."""

    key: str
    value: Any
    metadata: dict[str, Any]

    def latest(self) -> str:
        """Return the latest time in the entry as text that sorts by time, or "" if it has none."""
        told = self.value if isinstance(self.value, dict) else self.metadata
        return max((told[name] for name in _TIMES if isinstance(told.get(name), str)), default="")


def entries_of(lake: Lake, session_id: str | None = None) -> Iterator[Moving]:
    """Yield all entries of a session, or of all sessions and agents.

    A task comes before its entry in the queue. Raises NotFoundError if the session does not exist.
    """
    if session_id is None:
        prefixes = [layout.HEADS, layout.ACTIVITY, layout.PARTS, layout.AGENTS]
    else:
        head = f"{layout.HEADS}{check_session_id(session_id)}"
        if head not in lake:
            raise NotFoundError(f"no session with the id {session_id!r}")
        prefixes = [head, f"{layout.ACTIVITY}{session_id}", layout.parts(session_id)]
    for prefix in prefixes:
        for row, value in lake.read_listing(lake.list(prefix)):
            yield Moving(row.key, value, row.metadata_dict())
    for row, value in lake.read_listing(lake.list(layout.QUEUE)):
        owner = layout.session_of(Ticket.of(row.key).task_id)
        if session_id in (None, owner):
            yield Moving(row.key, value, row.metadata_dict())


def bring(target: Lake, entries: Iterable[Moving], progress: Progress | None = None) -> MoveReport:
    """Store entries in a lake of sessions.

    An equal entry stays unchanged. If two entries differ, the one with the later time stays. The
    entry of an open task in the queue is stored only if the task is new in the target. A task that
    has ended in the target stays ended. A task that has ended in the source ends in the target.
    """
    counts = dict.fromkeys(("stored", "unchanged", "left"), 0)
    new_tasks = set[str]()
    done = 0
    for some in _steps(entries):
        known = target.retrieve_batch([entry.key for entry in some])
        wanted, ended = list[Moving](), set[str]()
        for entry in some:
            verdict = _verdict(entry, known, new_tasks)
            counts[verdict] += 1
            if verdict == "stored":
                wanted.append(entry)
                if _is_ended_task(entry):
                    ended.add(_task_id(entry.key))
        if wanted:
            target.store_batch(entry._asdict() for entry in wanted)
            for task_id in ended:
                _drop_ticket(target, task_id)
        done += len(some)
        if progress:
            progress(done, None)
    return MoveReport(**counts)


def _verdict(entry: Moving, known: Any, new_tasks: set[str]) -> str:
    if entry.key.startswith(layout.QUEUE):
        if Ticket.of(entry.key).task_id in new_tasks:
            return "stored"
        return "unchanged" if entry.key in known else "left"
    row = known.rows.get(entry.key)
    if row is None:
        if "/task/" in entry.key and not _is_ended_task(entry):
            new_tasks.add(_task_id(entry.key))
        return "stored"
    if row.metadata == encode_metadata(entry.metadata) and _same(row, entry.value):
        return "unchanged"
    there = Moving(entry.key, known[entry.key], row.metadata_dict())
    return "stored" if entry.latest() > there.latest() else "left"


def _same(row: Any, value: Any) -> bool:
    if is_table(value):  # writing a table again gives other bytes, so compare the tables
        return row.format in ("parquet", "table")
    encoded = encode_value(value)
    return (encoded.content_hash, encoded.format) == (row.content_hash, row.format)


def _is_ended_task(entry: Moving) -> bool:
    return "/task/" in entry.key and isinstance(entry.value, dict) and "finished" in entry.value


def _task_id(key: str) -> str:
    session_id, _, name = key[len(layout.PARTS) :].partition("/task/")
    return f"{session_id}.{name}"


def _drop_ticket(target: Lake, task_id: str) -> None:
    """Remove a task that has ended from the queue."""
    agent = target.retrieve(layout.task_key(task_id))["agent_name"]
    for prefix in (layout.due(agent), layout.ready(agent)):
        for entry in target.list(prefix):
            if Ticket.of(entry.key).task_id == task_id:
                target.delete(entry.key)


def _steps(entries: Iterable[Moving]) -> Iterator[list[Moving]]:
    step = list[Moving]()
    for entry in entries:
        step.append(entry)
        if len(step) == _STEP:
            yield step
            step = []
    if step:
        yield step
