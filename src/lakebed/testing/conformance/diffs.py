"""Diffs: what changed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, ClassVar

import pytest

from lakebed.errors import ValidationError
from lakebed.lake.history.change import EntryChange
from lakebed.lake.history.diff import Diff
from lakebed.lake.lake import Lake
from lakebed.testing.clock import FakeClock
from lakebed.testing.conformance.base import Conformance, needs

LARGE = "large " * 2000


@needs("versions")
class Diffs(Conformance):
    """The differences between two states."""

    FEATURE: ClassVar[str] = "diff"

    def test_added_changed_removed(self, lake: Lake) -> None:
        lake.store("changed", 1, {"m": 1})
        lake.store("removed", LARGE)
        lake.store("stays", b"x")
        lake.create_snapshot("a")
        lake.store("changed", LARGE, {"m": 1})
        lake.store("added", 2)
        del lake["removed"]
        lake.create_snapshot("b")
        for found in (lake.diff("a", "b"), lake.diff("a")):
            assert keys(found) == (["added"], ["changed"], ["removed"])
            assert len(found) == 3
            assert found.added[0].value == 2
            assert found.removed[0].value == LARGE
            (change,) = found.changed
            assert (change.before.value, change.after.value) == (1, LARGE)
            assert change.before.metadata == change.after.metadata == {"m": 1}
        back = lake.diff("b", "a")
        assert keys(back) == (["removed"], ["changed"], ["added"])
        assert (back.changed[0].before.value, back.changed[0].after.value) == (LARGE, 1)
        assert keys(lake.diff("a", "a")) == keys(lake.diff("b")) == ([], [], [])

    def test_in_what_an_entry_changed(self, lake: Lake, clock: FakeClock) -> None:
        for key in ("content", "metadata", "expiry", "all", "none", "type"):
            lake.store(key, 1, {"m": 1}, ttl=100)
        lake.create_snapshot("a")
        clock.advance(1)
        rest: dict[str, Any] = {"metadata": {"m": 1}, "ttl": 99}
        lake.store("content", 2, **rest)
        lake.store("metadata", 1, {"m": 2}, ttl=99)
        lake.store("type", 1, {"m": True}, ttl=99)  # equal in Python
        lake.store("expiry", 1, {"m": 1}, ttl=100)
        lake.store("all", 2)
        lake.store("none", 2)
        lake.store("none", 1, **rest)
        found = lake.diff("a")
        assert {change.key: flags(change) for change in found.changed} == {
            "content": (True, False, False),
            "metadata": (False, True, False),
            "type": (False, True, False),
            "expiry": (False, False, True),
            "all": (True, True, True),
        }
        summary = found.summary()
        assert (summary.changed, summary.content_changed) == (5, 2)
        assert summary.only_metadata_or_expiry == 3

    def test_the_same_bytes_in_another_format(self, lake: Lake) -> None:
        lake.store("a", "x")
        lake.create_snapshot("s")
        lake.store("a", b'"x"')
        (change,) = lake.diff("s").changed
        assert flags(change) == (True, False, False)
        assert change.before.value == "x"
        assert change.after.value == b'"x"'

    def test_stored_alike_is_no_change(self, lake: Lake, clock: FakeClock) -> None:
        lake.store("a", {"x": [1, 2]}, {"m": 1})
        lake.create_snapshot("s")
        clock.advance(1)
        lake.store("a", {"x": [1, 2]}, {"m": 1})
        assert not len(lake.diff("s"))
        assert lake.stats().history == 0

    def test_deleted_and_stored_again(self, lake: Lake, clock: FakeClock) -> None:
        lake.store("alike", 1)
        lake.store("other", 1)
        lake.create_snapshot("s")
        clock.advance(1)
        for key in ("alike", "other"):
            del lake[key]
        lake.create_snapshot("between")
        lake.store("alike", 1)
        lake.store("other", 2)
        assert keys(lake.diff("s")) == ([], ["other"], [])
        assert keys(lake.diff("s", "between")) == ([], [], ["alike", "other"])
        assert keys(lake.diff("between")) == (["alike", "other"], [], [])

    def test_there_and_gone_between(self, lake: Lake) -> None:
        lake.create_snapshot("a")
        lake.store("k", 1)
        del lake["k"]
        lake.create_snapshot("b")
        assert not len(lake.diff("a", "b"))

    def test_expired_between(self, lake: Lake, clock: FakeClock) -> None:
        lake.store("k", 1, ttl=10)
        lake.create_snapshot("a")
        clock.advance(10)
        lake.create_snapshot("b")
        for _ in range(2):  # before and after the clean-up
            assert keys(lake.diff("a", "b")) == keys(lake.diff("a")) == ([], [], ["k"])
            assert keys(lake.diff("b", "a")) == (["k"], [], [])
            lake.cleanup_expired()
        lake.store("k", 1, ttl=10)
        assert keys(lake.diff("b")) == (["k"], [], [])
        assert keys(lake.diff("a")) == ([], ["k"], [])

    def test_expired_before_both(self, lake: Lake, clock: FakeClock) -> None:
        lake.store("k", 1, ttl=1)
        clock.advance(1)
        lake.create_snapshot("a")
        lake.cleanup_expired()
        clock.advance(1)
        assert not len(lake.diff("a"))

    def test_diff_of_a_prefix(self, lake: Lake) -> None:
        lake.create_snapshot("s")
        for key in ("a", "a/b", "ab", "b", "\U0010ffff", "a\U0010ffff"):
            lake.store(key, 1)
        assert keys(lake.diff("s", prefix="a"))[0] == ["a", "a/b", "ab", "a\U0010ffff"]
        assert keys(lake.diff("s", prefix="a/"))[0] == ["a/b"]
        assert keys(lake.diff("s", prefix="\U0010ffff"))[0] == ["\U0010ffff"]
        assert not len(lake.diff("s", prefix="none"))
        with pytest.raises(ValidationError):
            lake.diff("s", prefix="\0")

    def test_order_and_size(self, lake: Lake) -> None:
        lake.create_snapshot("s")
        wanted = sorted((f"k{number}" for number in range(1200)), key=str.encode)
        lake.store_batch({"key": key, "value": key} for key in wanted)
        found = lake.diff("s")
        assert [entry.key for entry in found.added] == wanted
        assert len(found.added) == 1200
        assert found.added[-1].value == wanted[-1]
        assert [entry.key for entry in found.added[5:9]] == wanted[5:9]
        with pytest.raises(IndexError):
            found.added[1200]

    def test_it_stays_as_it_was(self, lake: Lake) -> None:
        lake.store("a", 1)
        lake.create_snapshot("s")
        lake.store("a", LARGE)
        found = lake.diff("s")
        lake.store("a", 3)
        lake.store("b", 3)
        assert keys(found) == ([], ["a"], [])
        assert found.changed[0].after.value == LARGE

    def test_numbers(self, lake: Lake) -> None:
        lake.store("changed", "12345678")
        lake.store("removed", "1")
        lake.create_snapshot("s")
        lake.store("changed", "1")
        lake.store("added", "123")
        del lake["removed"]
        summary = lake.diff("s").summary()
        assert (summary.added, summary.removed, summary.changed) == (1, 1, 1)
        assert (summary.bytes_before, summary.bytes_after) == (13, 8)

    def test_tables(self, lake: Lake) -> None:
        lake.store("changed", 1, {"m": "é"})
        lake.store("removed", 1)
        lake.create_snapshot("s")
        lake.store("changed", 2, {"m": "é"})
        lake.store("added", 1)
        del lake["removed"]
        rows = lake.diff("s").to_arrow().to_pylist()
        assert [(row["key"], row["change"]) for row in rows] == [
            ("added", "added"), ("changed", "changed"), ("removed", "removed"),
        ]  # fmt: skip
        before = lake.at("s").entry("changed")
        assert before is not None
        assert rows[1]["before_content_hash"] == before.content_hash
        assert rows[1]["after_metadata"] == '{"m":"é"}'
        assert rows[0]["before_content_hash"] is rows[2]["after_content_hash"] is None
        told: list[tuple[int, int | None]] = []
        lake.diff("s", progress=lambda *counts: told.append(counts)).to_arrow(
            progress=lambda *counts: told.append(counts)
        )
        assert told == [(3, 3), (1, 3), (2, 3), (3, 3)]
        empty = lake.diff("s", "s").to_arrow()
        assert empty.num_rows == 0
        assert empty.schema == lake.diff("s").to_arrow().schema
        pytest.importorskip("pandas")
        assert list(lake.diff("s").to_pandas()["key"]) == ["added", "changed", "removed"]

    def test_shown_in_a_notebook(self, lake: Lake) -> None:
        lake.create_snapshot("<s&>")
        lake.store("<script>alert(1)</script>", 1, {"m": "<b>"})
        html = lake.diff("<s&>")._repr_html_()
        assert "<script>" not in html
        assert "&lt;script&gt;" in html
        assert "&lt;s&amp;&gt;" in html
        assert set(re.findall(r"<(\w+)", html)) <= {
            "p",
            "table",
            "thead",
            "tbody",
            "tr",
            "th",
            "td",
        }
        lake.store_batch({"key": f"k{number}", "value": 0} for number in range(50))
        assert "31 more" in lake.diff("<s&>")._repr_html_()
        assert "51 added" in repr(lake.diff("<s&>"))

    def test_details_of_json(self, lake: Lake) -> None:
        lake.store("a", {"price": 1, "tags": ["x"], "gone": None, "z": 0.0, "__v": 1})
        lake.store("m", 1, {"x": 1})
        lake.store("zero", 0.0)
        lake.store("other", "text")
        lake.create_snapshot("s")
        lake.store("a", {"price": 2, "tags": ["x", "y"], "new": 1, "z": 0, "__v": 2})
        lake.store("m", 1, {"x": 2})
        lake.store("zero", -0.0)
        lake.store("other", b"bytes")
        details = {change.key: change.details() for change in lake.diff("s").changed}
        assert details["a"]["values_changed"] == {
            "root['price']": {"new_value": 2, "old_value": 1},
            "root['__v']": {"new_value": 2, "old_value": 1},
        }
        assert details["a"]["iterable_item_added"] == {"root['tags'][1]": "y"}
        assert list(details["a"]["dictionary_item_added"]) == ["root['new']"]
        assert list(details["a"]["dictionary_item_removed"]) == ["root['gone']"]
        assert list(details["a"]["type_changes"]) == ["root['z']"]
        assert details["m"] == {}
        assert details["zero"]
        assert details["other"] == {"format": ("json", "bytes"), "byte_size": (6, 5)}

    def test_details_of_tables(self, lake: Lake) -> None:
        pa = pytest.importorskip("pyarrow")
        lake.store("t", pa.table({"a": [1, 2], "b": ["x", "y"], "c": [1, 2]}))
        lake.create_snapshot("s")
        lake.store("t", pa.table({"a": [1.0, 2.0, 3.0], "c": [1, 2, 3], "d": [None, 1, 2]}))
        (change,) = lake.diff("s").changed
        assert change.details() == {
            "rows": (2, 3),
            "columns_added": {"d": "int64"},
            "columns_removed": {"b": "string"},
            "types_changed": {"a": ("int64", "double")},
        }


def keys(found: Diff) -> tuple[list[str], list[str], list[str]]:
    """Return the keys of the differences: added, changed, removed."""
    parts: Sequence[Sequence[Any]] = (found.added, found.changed, found.removed)
    added, changed, removed = ([item.key for item in part] for part in parts)
    return added, changed, removed


def flags(change: EntryChange) -> tuple[bool, bool, bool]:
    """Return whether content, metadata and expiry of an entry changed."""
    return change.content_changed, change.metadata_changed, change.expiry_changed
