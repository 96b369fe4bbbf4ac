"""Batches: storing and retrieving many entries in one call."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, ClassVar

import pytest

from lakebed.errors import NotFoundError, SerializationError, ValidationError
from lakebed.lake.entries.batch_run import CHUNK
from lakebed.lake.lake import Lake
from lakebed.testing.clock import FakeClock
from lakebed.testing.conformance.base import Conformance, OpenLake, contents, needs

LARGE = "large " * 2000


def numbered(count: int, value: Any = None) -> Iterator[dict[str, Any]]:
    """Return entries `k00000` and so on. The value of each is its number, or `value`."""
    for number in range(count):
        yield {"key": f"k{number:05}", "value": number if value is None else value}


class StoringBatches(Conformance):
    """`store_batch`, atomic and not."""

    FEATURE: ClassVar[str] = "batches"

    def test_what_a_batch_stores(self, lake: Lake, clock: FakeClock) -> None:
        report = lake.store_batch(
            [
                {"key": "b", "value": LARGE, "metadata": {"m": 1}},
                {"key": "a", "value": b"x", "ttl": 10},
                {"key": "c", "value": None, "expires_at": clock.now + timedelta(seconds=20)},
                {"key": "d", "value": [1], "metadata": None, "ttl": None, "expires_at": None},
            ]
        )
        assert (report.stored, report.created, report.failed) == (4, 4, 0)
        assert contents(lake) == {
            "a": (b"x", {}, clock.now + timedelta(seconds=10)),
            "b": (LARGE, {"m": 1}, None),
            "c": (None, {}, clock.now + timedelta(seconds=20)),
            "d": ([1], {}, None),
        }

    @pytest.mark.parametrize("count", [0, 1, 2, 777, CHUNK, 2 * CHUNK + 1])
    @pytest.mark.parametrize("atomic", [True, False])
    def test_any_number(self, lake: Lake, count: int, atomic: bool) -> None:
        assert lake.store_batch(numbered(count), atomic=atomic).created == count
        assert len(lake) == count
        again = lake.store_batch(numbered(count), atomic=atomic)
        assert (again.created, again.changed, again.unchanged) == (0, 0, count)
        assert again.deduplicated == count
        assert lake.store_batch(numbered(count, "x"), atomic=atomic).changed == count

    def test_created_changed_unchanged(self, lake: Lake, clock: FakeClock) -> None:
        lake.store("same", 1)
        lake.store("metadata", 1)
        lake.store("content", 1)
        lake.store("expired", 1, ttl=1)
        before = lake.entry("same")
        created = clock.now
        clock.advance(1)
        report = lake.store_batch(
            [
                {"key": "same", "value": 1},
                {"key": "metadata", "value": 1, "metadata": {"m": 1}},
                {"key": "content", "value": 2},
                {"key": "expired", "value": 1},
                {"key": "new", "value": 1},
            ]
        )
        assert (report.created, report.changed, report.unchanged) == (2, 2, 1)
        assert report.stored == 5
        assert lake.entry("same") == before
        times = {e.key: (e.created_at, e.updated_at) for e in lake.list()}
        assert times["content"] == times["metadata"] == (created, clock.now)
        assert times["expired"] == times["new"] == (clock.now, clock.now)
        assert len({e.version for e in lake.list()}) == 5

    @needs("versions")
    def test_the_last_of_a_key_wins(self, lake: Lake) -> None:
        batch = [{"key": "k", "value": n, "metadata": {"n": n}} for n in range(10)]
        report = lake.store_batch([*batch, {"key": "j", "value": 1}])
        assert (report.stored, report.created, report.replaced) == (2, 2, 9)
        assert contents(lake)["k"] == (9, {"n": 9}, None)
        assert len(lake.history("k")) == 1

    def test_one_content_many_times(self, opening: OpenLake) -> None:
        lake = opening(inline_threshold=100)
        lake.store("before", LARGE)
        report = lake.store_batch([*numbered(1000, LARGE), {"key": "small", "value": "x"}])
        assert report.deduplicated == 1000
        stats = lake.stats()
        assert (stats.entries, stats.objects) == (1002, 2)
        report = lake.store_batch(numbered(1000, LARGE + "!"))
        assert (report.changed, report.deduplicated) == (1000, 999)

    def test_the_same_bytes_in_two_formats(self, opening: OpenLake) -> None:
        lake = opening(inline_threshold=0)
        lake.store_batch([{"key": "text", "value": LARGE}, {"key": "b", "value": b"x"}])
        encoded = f'"{LARGE}"'.encode()
        batch: list[dict[str, Any]] = [
            {"key": "bytes", "value": encoded},
            {"key": "b", "value": "x"},
            {"key": "both/1", "value": LARGE + "2"},
            {"key": "both/2", "value": f'"{LARGE}2"'.encode()},
        ]
        lake.store_batch(batch)
        assert lake["bytes"] == encoded
        assert (lake["text"], lake["b"]) == (LARGE, "x")
        assert (lake["both/1"], lake["both/2"]) == (LARGE + "2", f'"{LARGE}2"'.encode())

    @pytest.mark.parametrize("atomic", [True, False])
    def test_values_of_all_sizes(self, opening: OpenLake, atomic: bool) -> None:
        lake = opening(inline_threshold=10)
        sizes = [0, 1, 9, 10, 11, 12, 4096, 300_000, (4 << 20) - 3, 4 << 20, (4 << 20) + 1, 5 << 20]
        values: dict[str, Any] = {f"bytes/{size}": b"x" * size for size in sizes}
        values |= {f"text/{size}": "x" * size for size in sizes}
        batch = [{"key": key, "value": value} for key, value in values.items()]
        lake.store_batch(batch, atomic=atomic)
        assert dict(lake) == values
        assert dict(lake.retrieve_batch(values)) == values
        assert lake.store_batch(batch, atomic=atomic).unchanged == len(values)

    def test_a_ttl_counts_from_the_commit(self, lake: Lake, clock: FakeClock) -> None:
        def slow() -> Iterator[dict[str, Any]]:
            yield {"key": "a", "value": 1, "ttl": 10}
            clock.advance(60)
            yield {"key": "b", "value": 1, "ttl": 10}

        lake.store_batch(slow())
        expiries = {e.expires_at for e in lake.list()}
        assert expiries == {clock.now + timedelta(seconds=10)}

    @needs("versions")
    def test_snapshots_see_none_or_all(self, lake: Lake) -> None:
        lake.store_batch(numbered(100))
        lake.create_snapshot("s")
        lake.store_batch(numbered(200, "x"))
        assert dict(lake.at("s")) == {f"k{n:05}": n for n in range(100)}
        found = lake.diff("s")
        assert (len(found.added), len(found.changed)) == (100, 100)

    @pytest.mark.parametrize(
        "entry",
        [
            {"key": "bad"},
            {"value": 1},
            {},
            {"key": "bad", "value": 1, "vlaue": 2},
            {"key": "bad", "value": 1, "if_absent": True},
            {"key": "bad", "value": 1, 5: 5},
            {"key": "", "value": 1},
            {"key": 5, "value": 1},
            {"key": "a\0", "value": 1},
            {"key": "\ud800", "value": 1},
            {"key": "bad", "value": {1}},
            {"key": "bad", "value": float("nan")},
            {"key": "bad", "value": 1, "metadata": [1]},
            {"key": "bad", "value": 1, "metadata": []},
            {"key": "bad", "value": 1, "metadata": ""},
            {"key": "bad", "value": 1, "ttl": 0},
            {"key": "bad", "value": 1, "ttl": "1"},
            {"key": "bad", "value": 1, "expires_at": "tomorrow"},
            "bad",
            None,
            ("bad", 1),
        ],
    )
    def test_a_malformed_entry(self, lake: Lake, entry: Any) -> None:
        batch = [{"key": "good", "value": 1}, entry, {"key": "better", "value": LARGE}]
        with pytest.raises((ValidationError, SerializationError)) as caught:
            lake.store_batch(batch)
        (label,) = caught.value.errors
        assert caught.value.errors[label] is caught.value
        assert label == (entry["key"] if _usable_key(entry) else "entry 2")
        assert len(lake) == 0
        report = lake.store_batch(batch, atomic=False)
        assert (report.stored, report.failed) == (2, 1)
        assert list(report.errors) == [label]
        assert list(lake) == ["better", "good"]

    def test_all_errors_by_key(self, lake: Lake) -> None:
        lake.store("there", 1)
        batch = [*numbered(2000), {"key": "a", "value": {1}}, {"key": "b"}]
        batch += [{"key": "there", "value": 2}, {"key": "a", "value": {2}}, {"value": 1}]
        with pytest.raises(SerializationError) as caught:
            lake.store_batch(batch)
        assert list(caught.value.errors) == ["a", "b", "entry 2005"]
        assert caught.value.errors["a"] is caught.value
        assert dict(lake) == {"there": 1}
        report = lake.store_batch(batch, atomic=False)
        assert (report.stored, report.failed, report.replaced) == (2001, 4, 0)
        assert list(report.errors) == ["a", "b", "entry 2005"]
        assert lake["there"] == 2

    def test_all_entries_are_accounted_for(self, lake: Lake) -> None:
        batch: list[Any] = [{"key": f"k{n % 700}", "value": n} for n in range(2 * CHUNK + 50)]
        batch[5] = batch[CHUNK + 7] = {"key": "bad", "value": {1}}
        report = lake.store_batch(batch, atomic=False)
        assert report.stored == len(lake) == report.created == 700
        assert report.failed == 2
        assert report.stored + report.replaced + report.failed == len(batch)

    @pytest.mark.parametrize("iterable", [None, 5, object()])
    def test_no_iterable(self, lake: Lake, iterable: Any) -> None:
        with pytest.raises(
            ValidationError, match=r"entries must be an iterable, such as a list, got "
        ):
            lake.store_batch(iterable)

    def test_a_generator_that_raises(self, lake: Lake) -> None:
        lake.store("k00001", "before")

        def broken(count: int) -> Iterator[dict[str, Any]]:
            yield from numbered(count)
            yield {"key": "large", "value": LARGE}
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            lake.store_batch(broken(CHUNK + 100))
        assert dict(lake) == {"k00001": "before"}
        with pytest.raises(ZeroDivisionError):
            lake.store_batch(broken(CHUNK + 100), atomic=False)
        assert len(lake) == CHUNK + 101
        assert lake["large"] == LARGE

    def test_a_generator_that_raises_an_error_of_ours(self, lake: Lake) -> None:
        def broken() -> Iterator[dict[str, Any]]:
            yield {"key": "a", "value": 1}
            yield {"key": "b", "value": lake["none"]}

        for atomic, stored in ((True, []), (False, ["a"])):
            with pytest.raises(NotFoundError):
                lake.store_batch(broken(), atomic=atomic)
            assert list(lake) == stored

    @needs("versions")
    @pytest.mark.parametrize("atomic", [True, False])
    def test_a_generator_that_uses_the_lake(self, opening: OpenLake, atomic: bool) -> None:
        lake = opening(inline_threshold=100)
        lake.store("seed", LARGE)

        def busy() -> Iterator[dict[str, Any]]:
            for number in range(CHUNK + 3):
                if number % 1000 == 0:
                    lake.store(f"single/{number}", number)
                    assert lake["seed"] == LARGE
                    inner = [
                        {"key": f"inner/{number}/{n}", "value": LARGE + str(n)} for n in (1, 2)
                    ]
                    assert lake.store_batch(inner).created == 2
                    lake.create_snapshot(f"s{number}")
                    assert next(iter(lake.list("inner/"))).value == LARGE + "1"
                    with lake.transaction() as tx:
                        tx.store(f"tx/{number}", 1)
                # Not for each entry: over a slow network that would take a minute.
                found = lake.get("none") if number % 100 == 0 else None
                yield {"key": f"outer/{number:05}", "value": [number, found]}

        assert lake.store_batch(busy(), atomic=atomic).created == CHUNK + 3
        assert len(lake) == 1 + 6 * 4 + CHUNK + 3
        assert lake["outer/05000"] == [5000, None]
        outer = [len(list(lake.at(s).list("outer/"))) for s in lake.snapshots()]
        assert outer == [0] * 6 if atomic else outer == [0] * 5 + [CHUNK]

    def test_it_is_seen_at_one_moment(self, lake: Lake) -> None:
        seen = set()

        def watched() -> Iterator[dict[str, Any]]:
            for entry in numbered(3000):
                yield entry
                if entry["value"] % 500 == 0:
                    seen.add(len(lake))

        lake.store_batch(watched())
        assert seen == {0}
        assert len(lake) == 3000

    def test_progress(self, lake: Lake) -> None:
        calls: list[tuple[int, int | None]] = []
        note = lambda *call: calls.append(call)  # noqa: E731 - it is one
        lake.store_batch(numbered(250), progress=note)
        assert calls == [(100, None), (200, None), (250, None)]
        calls.clear()
        lake.store_batch(list(numbered(200)), progress=note, atomic=False)
        assert calls == [(100, 200), (200, 200)]
        calls.clear()
        lake.store_batch([], progress=note)
        assert calls == []

    def test_progress_that_breaks_off(self, lake: Lake) -> None:
        def stop(done: int, total: int | None) -> None:
            raise ZeroDivisionError(done, total)

        with pytest.raises(ZeroDivisionError):
            lake.store_batch(numbered(1000), progress=stop)
        assert len(lake) == 0


class RetrievingBatches(Conformance):
    """`retrieve_batch`."""

    FEATURE: ClassVar[str] = "retrieving batches"

    def test_found_and_missing(self, opening: OpenLake, clock: FakeClock) -> None:
        lake = opening(inline_threshold=100)
        lake.store("inline", None)
        lake.store("object", LARGE)
        lake.store_batch([{"key": f"pack/{n}", "value": LARGE + str(n)} for n in range(3)])
        lake.store("expired", 1, ttl=1)
        clock.advance(1)
        wanted = ["pack/2", "none", "inline", "expired", "object", "pack/0", "inline"]
        found = lake.retrieve_batch(iter(wanted))
        assert list(found) == ["pack/2", "inline", "object", "pack/0"]
        assert found["inline"] is None
        assert found["object"] == LARGE
        assert found["pack/2"] == LARGE + "2"
        assert list(found.missing) == ["none", "expired"]
        assert found.errors == {}
        assert len(found) == 4
        assert "none" not in found
        assert found.get("none", 5) == 5
        with pytest.raises(KeyError):
            found["none"]
        assert "4 values, 2 missing, 0 errors" in repr(found)

    def test_none(self, lake: Lake) -> None:
        found = lake.retrieve_batch([])
        assert (dict(found), list(found.missing), found.errors) == ({}, [], {})

    def test_many_keys(self, opening: OpenLake) -> None:
        lake = opening(inline_threshold=0)
        lake.store_batch(numbered(3000))
        wanted = [f"k{number:05}" for number in range(2999, -1, -1)]
        found = lake.retrieve_batch(wanted)
        assert list(found.items()) == [(key, int(key[1:])) for key in wanted]

    @pytest.mark.parametrize("key", ["", 5, None, "\ud800"])
    def test_a_malformed_key_of_many(self, lake: Lake, key: Any) -> None:
        with pytest.raises(ValidationError):
            lake.retrieve_batch(["a", key])


def _usable_key(entry: Any) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("key"), str) and bool(entry["key"])
