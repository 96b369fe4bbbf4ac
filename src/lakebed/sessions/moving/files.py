"""A session in a file: JSON that another lake can import."""

from __future__ import annotations

from typing import Any

from lakebed.errors import ValidationError
from lakebed.lake.lake import Lake
from lakebed.sessions import layout
from lakebed.sessions.moving.moving import Moving, bring, entries_of
from lakebed.sessions.portable import as_json, from_json
from lakebed.sessions.records import MoveReport

FORMAT = "lakebed session"
_VERSION = 1


def export_session(lake: Lake, session_id: str) -> dict[str, Any]:
    """Return a whole session as JSON, for `import_session`.

    Raises NotFoundError if the session does not exist.
    """
    entries = []
    for moving in entries_of(lake, session_id):
        found = lake.read_entry(moving.key)
        if found is not None:
            entries.append(as_json(*found))
    return {"format": FORMAT, "version": _VERSION, "session": session_id, "entries": entries}


def import_session(lake: Lake, told: object) -> MoveReport:
    """Import a session that `export_session` exported. Repeating the import stores nothing twice.

    If an entry exists with another value, the one with the later time stays. Raises
    ValidationError, and stores nothing, if the data are not such an export or have a key of another
    session.
    """
    if not isinstance(told, dict) or told.get("format") != FORMAT:
        raise ValidationError(f"expected a JSON object with the format {FORMAT!r}")
    if told.get("version") != _VERSION:
        raise ValidationError(f"version must be {_VERSION}, got {told.get('version')!r}")
    entries = told.get("entries")
    if not isinstance(entries, list):
        raise ValidationError("entries must be a list")
    moving = [_checked(entry, n, str(told.get("session"))) for n, entry in enumerate(entries)]
    return bring(lake, moving)


def _checked(told: object, number: int, session_id: str) -> Moving:
    entry = from_json(told, f"entries[{number}]")
    key = entry["key"]
    mine = (
        key in (f"{layout.HEADS}{session_id}", f"{layout.ACTIVITY}{session_id}")
        or key.startswith(layout.parts(session_id))
        or (key.startswith(layout.QUEUE) and _owner(key) == session_id)
    )
    if not mine:
        raise ValidationError(f"entries[{number}]: the key {key!r} does not belong to this session")
    return Moving(key, entry["value"], entry["metadata"])


def _owner(key: str) -> str | None:
    try:
        return layout.session_of(layout.Ticket.of(key).task_id)
    except ValueError:
        return None
