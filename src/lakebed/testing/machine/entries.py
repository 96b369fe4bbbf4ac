"""Rules for single entries: storing, deleting, expiring, listing."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal, NamedTuple

from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import rule

from lakebed import filters as grammar
from lakebed.lake.entries.transaction import Transaction
from lakebed.lake.entries.writing import Writing
from lakebed.records import StoredEntry
from lakebed.testing.machine import strategies as some
from lakebed.testing.machine.base import MachineBase
from lakebed.testing.model import Stored, identity

Condition = Literal["none", "absent", "match", "mismatch"]
conditions: st.SearchStrategy[Condition] = st.sampled_from(["none", "absent", "match", "mismatch"])


class Change(NamedTuple):
    """A store or a delete in a transaction."""

    delete: bool
    key: str
    value: Any
    metadata: dict[str, Any]
    ttl: int | None
    condition: Condition


changes = st.builds(
    Change, st.booleans(), some.keys, some.values, some.metadata, some.ttls, conditions
)


class EntryRules(MachineBase):
    """Rules for entries, one by one and in transactions."""

    @rule(key=some.keys, value=some.values, metadata=some.metadata, ttl=some.ttls)
    def store(self, key: str, value: Any, metadata: dict[str, Any], ttl: int | None) -> None:
        expected = self.model.store(key, value, metadata, ttl)
        self._compare(self.lake.store(key, value, metadata, ttl=_span(ttl)), expected)

    @rule(key=some.keys, metadata=some.metadata, ttl=some.ttls)
    def store_same_value(self, key: str, metadata: dict[str, Any], ttl: int | None) -> None:
        kept = self.model.get(key)
        if kept is not None:
            self.store(key, kept.value, metadata, ttl)

    @rule(key=some.keys, value=some.values, condition=conditions)
    def store_if(self, key: str, value: Any, condition: Condition) -> None:
        absent = condition == "absent"
        match, content_hash = self._match(key, condition), self._hash(key, condition)
        answers = self.both(
            lambda: self.model.store(key, value, {}, if_absent=absent, if_match=match),
            lambda: self.lake.store(key, value, if_absent=absent, if_match=content_hash),
        )
        if answers:
            self._compare(answers[1], answers[0])

    @rule(key=some.keys, condition=conditions)
    def delete(self, key: str, condition: Condition) -> None:
        answers = self.both(
            lambda: self.model.delete(key, self._match(key, condition)),
            lambda: self.lake.delete(key, if_match=self._hash(key, condition)),
        )
        assert answers is None or answers[0] == answers[1]

    @rule(done=st.lists(changes, max_size=6))
    def transaction(self, done: list[Change]) -> None:
        # As callers do, read the hashes before the transaction begins.
        hashes = [self._hash(change.key, change.condition) for change in done]
        matches = [self._match(change.key, change.condition) for change in done]

        def on_model() -> None:
            for change, match in zip(done, matches, strict=True):
                key, value, metadata, ttl = change[1:5]
                if change.delete:
                    self.model.delete(key, match)
                else:
                    absent = change.condition == "absent"
                    self.model.store(key, value, metadata, ttl, if_absent=absent, if_match=match)

        def on_lake() -> None:
            with self.lake.transaction() as tx:
                for change, content_hash in zip(done, hashes, strict=True):
                    self._apply(tx, change, content_hash)

        self.both(on_model, on_lake)

    @rule(key=some.keys)
    def read(self, key: str) -> None:
        kept, missing = self.model.get(key), object()
        found = self.lake.retrieve(key, missing)
        assert (key in self.lake) == (kept is not None)
        assert (self.lake.entry(key) is None) == (kept is None)
        assert found is missing if kept is None else identity(found) == identity(kept.value)

    @rule(
        prefix=st.sampled_from(some.PREFIXES),
        metadata_filter=st.none() | some.filters,
        limit=st.none() | st.integers(0, 3),
        after=st.none() | some.keys,
    )
    def list(
        self,
        prefix: str,
        metadata_filter: dict[str, Any] | None,
        limit: int | None,
        after: str | None,
    ) -> None:
        matches = grammar.Filter(metadata_filter or {}).matches
        expected = [
            key
            for key, kept in self.model.visible().items()
            if key.startswith(prefix)
            and (after is None or key.encode() > after.encode())
            and matches(kept.metadata)
        ][:limit]
        found = self.lake.list(prefix, metadata_filter=metadata_filter, limit=limit, after=after)
        assert [entry.key for entry in found] == expected

    @rule(micros=st.sampled_from([0, 1, 999_999, 1_000_000, 3_000_000]))
    def advance(self, micros: int) -> None:
        self.clock.advance(timedelta(microseconds=micros))

    @rule(batch_size=st.integers(1, 3))
    def cleanup(self, batch_size: int) -> None:
        expected = self.model.cleanup()
        assert self.lake.stats().expired == expected
        report = self.lake.cleanup_expired(batch_size=batch_size)
        assert (report.deleted, report.remaining) == (expected, 0)

    def _compare(self, entry: StoredEntry, expected: Stored) -> None:
        note(f"stored {entry.key!r} as version {entry.version}")
        assert (entry.created, entry.changed) == expected

    def _match(self, key: str, condition: Condition) -> bytes | None:
        if condition in ("none", "absent"):
            return None
        kept = self.model.get(key)
        if condition == "mismatch" or kept is None:
            return b"\0 nothing of the kind"
        return identity(kept.value)[1]

    def _hash(self, key: str, condition: Condition) -> str | None:
        if condition in ("none", "absent"):
            return None
        entry = self.lake.entry(key)
        if condition == "mismatch" or entry is None:
            return "sha256:" + "0" * 64
        return entry.content_hash

    def _apply(self, tx: Transaction | Writing, change: Change, content_hash: str | None) -> None:
        if change.delete:
            tx.delete(change.key, if_match=content_hash)
            return
        tx.store(
            change.key,
            change.value,
            change.metadata,
            ttl=_span(change.ttl),
            if_absent=change.condition == "absent",
            if_match=content_hash,
        )


def _span(micros: int | None) -> timedelta | None:
    return None if micros is None else timedelta(microseconds=micros)
