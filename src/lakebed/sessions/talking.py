"""The conversation and the knowledge of a session: chunks and memories."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, Literal

from lakebed.errors import ConflictError, NotFoundError, ValidationError
from lakebed.lake.searching import Hits
from lakebed.sessions import layout
from lakebed.sessions.base import Base, moment, new_id, shown
from lakebed.sessions.checks import (
    check_choice,
    check_count,
    check_key,
    check_names,
    check_session_id,
    check_text,
)
from lakebed.sessions.records import CHUNK_FORMATS, MEMORY_TYPES, Chunk, ChunkFormat, Memory


class Talking(Base):
    """The calls on chunks and memories, and the search of sessions."""

    def add_chunk(
        self,
        session_id: str,
        content: str,
        format: ChunkFormat = "dialogue",
        extracted_items: Iterable[Any] = (),
    ) -> Chunk:
        """Add a piece of text to the end of the conversation. It may have megabytes.

        `format`: `dialogue`, `summary` or `transcript`. `extracted_items`: JSON values that were
        found in the text. Raises NotFoundError if the session does not exist.
        """
        check_text("content", content)
        check_choice("format", format, CHUNK_FORMATS)
        if isinstance(extracted_items, (str, bytes)) or not isinstance(extracted_items, Iterable):
            kind = type(extracted_items).__name__
            raise ValidationError(f"extracted_items must be a list, got {kind}")
        items = list(extracted_items)
        with self._changing(session_id) as (tx, now):
            chunk_id = new_id(now)
            value = {"content": content, "format": format, "extracted_items": items}
            tx.store(
                f"{layout.parts(session_id, 'chunk')}{chunk_id}",
                value | {"created": shown(now)},
                {"kind": "chunk", "session": session_id, "format": format},
                if_absent=True,
            )
        return _chunk(chunk_id, session_id, value | {"created": shown(now)})

    def chunks(
        self, session_id: str, *, limit: int | None = None, after: str | None = None
    ) -> Iterator[Chunk]:
        """Yield the chunks of a session in their order. They are read as you iterate.

        `limit`: the most chunks. `after`: start after the chunk with this id.
        """
        prefix = layout.parts(check_session_id(session_id), "chunk")
        behind = None if after is None else prefix + check_text("after", after)
        listing = self.lake.list(prefix, limit=limit, after=behind)
        for row, value in self.lake.read_listing(listing):
            yield _chunk(row.key[len(prefix) :], session_id, value)

    def add_memory(
        self,
        session_id: str,
        type: str,  # noqa: A002
        key: str,
        content: Any,
        tags: Iterable[str] = (),
        *,
        if_match: str | None = None,
        if_absent: bool = False,
    ) -> Memory:
        """Store something learnt under a type and a key, replacing an existing memory.

        `type`: idea, decision, question, action_item, context, preference, fact or risk. `content`:
        text or JSON. `if_match`: store only if the memory has this `content_hash`. `if_absent`:
        store only if it does not exist. Raises ConflictError if such a condition does not hold, and
        NotFoundError if the session does not exist.
        """
        place = self._memory_key(session_id, type, key)
        names = check_names("tags", tags)
        with self._changing(session_id) as (tx, now):
            old = self.lake.entry(place)
            created = shown(now) if old is None else old.value["created"]
            value = {"type": type, "key": key, "content": content, "tags": names}
            value |= {"created": created, "updated": shown(now)}
            tx.store(
                place,
                value,
                {"kind": "memory", "session": session_id, "type": type, "key": key, "tags": names},
                if_match=if_match,
                if_absent=if_absent,
            )
        found = self.lake.entry(place)
        return _memory(session_id, value, "" if found is None else found.content_hash)

    def memory(self, session_id: str, type: str, key: str) -> Memory:  # noqa: A002
        """Return a memory by its type and key. Raises NotFoundError if it does not exist."""
        found = self.lake.entry(self._memory_key(session_id, type, key))
        if found is None:
            raise NotFoundError(f"no {type} with the key {key!r} in the session {session_id!r}")
        return _memory(session_id, found.value, found.content_hash)

    def delete_memory(
        self,
        session_id: str,
        type: str,  # noqa: A002
        key: str,
        *,
        if_match: str | None = None,
    ) -> bool:
        """Delete a memory. Returns whether it existed.

        `if_match`: delete only if the memory has this `content_hash`, else raise ConflictError.
        """
        place = self._memory_key(session_id, type, key)
        if place not in self.lake:
            if if_match is not None:
                raise ConflictError(f"if_match: the memory {key!r} does not exist")
            return False
        with self._changing(session_id) as (tx, _):
            return tx.delete(place, if_match=if_match)

    def memories(
        self,
        session_id: str,
        *,
        type: str | None = None,  # noqa: A002
        tags: Iterable[str] = (),
        match: Literal["all", "any"] = "all",
        text: str | None = None,
        limit: int | None = None,
    ) -> list[Memory]:
        """Return memories of a session in the order of types and keys.

        `type`: only memories of this type. `tags`: only memories with all of these tags, or with
        `match="any"` with at least one. `text`: only memories that have any of its words, the best
        first. `limit`: the most memories.
        """
        check_choice("match", match, ("all", "any"))
        if type is not None:
            check_choice("type", type, MEMORY_TYPES)
        kind = layout.parts(check_session_id(session_id), "memory") + (f"{type}/" if type else "")
        condition = _tagged(check_names("tags", tags), match)
        if text is not None:
            most = 2**31 if limit is None else check_count("limit", limit)
            hits = self.lake.search(
                check_text("text", text), prefix=kind, metadata_filter=condition, limit=most
            )
            return [_memory(session_id, hit.value, hit.entry.content_hash) for hit in hits]
        listing = self.lake.list(kind, metadata_filter=condition, limit=limit)
        rows = self.lake.read_listing(listing)
        return [_memory(session_id, value, row.hash_text()) for row, value in rows]

    def search(
        self,
        session_id: str | None,
        text: str,
        *,
        kind: Literal["chunk", "memory", "task", "artifact"] | None = None,
        limit: int = 10,
    ) -> Hits:
        """Return the chunks, memories, tasks and artifacts that match `text`, the best first.

        An entry matches if it has any of the words. `session_id`: the session to search, or None
        for all. `kind`: search only this kind. `limit`: the most hits. The hits are those of
        `Lake.search`: `metadata["kind"]` is the kind of a hit, and `value` its content.
        """
        check_text("text", text)
        if kind is not None:
            check_choice("kind", kind, layout.KINDS)
        if session_id is None:
            condition = None if kind is None else {"kind": kind}
            return self.lake.search(
                text, prefix=layout.PARTS, metadata_filter=condition, limit=limit
            )
        self._head(session_id)
        return self.lake.search(text, prefix=layout.parts(session_id, kind or ""), limit=limit)

    def _memory_key(self, session_id: str, type: str, key: str) -> str:  # noqa: A002
        check_session_id(session_id)
        check_choice("type", type, MEMORY_TYPES)
        name = layout.escaped(check_key("key", key))
        return f"{layout.parts(session_id, 'memory')}{type}/{name}"


def _tagged(tags: Sequence[str], match: str) -> dict[str, Any] | None:
    if not tags:
        return None
    return {"$and" if match == "all" else "$or": [{"tags": {"$contains": tag}} for tag in tags]}


def _chunk(chunk_id: str, session_id: str, value: dict[str, Any]) -> Chunk:
    return Chunk(
        id=chunk_id,
        session_id=session_id,
        content=value["content"],
        format=value["format"],
        extracted_items=value["extracted_items"],
        created=moment(value["created"]),
    )


def _memory(session_id: str, value: dict[str, Any], content_hash: str) -> Memory:
    times: dict[str, datetime] = {name: moment(value[name]) for name in ("created", "updated")}
    fields = {name: value[name] for name in ("type", "key", "content", "tags")}
    return Memory(session_id=session_id, content_hash=content_hash, **fields, **times)
