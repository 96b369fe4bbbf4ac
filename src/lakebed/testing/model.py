"""A lake as a plain dictionary. The state machine compares a real lake with it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from lakebed.clock import Clock
from lakebed.errors import ConflictError

Json = Mapping[str, Any]


def identity(value: Any) -> tuple[str, bytes]:
    """Return the format and the bytes of a value, which identify its content.

    1, 1.0 and True are three contents. -0.0 and 0.0 are two.
    """
    if isinstance(value, bytes):
        return "bytes", value
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return "json", text.encode()


class Kept(NamedTuple):
    """An entry of the model. Times are in microseconds."""

    value: Any
    metadata: Json
    expires_at: int | None
    created_at: int

    def state(self) -> tuple[object, ...]:
        """Return the fields of which a store must change one, to count as a change."""
        return identity(self.value), identity(self.metadata), self.expires_at


class Stored(NamedTuple):
    """The fields that a store must report."""

    created: bool
    changed: bool


class LakeModel:
    """The entries of a lake, by the documented rules, in the simplest code."""

    def __init__(self, clock: Clock, entries: Mapping[str, Kept] | None = None) -> None:
        self.clock = clock
        self.entries = dict(entries or {})

    def copy(self) -> LakeModel:
        """Return a copy of the state."""
        return LakeModel(self.clock, self.entries)

    def visible(self, at: int | None = None) -> dict[str, Kept]:
        """Return the entries that have not expired by now, or by the time `at`, in the order of
        their keys' bytes."""
        now = self.clock() if at is None else at
        return {
            key: self.entries[key]
            for key in sorted(self.entries, key=str.encode)
            if not _expired(self.entries[key], now)
        }

    def get(self, key: str) -> Kept | None:
        """Return the entry of a key, if it exists and has not expired."""
        return self.visible().get(key)

    def store(
        self,
        key: str,
        value: Any,
        metadata: Json,
        ttl: int | None = None,
        *,
        if_absent: bool = False,
        if_match: bytes | None = None,
    ) -> Stored:
        """Store a value. `ttl` is in microseconds. `if_match` is the expected content itself."""
        old = self.get(key)
        if if_absent and old:
            raise ConflictError("model: the key is there")
        self._check(old, if_match)
        now = self.clock()
        expires_at = None if ttl is None else now + ttl
        new = Kept(value, metadata, expires_at, old.created_at if old else now)
        changed = old is None or old.state() != new.state()
        if changed:  # otherwise no new version is made
            self.entries[key] = new
        return Stored(old is None, changed)

    def delete(self, key: str, if_match: bytes | None = None) -> bool:
        """Delete a key. Return whether it existed."""
        old = self.get(key)
        self._check(old, if_match)
        self.entries.pop(key, None)
        return old is not None

    def cleanup(self) -> int:
        """Remove expired entries. Return their number."""
        before, self.entries = len(self.entries), self.visible()
        return before - len(self.entries)

    def _check(self, old: Kept | None, if_match: bytes | None) -> None:
        if if_match is not None and (old is None or identity(old.value)[1] != if_match):
            raise ConflictError("model: if_match does not hold")


def _expired(kept: Kept, now: int) -> bool:
    return kept.expires_at is not None and kept.expires_at <= now
