"""A session as a readable page in Markdown."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from lakebed.sessions.manager import SessionManager

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_LONG = 2000  # the most characters of a line of stored text


def markdown(manager: SessionManager, session_id: str) -> Iterator[str]:
    """Yield the page of a session, part by part: conversation, memories, tasks and artifacts.

    Control characters in stored text are replaced. Text that could be mistaken for parts of the
    page is fenced. Raises NotFoundError if the session does not exist.
    """
    session = manager.load(session_id)
    yield f"# {_line(session.title)}\n\n"
    yield f"- id: `{session.id}`\n- status: {session.status}\n"
    yield f"- participants: {_line(', '.join(session.participants)) or 'none'}\n"
    yield f"- created: {_when(session.created)}\n- last activity: {_when(session.last_activity)}\n"
    if session.chunks:
        yield "\n## Conversation\n"
        for chunk in manager.chunks(session_id):
            yield f"\n**{chunk.format}, {_when(chunk.created)}**\n\n{_block(chunk.content)}\n"
    if session.memories:
        yield "\n## Memories\n\n"
        for memory in manager.memories(session_id):
            tags = f" ({_line(', '.join(memory.tags))})" if memory.tags else ""
            yield f"- {memory.type} **{_line(memory.key)}**: {_line(_text(memory.content))}{tags}\n"
    if session.tasks:
        yield "\n## Tasks\n\n"
        for task in manager.tasks(session_id):
            told = f"- {task.status} **{_line(task.task_type)}** for {_line(task.agent_name)}"
            what = f": {_line(_text(task.input))}" if task.input is not None else ""
            result = task.error if task.error is not None else task.output
            came = f" → {_line(_text(result))}" if result is not None else ""
            yield f"{told}{what}{came}\n"
    if session.artifacts:
        yield "\n## Artifacts\n"
        for artifact in manager.artifacts(session_id):
            yield f"\n### {_line(artifact.name)} ({artifact.type}, {_line(artifact.format)})\n\n"
            if isinstance(artifact.content, str):
                yield f"{_block(artifact.content, always=True)}\n"
            elif isinstance(artifact.content, bytes):
                yield f"{len(artifact.content):,} bytes\n"
            else:
                yield f"a table of {artifact.content.num_rows:,} rows\n"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _line(text: str) -> str:
    """Return the beginning of a text on one line. Control characters are replaced."""
    shown = " ".join(_CONTROL.sub("�", text[: _LONG + 1]).split())
    return shown if len(shown) <= _LONG else f"{shown[: _LONG - 1]}…"


def _block(text: str, *, always: bool = False) -> str:
    """Return text as a block, fenced if it could be mistaken for parts of the page."""
    shown = _CONTROL.sub("�", text.replace("\r\n", "\n"))
    if not always and "\n" not in shown.strip() and not shown.lstrip().startswith(("#", "`", "-")):
        return shown.strip()
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", shown)), default=0))
    return f"{fence}\n{shown.rstrip()}\n{fence}"


def _when(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
