"""Rules for batches: storing and retrieving many entries in one call."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import rule

from lakebed.errors import SerializationError
from lakebed.testing.machine import strategies as some
from lakebed.testing.machine.base import MachineBase
from lakebed.testing.model import identity


class Item(NamedTuple):
    """An entry of a batch. `ttl` is in microseconds."""

    key: str
    value: Any
    metadata: dict[str, Any]
    ttl: int | None

    def fields(self) -> dict[str, Any]:
        """Return the entry as `store_batch` takes it."""
        ttl = None if self.ttl is None else timedelta(microseconds=self.ttl)
        return {"key": self.key, "value": self.value, "metadata": self.metadata, "ttl": ttl}


items = st.lists(st.builds(Item, some.keys, some.values, some.metadata, some.ttls), max_size=12)
REFUSED = {"key": "refused", "value": {1, 2}}


class BatchRules(MachineBase):
    """Rules for batches."""

    @rule(batch=items, atomic=st.booleans())
    def store_batch(self, batch: list[Item], atomic: bool) -> None:
        report = self.lake.store_batch((item.fields() for item in batch), atomic=atomic)
        counts = self._store_in_model(batch)
        assert (report.created, report.changed, report.unchanged) == counts
        assert report.stored == sum(counts)
        assert report.stored + report.replaced == len(batch)
        assert (report.failed, dict(report.errors)) == (0, {})

    @rule(batch=items, place=st.integers(0, 12), atomic=st.booleans())
    def store_batch_with_a_fault(self, batch: list[Item], place: int, atomic: bool) -> None:
        entries = [item.fields() for item in batch]
        entries.insert(place, REFUSED)
        if atomic:
            with pytest.raises(SerializationError) as caught:
                self.lake.store_batch(entries)
            assert list(caught.value.errors) == ["refused"]
        else:
            report = self.lake.store_batch(entries, atomic=False)
            assert (report.failed, list(report.errors)) == (1, ["refused"])
            self._store_in_model(batch)

    @rule(batch=items, atomic=st.booleans())
    def store_batch_that_breaks_off(self, batch: list[Item], atomic: bool) -> None:
        def broken() -> Iterator[dict[str, Any]]:
            yield from (item.fields() for item in batch)
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            self.lake.store_batch(broken(), atomic=atomic)
        if not atomic:
            self._store_in_model(batch)

    @rule(keys=st.lists(some.keys, max_size=6))
    def retrieve_batch(self, keys: list[str]) -> None:
        found = self.lake.retrieve_batch(keys)
        visible = self.model.visible()
        wanted = list(dict.fromkeys(keys))
        assert list(found) == [key for key in wanted if key in visible]
        assert list(found.missing) == [key for key in wanted if key not in visible]
        assert not found.errors
        for key, value in found.items():
            assert identity(value) == identity(visible[key].value)

    def _store_in_model(self, batch: Sequence[Item]) -> tuple[int, int, int]:
        """Store the last item of each key. Return how many were created, changed and unchanged."""
        last = {item.key: item for item in batch}
        outcomes = Counter(self.model.store(*item) for item in last.values())
        created = sum(count for outcome, count in outcomes.items() if outcome.created)
        unchanged = sum(count for outcome, count in outcomes.items() if not outcome.changed)
        return created, len(last) - created - unchanged, unchanged
