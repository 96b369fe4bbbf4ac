"""Sessions in SQL. A query gets the views that it names in a WITH clause."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lakebed.errors import ValidationError
from lakebed.sessions import layout
from lakebed.sessions.base import Base

if TYPE_CHECKING:
    from lakebed.duckdb.result import QueryResult

_ABOVE = chr(ord("/") + 1)


def _documents(prefix: str) -> str:
    """Return the SQL of the documents under a prefix. The catalog can evaluate its condition."""
    return f"FROM documents WHERE key >= '{prefix}' AND key < '{prefix[:-1]}{_ABOVE}'"


def _part(kind: str, columns: str) -> str:
    """Return the SELECT of the parts of a kind, with the session of each."""
    session = f"string_split(key, '/')[{layout.PARTS.count('/') + 1}] AS session_id"
    return (
        f"SELECT {session}, {columns} {_documents(layout.PARTS)} AND (metadata->>'kind') = '{kind}'"
    )


def _time(field: str, name: str | None = None) -> str:
    return f"CAST(value->>'{field}' AS TIMESTAMPTZ) AS {name or field}"


_LAST = "string_split(key, '/')[-1]"
_STATUS = """CASE WHEN r.status <> 'open' THEN r.status WHEN q.holder IS NULL OR q.holder = '-'
    THEN 'pending' WHEN q.holder LIKE 'r:%' THEN 'running' ELSE 'claimed' END"""
_HOLDER = "replace(replace(replace(string_split({}, ':')[{}], '%3A', ':'), '%2F', '/'), '%25', '%')"

VIEWS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "sessions": (
        f"""SELECT {_LAST} AS id, h.value->>'title' AS title, h.value->>'status' AS status,
            h.value->'participants' AS participants, h.value->'metadata' AS metadata,
            CAST(h.value->>'created' AS TIMESTAMPTZ) AS created, a.at AS last_activity
            FROM (SELECT key, value {_documents(layout.HEADS)}) h
            LEFT JOIN (SELECT {_LAST} AS id, {_time("at")} {_documents(layout.ACTIVITY)}) a
            ON a.id = {_LAST.replace("key", "h.key")}""",
        (),
    ),
    "chunks": (
        _part(
            "chunk",
            f"{_LAST} AS id, value->>'content' AS content, value->>'format' AS format, "
            f"value->'extracted_items' AS extracted_items, {_time('created')}",
        ),
        (),
    ),
    "memories": (
        _part(
            "memory",
            "value->>'type' AS type, value->>'key' AS key, value->'content' AS content, "
            f"value->'tags' AS tags, {_time('created')}, {_time('updated')}",
        ),
        (),
    ),
    "artifacts": (
        f"""SELECT metadata->>'session' AS session_id, metadata->>'type' AS type,
            metadata->>'name' AS name, metadata->>'format' AS format,
            metadata->'metadata' AS metadata, byte_size, version,
            CAST(metadata->>'created' AS TIMESTAMPTZ) AS created,
            CAST(metadata->>'updated' AS TIMESTAMPTZ) AS updated
            FROM entries WHERE key >= '{layout.PARTS}' AND key < '{layout.PARTS[:-1]}{_ABOVE}'
            AND (metadata->>'kind') = 'artifact'""",
        (),
    ),
    "agents": (
        f"""SELECT value->>'name' AS name, value->>'type' AS type, value->>'command' AS command,
            value->'capabilities' AS capabilities, value->>'status' AS status,
            {_time("last_seen")} {_documents(layout.AGENTS)}""",
        (),
    ),
    "tasks": (
        f"""SELECT r.session_id, r.session_id || '.' || r.name AS id, r.agent_name, r.task_type,
            r.input, r.priority, r.run_after, r.created, {_STATUS} AS status,
            coalesce(r.attempts, q.attempts + CAST(q.holder <> '-' AS BIGINT), 0) AS attempts,
            r.max_attempts,
            coalesce(r.claimed_by, {_HOLDER.format("q.holder", 2)}) AS claimed_by,
            coalesce(r.process_id, {_HOLDER.format("q.holder", 3)}) AS process_id,
            CASE WHEN q.holder <> '-' THEN make_timestamptz(q.due) END AS lease_until,
            r.output, r.error, r.finished
            FROM (SELECT *, {_LAST} AS name FROM ({
            _part(
                "task",
                "key, value->>'agent_name' AS agent_name, value->>'task_type' AS task_type, "
                "value->'input' AS input, CAST(value->>'priority' AS BIGINT) AS priority, "
                f"{_time('run_after')}, {_time('created')}, value->>'status' AS status, "
                "CAST(value->>'attempts' AS BIGINT) AS attempts, "
                "CAST(value->>'max_attempts' AS BIGINT) AS max_attempts, "
                "value->>'claimed_by' AS claimed_by, value->>'process_id' AS process_id, "
                "value->'output' AS output, "
                f"value->>'error' AS error, {_time('finished')}",
            )
        })) r
            LEFT JOIN (SELECT place[-2] AS id, CAST(place[-1] AS BIGINT) AS attempts,
                CASE WHEN place[4] = 'due' THEN place[6] END AS holder,
                CASE WHEN place[4] = 'due' THEN CAST(place[5] AS BIGINT) END AS due
                FROM (SELECT string_split(key, '/') AS place FROM entries
                      WHERE key >= '{layout.QUEUE}' AND key < '{layout.QUEUE[:-1]}{_ABOVE}')) q
            ON q.id = r.session_id || '.' || r.name""",
        (),
    ),
    "active_sessions": ("SELECT * FROM sessions WHERE status = 'active'", ("sessions",)),
    "task_queue": (
        """SELECT *, row_number() OVER (PARTITION BY agent_name
            ORDER BY priority DESC, created) AS place
            FROM tasks WHERE status = 'pending'""",
        ("tasks",),
    ),
}
"""The SELECT of each view, and the views that it uses."""

_WITH = re.compile(r"\s*WITH\s+(RECURSIVE\s+)?", re.IGNORECASE)


class Views(Base):
    """The call `sql`."""

    def sql(
        self, query: str, params: Sequence[object] | Mapping[str, object] | None = None
    ) -> QueryResult:
        """Return the result of a SELECT, as `Lake.sql` does. It can also use these tables:

        | table | |
        | --- | --- |
        | `sessions`, `active_sessions` | id, title, status, participants, metadata, created, \
last_activity |
        | `chunks` | session_id, id, content, format, extracted_items, created |
        | `memories` | session_id, type, key, content, tags, created, updated |
        | `tasks` | session_id and the fields of `Task`, except `claim` |
        | `task_queue` | the pending tasks, and `place`: 1 for an agent's next task |
        | `artifacts` | session_id, type, name, format, metadata, byte_size, version, created, \
updated |
        | `agents` | name, type, command, capabilities, status, last_seen |

        Times are TIMESTAMPTZ. `priority`, `attempts`, `max_attempts`, `place`, `byte_size` and
        `version` are BIGINT. `participants`, `metadata`, `extracted_items`, `tags`, `input`,
        `output`, `capabilities` and the `content` of memories are JSON. All others are VARCHAR.
        """
        if not isinstance(query, str):
            raise ValidationError(f"query must be a string, got {type(query).__name__}")
        return self.lake.sql(with_views(query), params)


def with_views(query: str) -> str:
    """Return the query with a WITH clause for the views that it names."""
    wanted = [name for name in VIEWS if re.search(rf"\b{name}\b", query, re.IGNORECASE)]
    if not wanted:
        return query
    needed = dict.fromkeys(inner for name in wanted for inner in (*VIEWS[name][1], name))
    views = ", ".join(f"{name} AS ({VIEWS[name][0]})" for name in needed)
    begins = _WITH.match(query)
    if begins is None:
        return f"WITH {views} {query}"
    recursive = "RECURSIVE " if begins[1] else ""
    return f"WITH {recursive}{views}, {query[begins.end() :]}"
