"""The tools on entries: store, retrieve, search, list, delete, history, snapshots, SQL."""

from __future__ import annotations

import base64
import binascii
from itertools import islice
from typing import Annotated, Any

from pydantic import Field

from lakebed.errors import NotFoundError, ValidationError
from lakebed.lake.history.diff import Diff
from lakebed.lake.lake import Lake
from lakebed.mcp.telling import LONGEST, about, about_row, brief, cell, shown

Key = Annotated[
    str, Field(description="The key: a string of at most 1,024 bytes, such as user/42/name")
]
IfMatch = Annotated[
    str | None,
    Field(
        description="Change it only if the content has this hash (content_hash of an earlier "
        "result)"
    ),
]
IfAbsent = Annotated[bool, Field(description="Store it only if the key does not exist")]
Limit = Annotated[int, Field(description="The most results", ge=1, le=1000)]
Filter = Annotated[
    dict[str, Any] | None,
    Field(description='Conditions on metadata, such as {"kind": "note", "score": {"$gte": 0.5}}'),
]
Prefix = Annotated[str, Field(description="Only keys that begin with this")]


class EntryTools:
    """The tools on the entries of a lake."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake

    def store(
        self,
        key: Key,
        value: Annotated[Any, Field(description="JSON, or with as_base64, bytes in base64")],
        metadata: Annotated[
            dict[str, Any] | None, Field(description="A JSON object that filters can match")
        ] = None,
        ttl: Annotated[float | None, Field(description="Seconds until the entry expires")] = None,
        if_absent: IfAbsent = False,
        if_match: IfMatch = None,
        as_base64: Annotated[bool, Field(description="The value is bytes in base64")] = False,
    ) -> dict[str, Any]:
        """Store a value under a key. An existing entry is replaced whole."""
        content = _decoded(value) if as_base64 else value
        entry = self._lake.store(
            key, content, metadata, ttl=ttl, if_absent=if_absent, if_match=if_match
        )
        return {"created": entry.created, "changed": entry.changed} | about(entry)

    def retrieve(
        self,
        key: Key,
        longest: Annotated[
            int, Field(description="Cut the value after this many characters", ge=1, le=10_000_000)
        ] = LONGEST,
    ) -> dict[str, Any]:
        """Return the value of a key, with its metadata and content hash."""
        found = self._lake.read_entry(key)
        if found is None and key in self._lake:  # the entry may come from an outer scope
            entry = self._lake.entry(key)
            found = None if entry is None else (entry._row, entry.value)
        if found is None:
            raise NotFoundError(f"no entry with the key {key!r}")
        row, value = found
        return about_row(row) | shown(value, longest)

    def search(
        self,
        query: Annotated[str, Field(description="Plain words or a question; any word may match")],
        prefix: Prefix = "",
        metadata_filter: Filter = None,
        limit: Limit = 10,
    ) -> dict[str, Any]:
        """Return the entries that match a question best, with the beginnings of their values."""
        hits = self._lake.search(query, prefix=prefix, metadata_filter=metadata_filter, limit=limit)
        found = [
            {"key": hit.key, "score": round(hit.score, 3), "metadata": hit.metadata}
            | {"value": brief(hit.value)}
            for hit in hits
        ]
        return {"total": hits.total, "hits": found}

    def list(
        self,
        prefix: Prefix = "",
        metadata_filter: Filter = None,
        limit: Limit = 100,
        after: Annotated[
            str | None, Field(description="Start after this key: the last key of the previous list")
        ] = None,
    ) -> dict[str, Any]:
        """List keys in order, with the metadata of each. Use retrieve for the values."""
        listing = self._lake.list(
            prefix, metadata_filter=metadata_filter, limit=limit + 1, after=after
        )
        found = [about(entry) for entry in listing]
        more = len(found) > limit
        result: dict[str, Any] = {"entries": found[:limit], "more": more}
        return result | ({"after": found[limit - 1]["key"]} if more else {})

    def delete(self, key: Key, if_match: IfMatch = None) -> dict[str, Any]:
        """Delete an entry. It stays in the snapshots that have it."""
        return {"key": key, "deleted": self._lake.delete(key, if_match=if_match)}

    def history(self, key: Key, limit: Limit = 20) -> dict[str, Any]:
        """Return the versions of a key that the lake keeps, the newest first."""
        kept = self._lake.history(key, limit=limit)
        versions = [
            {
                "version": version.version,
                "stored_at": version.updated_at.isoformat(),
                "ended_at": None if version.ended_at is None else version.ended_at.isoformat(),
                "content_hash": version.content_hash,
                "value": brief(version.value),
            }
            for version in kept
        ]
        return {"versions": versions} | ({} if kept.note is None else {"note": kept.note})

    def snapshot(
        self,
        name: Annotated[str, Field(description="A new name")],
        message: Annotated[str | None, Field(description="What it is for")] = None,
    ) -> dict[str, Any]:
        """Keep the present state under a name. This is cheap, whatever the size of the lake."""
        made = self._lake.create_snapshot(name, message=message)
        return {"name": made.name, "id": made.id, "created_at": made.created_at.isoformat()}

    def snapshots(self) -> dict[str, Any]:
        """List the snapshots, oldest first."""
        found = [
            {"name": s.name, "message": s.message, "created_at": s.created_at.isoformat()}
            for s in self._lake.snapshots()
        ]
        return {"snapshots": found}

    def diff(
        self,
        a: Annotated[str, Field(description="The name of a snapshot")],
        b: Annotated[str | None, Field(description="Another snapshot; default: now")] = None,
        prefix: Prefix = "",
        limit: Limit = 100,
    ) -> dict[str, Any]:
        """Return what was added, changed and removed between two snapshots, or between a snapshot
        and now."""
        return _differences(self._lake.diff(a, b, prefix=prefix), limit)

    def restore(
        self,
        snapshot: Annotated[str, Field(description="The name of a snapshot")],
        prefix: Prefix = "",
        dry_run: Annotated[bool, Field(description="Only report what would change")] = True,
        limit: Limit = 100,
    ) -> dict[str, Any]:
        """Restore the entries to their state at a snapshot. Try dry_run first. The present state is
        kept as a snapshot, so that this can be undone."""
        done = self._lake.restore(snapshot, prefix=prefix, dry_run=dry_run)
        return {"dry_run": dry_run, "kept_as": done.snapshot} | _differences(done, limit)

    def sql(
        self,
        query: Annotated[
            str,
            Field(
                description="One SELECT in DuckDB's SQL over entries(key, metadata, ...), "
                "documents(key, value, ...), history, snapshots, entries_at('snapshot'), "
                "changes('a', 'b'), search('words', 10), and sessions, chunks, memories, tasks, "
                "task_queue, artifacts, agents"
            ),
        ],
        limit: Limit = 100,
    ) -> dict[str, Any]:
        """Return the rows of a SELECT. It can read only this lake."""
        from lakebed.sessions.views import with_views

        result = self._lake.sql(with_views(query))
        rows = list(islice(result, limit + 1))
        found = [[cell(value) for value in row] for row in rows[:limit]]
        return {"columns": [*result.columns], "rows": found, "more": len(rows) > limit}


def _decoded(value: Any) -> bytes:
    if not isinstance(value, str):
        raise ValidationError("value must be a string in base64")
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error:
        raise ValidationError("value is not base64") from None


def _differences(diff: Diff, limit: int) -> dict[str, Any]:
    return {
        "counts": {
            "added": len(diff.added), "changed": len(diff.changed), "removed": len(diff.removed),
        },
        "added": [{"key": e.key, "value": brief(e.value)} for e in islice(diff.added, limit)],
        "changed": [
            {"key": c.key, "before": brief(c.before.value), "after": brief(c.after.value)}
            for c in islice(diff.changed, limit)
        ],
        "removed": [entry.key for entry in islice(diff.removed, limit)],
    }  # fmt: skip
