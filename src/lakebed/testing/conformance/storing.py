"""Storing, retrieving, deleting, and the calls of a mapping."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from typing import ClassVar

import pytest

from lakebed.errors import ConflictError, NotFoundError, ValidationError
from lakebed.lake.lake import Lake
from lakebed.records import Entry
from lakebed.testing.clock import FakeClock
from lakebed.testing.conformance.base import Conformance


class Storing(Conformance):
    """A store replaces a value whole, and a delete removes it."""

    FEATURE: ClassVar[str] = "storing"

    def test_store_and_retrieve(self, lake: Lake, clock: FakeClock) -> None:
        stored = lake.store("user/1", {"name": "Ada"}, {"source": "chat"})
        assert lake.retrieve("user/1") == {"name": "Ada"}
        assert stored.key == "user/1"
        assert stored.value == {"name": "Ada"}
        assert stored.metadata == {"source": "chat"}
        assert stored.format == "json"
        assert stored.byte_size == len(b'{"name":"Ada"}')
        assert stored.content_hash.startswith("sha256:")
        assert stored.expires_at is None
        assert stored.created_at == stored.updated_at == clock.now
        assert (stored.created, stored.changed, stored.deduplicated) == (True, True, False)

    def test_entry_agrees_with_store(self, lake: Lake) -> None:
        stored = lake.store("a", [1, 2], {"b": {"c": None}})
        entry = lake.entry("a")
        assert entry is not None
        assert {name: stored[name] for name in Entry.FIELDS} == dict(entry)
        assert entry.value == [1, 2]
        assert [dict(e) for e in lake.list()] == [dict(entry)]

    def test_missing(self, lake: Lake) -> None:
        assert lake.entry("a") is None
        assert "a" not in lake
        assert lake.delete("a") is False
        assert lake.retrieve("a", None) is None
        assert lake.retrieve("a", default=5) == 5
        with pytest.raises(NotFoundError, match="'a'"):
            lake.retrieve("a")
        with pytest.raises(KeyError):
            lake["a"]
        with pytest.raises(KeyError):
            del lake["a"]

    def test_a_stored_null_is_there(self, lake: Lake) -> None:
        lake.store("a", None)
        assert lake.retrieve("a", 5) is None
        assert "a" in lake

    def test_replacement_is_whole(self, lake: Lake, clock: FakeClock) -> None:
        first = lake.store("a", 1, {"kind": "x"}, ttl=60)
        clock.advance(1)
        second = lake.store("a", 2)
        assert second.metadata == {}
        assert second.expires_at is None
        assert second.created_at == first.created_at
        assert second.updated_at == clock.now
        assert second.version > first.version
        assert (second.created, second.changed) == (False, True)
        entry = lake.entry("a")
        assert entry is not None
        assert (entry.value, entry.metadata, entry.expires_at) == (2, {}, None)

    def test_what_changes_nothing_draws_no_version(self, lake: Lake, clock: FakeClock) -> None:
        expiry = clock.now.replace(year=2031)
        first = lake.store("a", {"b": 1, "a": 2}, {"x": 1}, expires_at=expiry)
        clock.advance(1)
        again = lake.store("a", {"a": 2, "b": 1}, {"x": 1}, expires_at=expiry)
        assert (again.created, again.changed, again.deduplicated) == (False, False, True)
        assert again.version == first.version
        assert again.updated_at == first.updated_at

    @pytest.mark.parametrize("metadata", [{}, {"x": 1.0}, {"x": 1, "y": None}, {"x": True}])
    def test_other_metadata_is_a_change(self, lake: Lake, metadata: dict[str, object]) -> None:
        first = lake.store("a", "value", {"x": 1})
        second = lake.store("a", "value", metadata)
        assert (second.created, second.changed, second.deduplicated) == (False, True, True)
        assert second.content_hash == first.content_hash
        assert second.version > first.version
        entry = lake.entry("a")
        assert entry is not None
        assert entry.metadata == metadata
        assert entry.value == "value"

    def test_versions_grow_over_all_keys(self, lake: Lake) -> None:
        versions = [lake.store(key, n).version for n, key in enumerate("abcabc")]
        lake.delete("a")
        versions.append(lake.store("a", 7).version)
        assert versions == sorted(set(versions))

    def test_delete(self, lake: Lake) -> None:
        lake.store("a", 1)
        lake.store("b", 1)
        assert lake.delete("a") is True
        assert lake.delete("a") is False
        assert "a" not in lake
        assert lake["b"] == 1
        assert lake.store("a", 2).created is True

    def test_mapping(self, lake: Lake) -> None:
        assert isinstance(lake, MutableMapping)
        lake["b"] = 1
        lake["a"] = [2]
        assert lake["a"] == [2]
        assert list(lake) == list(lake.keys()) == ["a", "b"]
        assert dict(lake) == dict(lake.items()) == {"a": [2], "b": 1}
        assert list(lake.values()) == [[2], 1]
        assert ("a", [2]) in lake.items()
        assert [2] in lake.values()
        assert len(lake.items()) == len(lake.values()) == 2
        assert len(lake) == 2
        assert "a" in lake
        assert "5" not in lake
        assert lake.get("c") is None
        assert lake.get("c", 3) == 3
        lake.update(c=4)
        assert lake.pop("c") == 4
        assert lake.pop("c", None) is None
        assert lake.setdefault("d", 1) == 1
        assert lake.setdefault("d", 2) == 1
        del lake["d"]
        assert list(lake) == ["a", "b"]
        assert lake == lake  # which does not compare entry by entry
        assert lake != {"a": [2], "b": 1}

    def test_items_while_others_delete(self, lake: Lake) -> None:
        for key in "abc":
            lake[key] = key
        seen = []
        for key, value in lake.items():
            seen.append((key, value))
            for other in "bc":
                lake.delete(other)
        assert seen[0] == ("a", "a")
        assert set(seen[1:]) <= {("b", "b"), ("c", "c")}

    def test_clear_is_refused(self, lake: Lake) -> None:
        lake["a"] = 1
        with pytest.raises(ValidationError, match=r"delete.*purge\(prefix="):
            lake.clear()
        assert lake["a"] == 1

    def test_records_are_frozen_mappings(self, lake: Lake) -> None:
        stored = lake.store("a", 1, {"x": {}})
        for record in (stored, lake.entry("a"), lake.stats(), lake.cleanup_expired()):
            assert isinstance(record, Mapping)
            name = next(iter(record))
            assert record[name] == getattr(record, name)
            with pytest.raises(AttributeError):
                setattr(record, name, 5)
            with pytest.raises(KeyError):
                record["nothing of the kind"]
        stored.metadata["x"]["changed"] = True
        assert stored.metadata == {"x": {}}

    def test_stats(self, lake: Lake) -> None:
        figures = {name: n for name, n in lake.stats().items() if name != "upkeep"}
        assert not any(figures.values())  # none of them is an estimate
        lake.store("a", "same")
        lake.store("b", "same")
        lake.store("c", 5)
        stats = lake.stats()
        assert (stats.entries, stats.expired) == (3, 0)
        assert stats.entry_bytes == 2 * len('"same"') + 1
        assert stats.objects == 2
        assert stats.object_bytes == len('"same"') + 1
        assert stats.deduplicated_bytes == len('"same"')
        lake.delete("c")
        for number in range(5):
            lake.store("d", f"garbage {number}")
        lake.delete("d")
        stats = lake.stats()
        assert stats.entries == 2
        assert stats.deduplicated_bytes == len('"same"')  # whatever awaits collection

    def test_closed(self, lake: Lake) -> None:
        lake.store("a", 1)
        lake.close()
        lake.close()
        calls: list[Callable[[], object]] = [
            lambda: lake.store("a", 2),
            lambda: lake.retrieve("a"),
            lambda: lake.entry("a"),
            lambda: lake.delete("a"),
            lambda: list(lake.list()),
            lambda: len(lake),
            lambda: "a" in lake,
            lambda: lake.stats(),
            lambda: lake.cleanup_expired(),
        ]
        for call in calls:
            with pytest.raises(Exception, match="closed") as caught:
                call()
            assert getattr(caught.value, "error_type", None) == "catalog_error"


class Conditions(Conformance):
    """`if_absent` and `if_match`."""

    FEATURE: ClassVar[str] = "conditions"

    def test_if_absent(self, lake: Lake) -> None:
        assert lake.store("a", 1, if_absent=True).created is True
        with pytest.raises(ConflictError, match="'a'"):
            lake.store("a", 2, if_absent=True)
        with pytest.raises(ConflictError):
            lake.store("a", 1, if_absent=True)  # the same value, but it is there
        assert lake["a"] == 1
        lake.delete("a")
        assert lake.store("a", 3, if_absent=True).created is True

    def test_if_match(self, lake: Lake) -> None:
        first = lake.store("a", 1)
        other = lake.store("b", 2)
        with pytest.raises(ConflictError, match="'a'"):
            lake.store("a", 3, if_match=other.content_hash)
        assert lake["a"] == 1
        second = lake.store("a", 3, if_match=first.content_hash)
        with pytest.raises(ConflictError):
            lake.store("a", 4, if_match=first.content_hash)
        with pytest.raises(ConflictError):
            lake.delete("a", if_match=first.content_hash)
        assert lake["a"] == 3
        assert lake.delete("a", if_match=second.content_hash) is True

    def test_if_match_on_a_missing_key(self, lake: Lake) -> None:
        content_hash = lake.store("b", 1).content_hash
        with pytest.raises(ConflictError):
            lake.store("a", 1, if_match=content_hash)
        with pytest.raises(ConflictError):
            lake.delete("a", if_match=content_hash)
        assert list(lake) == ["b"]

    def test_a_failed_condition_changes_nothing(self, lake: Lake, clock: FakeClock) -> None:
        lake.store("a", 1, {"x": 1}, ttl=60)
        before, stats = list(lake.list()), lake.stats()
        clock.advance(1)
        with pytest.raises(ConflictError):
            lake.store("a", "new content", if_absent=True)
        with pytest.raises(ConflictError):
            lake.store("a", "new content", if_match="sha256:" + "0" * 64)
        assert list(lake.list()) == before
        assert lake.stats() == stats

    def test_the_expired_is_absent(self, lake: Lake, clock: FakeClock) -> None:
        content_hash = lake.store("a", 1, ttl=10).content_hash
        clock.advance(10)
        with pytest.raises(ConflictError):
            lake.store("a", 2, if_match=content_hash)
        with pytest.raises(ConflictError):
            lake.delete("a", if_match=content_hash)
        assert lake.store("a", 3, if_absent=True).created is True
        assert lake["a"] == 3
