"""Snapshots: create, name and drop them, and read them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from lakebed.errors import ConflictError, NotFoundError, ValidationError
from lakebed.lake.history.snapshot import Snapshot
from lakebed.lake.history.snapshots import LakeView
from lakebed.lake.lake import Lake
from lakebed.testing.clock import FakeClock
from lakebed.testing.conformance.base import Conformance, contents, needs

LARGE = "large " * 2000

READS: dict[str, Callable[[LakeView], object]] = {
    "retrieve": lambda view: view.retrieve("a"),
    "retrieve with a default": lambda view: view.retrieve("z", 0),
    "get": lambda view: view.get("z"),
    "item": lambda view: view["a"],
    "retrieve_batch": lambda view: view.retrieve_batch(["a", "z"]),
    "entry": lambda view: view.entry("z"),
    "contains": lambda view: "z" in view,
    "len": len,
    "iteration": list,
    "items": lambda view: list(view.items()),
    "list": lambda view: list(view.list("a")),
    "empty list": lambda view: list(view.list("z")),
    "filter": lambda view: list(view.list(metadata_filter={"x": 1})),
    "to_arrow": lambda view: view.list().to_arrow(),
    "stats": lambda view: view.stats(),
    "search": lambda view: list(view.search("word")),
    "search for all": lambda view: view.search(None).total,
}


@needs("versions")
class Snapshots(Conformance):
    """Making, listing and dropping snapshots."""

    FEATURE: ClassVar[str] = "snapshots"

    def test_fields(self, lake: Lake, clock: FakeClock) -> None:
        lake.store("a", 1)
        snapshot = lake.create_snapshot("before", message="why", author="who")
        assert isinstance(snapshot, Snapshot)
        assert snapshot.id.startswith("@")
        assert (snapshot.name, snapshot.message, snapshot.author) == ("before", "why", "who")
        assert snapshot.created_at == clock.now
        entry = lake.entry("a")
        assert entry is not None
        assert snapshot.version == entry.version
        assert lake.snapshots() == [snapshot]
        assert snapshot["name"] == "before"
        plain = lake.create_snapshot("plain")
        assert (plain.message, plain.author) == (None, None)

    def test_oldest_first(self, lake: Lake, clock: FakeClock) -> None:
        for name in ("z", "a", "m"):
            lake.create_snapshot(name)
            clock.advance(1)
        assert [snapshot.name for snapshot in lake.snapshots()] == ["z", "a", "m"]
        assert len({snapshot.id for snapshot in lake.snapshots()}) == 3

    def test_a_taken_name(self, lake: Lake) -> None:
        lake.store("a", 1)
        first = lake.create_snapshot("s")
        lake.store("a", 2)
        with pytest.raises(ConflictError, match="'s'"):
            lake.create_snapshot("s")
        assert lake.snapshots() == [first]
        assert lake.at("s")["a"] == 1

    def test_a_taken_name_is_replaced(self, lake: Lake) -> None:
        lake.store("a", 1)
        first = lake.create_snapshot("nightly", replace=True)
        other = lake.create_snapshot("other")
        lake.store("a", 2)
        second = lake.create_snapshot("nightly", replace=True)
        assert second.id != first.id
        assert lake.snapshots() == [other, second]
        assert lake.at("nightly").retrieve("a") == 2
        assert lake.at(other).retrieve("a") == 1
        with pytest.raises(NotFoundError):
            lake.at(first)

    def test_a_name_is_made(self, lake: Lake, clock: FakeClock) -> None:
        first = lake.create_snapshot()
        assert first.name == f"snapshot-{clock.now:%Y%m%dT%H%M%S.%fZ}"
        clock.advance(1)
        assert lake.create_snapshot(message="why").name > first.name

    def test_a_block_is_watched(self, lake: Lake) -> None:
        lake.store("a", 1)
        lake.store("b", 1)
        with lake.watch("run", message="why") as run:
            assert run.snapshot.name == "run"
            assert run.snapshot.message == "why"
            assert not run.diff.changed
            lake.store("a", 2)
            lake.delete("b")
            lake.store("c", 1)
            assert [change.key for change in run.diff.changed] == ["a"]
        lake.store("later", 1)
        assert [entry.key for entry in run.diff.added] == ["c"]
        assert [entry.key for entry in run.diff.removed] == ["b"]
        assert [entry.key for entry in run.undo(dry_run=True).removed] == ["c", "later"]
        undone = run.undo()
        assert dict(lake) == {"a": 1, "b": 1}
        assert undone.snapshot is not None
        lake.restore(undone.snapshot)
        assert dict(lake) == {"a": 2, "c": 1, "later": 1}

    def test_a_block_that_fails_is_undone(self, lake: Lake) -> None:
        lake.store("mine/a", 1)
        watch = lake.watch(prefix="mine/")
        with pytest.raises(ValidationError, match="not begun"):
            watch.undo()

        def fail() -> None:
            with watch:
                lake.store("mine/a", 2)
                lake.store("other", 1)
                raise RuntimeError("the agent failed")

        with pytest.raises(RuntimeError, match="agent"):
            fail()
        assert [change.key for change in watch.diff.changed] == ["mine/a"]
        watch.undo()
        assert dict(lake) == {"mine/a": 1, "other": 1}
        with pytest.raises(ValidationError, match="begun already"), watch:
            raise AssertionError

    def test_a_name_is_free_once_dropped(self, lake: Lake) -> None:
        first = lake.create_snapshot("s")
        lake.drop_snapshot("s")
        assert lake.snapshots() == []
        lake.store("a", 1)
        second = lake.create_snapshot("s")
        assert second.id != first.id
        assert lake.at("s")["a"] == 1
        with pytest.raises(NotFoundError):
            lake.at(first.id)

    @pytest.mark.parametrize(
        "name", ["", "@s", "@", "a\0b", "a\nb", "\x7f", "\ud800", "é" * 128, 5, b"s"]
    )
    def test_malformed_names(self, lake: Lake, name: Any) -> None:
        with pytest.raises(ValidationError):
            lake.create_snapshot(name)
        assert lake.snapshots() == []

    @pytest.mark.parametrize("name", ["s", "a b", "a@b", "%", "' or 1", "é" * 127, "四", "x" * 255])
    def test_names(self, lake: Lake, name: str) -> None:
        lake.store("a", 1)
        lake.create_snapshot(name)
        assert lake.at(name)["a"] == 1
        assert not len(lake.diff(name))
        lake.restore(name)
        lake.drop_snapshot(name)

    @pytest.mark.parametrize("text", [5, b"t", "a\0b", "\ud800"])
    @pytest.mark.parametrize("field", ["message", "author"])
    def test_malformed_notes(self, lake: Lake, field: str, text: object) -> None:
        notes: dict[str, Any] = {field: text}
        with pytest.raises(ValidationError, match=field):
            lake.create_snapshot("s", **notes)
        assert lake.snapshots() == []

    @pytest.mark.parametrize("by", ["name", "id", "snapshot"])
    def test_named_in_every_way(self, lake: Lake, by: str) -> None:
        lake.store("a", 1)
        snapshot = lake.create_snapshot("s")
        named: Any = snapshot if by == "snapshot" else snapshot[by]
        lake.store("a", 2)
        assert lake.at(named)["a"] == 1
        assert len(lake.diff(named).changed) == 1
        assert len(lake.diff(named, named)) == 0
        assert len(lake.restore(named, dry_run=True)) == 1
        assert len(lake.restore(named)) == 1
        lake.drop_snapshot(named)
        assert snapshot not in lake.snapshots()

    @pytest.mark.parametrize("name", ["none", "@0123456789abcdef", "NONE", "%"])
    def test_a_missing_snapshot(self, lake: Lake, name: str) -> None:
        lake.create_snapshot("nine")
        for call in _calls(lake):
            with pytest.raises(NotFoundError, match="snapshot"):
                call(name)

    @pytest.mark.parametrize("name", ["", "\ud800", "@", "@zz", "a\0"])
    def test_a_malformed_snapshot(self, lake: Lake, name: str) -> None:
        for call in _calls(lake):
            with pytest.raises(ValidationError):
                call(name)

    @pytest.mark.parametrize("name", [None, b"s", 1.5, ["s"], True])
    def test_something_else(self, lake: Lake, name: Any) -> None:
        lake.create_snapshot("s")
        for call in _calls(lake):
            with pytest.raises(ValidationError):
                call(name)


@needs("versions")
class LookingBack(Conformance):
    """Reading a lake as it was."""

    FEATURE: ClassVar[str] = "looking back"

    def test_every_reading_call(self, lake: Lake, clock: FakeClock) -> None:
        lake.store("a", 1, {"x": 1})
        lake.store("a/b", LARGE, {"x": 2}, ttl=10)
        lake.store("b", b"bytes")
        lake.store("gone", 0, ttl=1)
        clock.advance(1)
        lake.create_snapshot("s")
        then = contents(lake)
        before = lake.entry("a")
        lake.store("a", 2, {"x": 2})
        lake.store("new", 1, {"x": 1})
        del lake["b"]
        clock.advance(60)
        view = lake.at("s")
        assert {e.key: (e.value, e.metadata, e.expires_at) for e in view.list()} == then
        assert view["a"] == view.retrieve("a") == view.get("a") == 1
        assert view.entry("a") == before
        assert view.entry("new") is None
        assert view.get("new") is None
        assert view.retrieve("new", "none") == "none"
        with pytest.raises(NotFoundError):
            view.retrieve("new")
        assert len(view) == 3
        assert list(view) == list(view.keys()) == ["a", "a/b", "b"]
        assert dict(view) == {"a": 1, "a/b": LARGE, "b": b"bytes"}
        assert "b" in view
        assert "gone" not in view
        found = view.retrieve_batch(["b", "new", "a/b"])
        assert dict(found) == {"b": b"bytes", "a/b": LARGE}
        assert found.missing == ["new"]
        assert view.stats().entries == 3

    def test_listing(self, lake: Lake) -> None:
        for number in range(30):
            lake.store(f"k{number:02}", number, {"even": number % 2 == 0})
        lake.create_snapshot("s")
        for number in range(0, 30, 3):
            lake.store(f"k{number:02}", -1, {"even": "changed"})
        lake.delete("k01")
        view = lake.at("s")
        assert [e.value for e in view.list("k1")] == list(range(10, 20))
        assert [e.value for e in view.list(limit=4)] == [0, 1, 2, 3]
        assert [e.value for e in view.list(after="k27")] == [28, 29]
        assert [e.value for e in view.list("k0", after="k03", limit=2)] == [4, 5]
        even = view.list(metadata_filter={"even": True})
        assert [e.value for e in even] == list(range(0, 30, 2))
        assert [e.value for e in view.list(metadata_filter={"even": False}, limit=2)] == [1, 3]
        assert list(view.list(metadata_filter={"even": "changed"})) == []
        assert view.list("k2").to_arrow().num_rows == 10

    @pytest.mark.parametrize("indexed", [False, True])
    def test_filters(self, lake: Lake, indexed: bool) -> None:
        """A filter finds the entries of a snapshot, even if they were replaced or deleted since."""
        kinds = {n: "rare" if n % 100 == 90 else "common" for n in range(1_200)}
        lake.store_batch(
            {"key": f"k/{n:04}", "value": n, "metadata": {"kind": kind, "n": n}}
            for n, kind in kinds.items()
        )
        lake.create_snapshot("before")
        rare = [f"k/{n:04}" for n, kind in kinds.items() if kind == "rare"]
        lake.store_batch(
            {"key": key, "value": 0, "metadata": {"kind": "other"}} for key in rare[::3]
        )
        for key in rare[1::3]:
            lake.delete(key)
        lake.store("k/0000", 0, {"kind": "rare"})
        lake.create_snapshot("after")
        lake.store("k/0001", 0, {"kind": "rare"})
        if indexed:
            lake.maintain()
        for view, wanted in (
            (lake.at("before"), rare),
            (lake.at("after"), ["k/0000", *rare[2::3]]),
            (lake, ["k/0000", "k/0001", *rare[2::3]]),
        ):
            for condition in (
                {"kind": "rare"},
                {"$not": {"kind": {"$in": ["common", "other"]}}},
                {"kind": {"$gt": "other", "$lt": "z"}},
            ):
                keys = [entry.key for entry in view.list(metadata_filter=condition)]
                assert keys == wanted
                some = view.list("k/0", metadata_filter=condition, limit=3, after=keys[1])
                assert [entry.key for entry in some] == [k for k in keys[2:] if k < "k/1"][:3]

    def test_expiry_is_judged_then(self, lake: Lake, clock: FakeClock) -> None:
        lake.store("a", 1, ttl=10)
        lake.store("b", 2, ttl=5)
        clock.advance(5)
        lake.create_snapshot("s")
        clock.advance(5)
        assert list(lake) == []
        assert list(lake.at("s")) == ["a"]
        lake.cleanup_expired()
        lake.store("b", 3)
        assert dict(lake.at("s")) == {"a": 1}
        assert lake.at("s").stats().entries == 1

    def test_it_is_read_only(self, lake: Lake) -> None:
        lake.create_snapshot("s")
        view: Any = lake.at("s")
        for name in ("store", "delete", "store_batch", "transaction", "create_snapshot"):
            assert not hasattr(view, name)
        with pytest.raises(TypeError):
            view["a"] = 1
        with pytest.raises(TypeError):
            del view["a"]

    def test_a_view_prints(self, lake: Lake) -> None:
        lake.create_snapshot("before")
        assert "before" in repr(lake.at("before"))

    @pytest.mark.parametrize("call", READS)
    def test_a_dropped_snapshot(self, lake: Lake, call: str) -> None:
        lake.store("a", 1, {"x": 1})
        lake.create_snapshot("s")
        view = lake.at("s")
        READS[call](view)
        lake.drop_snapshot("s")
        with pytest.raises(NotFoundError, match="dropped"):
            READS[call](view)
        lake.create_snapshot("s")
        with pytest.raises(NotFoundError, match="dropped"):
            READS[call](view)

    def test_a_snapshot_of_nothing_that_is_dropped(self, lake: Lake) -> None:
        lake.create_snapshot("s")
        view = lake.at("s")
        assert list(view) == []
        lake.drop_snapshot("s")
        for call in (list, len):
            with pytest.raises(NotFoundError):
                call(view)

    def test_dropped_while_it_is_listed(self, lake: Lake) -> None:
        expected = [f"k{number:05}" for number in range(3000)]
        lake.store_batch({"key": key, "value": 0} for key in expected)
        lake.create_snapshot("s")
        listed = iter(lake.at("s"))
        first = [next(listed)]  # an event loop may have read on, to the end of the first page
        lake.store_batch({"key": key, "value": 1} for key in expected[1000:])
        lake.drop_snapshot("s")
        lake.maintain()
        rest: list[str] = []
        with pytest.raises(NotFoundError, match="dropped"):
            rest.extend(listed)
        # The entries before the error are right. The listing must raise it, not just end.
        assert first + rest == expected[: len(first + rest)]

    def test_a_value_of_a_dropped_snapshot(self, lake: Lake) -> None:
        lake.store("a", LARGE)
        lake.create_snapshot("s")
        entry = lake.at("s").entry("a")
        assert entry is not None
        lake.store("a", 1)
        lake.drop_snapshot("s")
        lake.maintain()
        assert entry.value == LARGE


def _calls(lake: Lake) -> list[Callable[[Any], object]]:
    return [lake.at, lake.diff, lake.restore, lake.drop_snapshot]
