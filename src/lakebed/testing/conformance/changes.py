"""The change feed: what changed since a cursor."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from lakebed.errors import NotFoundError, ValidationError
from lakebed.lake.lake import Lake
from lakebed.testing.clock import FakeClock
from lakebed.testing.conformance.base import Conformance, needs

LARGE = "large " * 2000
DAY = 86_400


def told(lake: Lake, since: str | None = None, prefix: str = "") -> tuple[list[Any], str]:
    """Return the changes in the feed, and the new cursor."""
    changes = lake.changes(since, prefix)
    return [(each.change, each.key) for each in changes], changes.cursor


@needs("versions")
class Changes(Conformance):
    """The changes since a reader last looked."""

    FEATURE: ClassVar[str] = "changes"

    def test_everything_then_what_changed(self, lake: Lake) -> None:
        lake.store("b", LARGE, {"m": 1})
        lake.store("a", 1)
        lake.store("c", 1)
        changes = lake.changes()
        assert [(each.change, each.key, each.before) for each in changes] == [
            ("added", "a", None), ("added", "b", None), ("added", "c", None)
        ]  # fmt: skip
        assert list(changes) == []  # once
        lake.store("a", 2)
        lake.store("a", LARGE)
        lake.store("d", 1)
        lake.delete("b")
        lake.store("passing", 1)
        lake.delete("passing")
        since = lake.changes(changes.cursor)
        changed, removed, added = since
        assert (changed.key, changed.change) == ("a", "changed")
        assert changed.before is not None
        assert changed.after is not None
        assert (changed.before.value, changed.after.value) == (1, LARGE)
        assert (removed.key, removed.change, removed.after) == ("b", "removed", None)
        assert removed.before is not None
        assert (removed.before.value, removed.before.metadata) == (LARGE, {"m": 1})
        assert (added.key, added.change, added.before) == ("d", "added", None)
        assert dict(added)["change"] == "added"
        assert since.cursor != changes.cursor

    def test_a_cursor_holds_until_a_later_one_is_used(self, lake: Lake) -> None:
        lake.store("a", 1)
        _, first = told(lake)
        lake.store("b", 1)
        again, _ = told(lake, first)
        changes, second = told(lake, first)  # the reader failed before it stored its cursor
        assert changes == again == [("added", "b")]
        lake.store("c", 1)
        assert told(lake, second)[0] == [("added", "c")]
        with pytest.raises(NotFoundError, match="since=None"):
            lake.changes(first)
        names = [made.name for made in lake.snapshots()]
        assert (first in names, second in names) == (False, True)
        _, third = told(lake, told(lake, second)[1])
        lake.store("d", 1)
        _, fourth = told(lake, third)
        told(lake, fourth)
        assert [made.name for made in lake.snapshots()] == [fourth]  # earlier ones are gone

    def test_nothing_new_keeps_the_cursor(self, lake: Lake, clock: FakeClock) -> None:
        lake.store("a", 1)
        _, cursor = told(lake)
        assert told(lake, cursor) == ([], cursor)
        clock.advance(2 * DAY)
        changes, later = told(lake, cursor)  # a cursor in use is renewed before it is too old
        assert changes == []
        assert later != cursor
        clock.advance(29 * DAY)
        lake.maintain()
        assert told(lake, later)[0] == []
        clock.advance(31 * DAY)
        lake.maintain()
        assert lake.snapshots() == []
        with pytest.raises(NotFoundError, match="30 days"):
            lake.changes(later)

    def test_what_expired_is_removed(self, lake: Lake, clock: FakeClock) -> None:
        lake.store("brief", 1, ttl=10)
        lake.store("renewed", 1, ttl=10)
        _, cursor = told(lake)
        lake.store("renewed", 1, ttl=100)
        clock.advance(20)
        changes, cursor = told(lake, cursor)
        assert changes == [("removed", "brief"), ("changed", "renewed")]
        lake.cleanup_expired()
        assert told(lake, cursor)[0] == []

    def test_readers_and_prefixes(self, lake: Lake) -> None:
        lake.store("a/1", 1)
        lake.store("b/1", 1)
        _, everything = told(lake)
        first, only_a = told(lake, prefix="a/")
        assert first == [("added", "a/1")]
        lake.store("a/2", 1)
        lake.store("b/2", 1)
        assert told(lake, only_a, "a/")[0] == [("added", "a/2")]
        assert told(lake, everything)[0] == [("added", "a/2"), ("added", "b/2")]

    def test_in_a_scope(self, lake: Lake) -> None:
        scope = lake.scope("user/1")
        lake.store("user/2/name", "theirs")
        scope.store("name", "mine")
        changes, cursor = told(scope)
        assert changes == [("added", "name")]
        lake.store("user/2/name", "changed")
        scope.store("town", "Lima")
        assert told(scope, cursor)[0] == [("added", "town")]

    @pytest.mark.parametrize("since", ["", "monday", "@0123456789abcdef", 7, b"x"])
    def test_what_is_no_cursor(self, lake: Lake, since: Any) -> None:
        with pytest.raises(ValidationError, match="since"):
            lake.changes(since)
        assert lake.snapshots() == []
