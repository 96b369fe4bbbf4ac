"""Appending rows to tables. An earlier state of a table is kept as long as a snapshot has it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pyarrow as pa
import pytest

from lakebed.errors import NotFoundError, SerializationError, ValidationError
from lakebed.lake.lake import Lake
from lakebed.testing.clock import FakeClock
from lakebed.testing.conformance.base import Conformance, OpenLake, needs


def numbers(*values: int, **more: Any) -> pa.Table:
    return pa.table({"n": values, "text": [f"row {n}" for n in values], **more})


def rows(lake: Any, key: str = "t") -> list[int]:
    found: list[int] = lake[key].column("n").to_pylist()
    return found


class Appending(Conformance):
    FEATURE = "appending"

    def test_a_table_grows(self, lake: Lake) -> None:
        first = lake.append("t", numbers(1, 2))
        assert (first.created, first.format, first.rows) == (True, "parquet", 2)
        second = lake.append("t", numbers(3))
        assert (second.created, second.changed, second.format) == (False, True, "table")
        assert second.version > first.version
        assert second.rows == 3
        assert lake["t"].equals(pa.concat_tables([numbers(1, 2), numbers(3)]))
        assert lake.verify().problems == []

    @needs("collection")
    def test_many_appends_leave_few_parts(self, lake: Lake) -> None:
        for n in range(30):
            lake.append("t", numbers(n))
        assert rows(lake) == list(range(30))
        assert lake.collect(grace=0).objects > 0
        # Nine parts: 3 of eight appends, 6 of one. Each is a content, and so is their list.
        assert lake.stats(exact=True).objects == 3 + 6 + 1
        assert rows(lake) == list(range(30))
        assert lake.verify().problems == []

    @needs("collection")
    def test_equal_rows_are_appended_again(self, lake: Lake) -> None:
        for _ in range(3):
            lake.append("t", numbers(7))
        assert rows(lake) == [7, 7, 7]
        lake.store("plain", numbers(7))
        lake.delete("t")
        lake.collect(grace=0)
        assert rows(lake, "plain") == [7]
        assert lake.verify().problems == []

    def test_threads_append_side_by_side(self, lake: Lake) -> None:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda n: lake.append("t", numbers(n)), range(20)))
        assert sorted(rows(lake)) == list(range(20))
        assert lake.verify().problems == []

    def test_metadata_and_expiry_stay(self, lake: Lake, clock: FakeClock) -> None:
        stored = lake.store("t", numbers(1), {"kind": "log"}, ttl=timedelta(hours=1))
        clock.advance(60)
        appended = lake.append("t", numbers(2))
        assert (appended.metadata, appended.expires_at) == ({"kind": "log"}, stored.expires_at)
        assert appended.created_at == stored.created_at
        clock.advance(3600)
        again = lake.append("t", numbers(3))
        assert (again.created, again.metadata, again.expires_at) == (True, {}, None)
        assert rows(lake) == [3]

    def test_no_rows(self, lake: Lake) -> None:
        lake.append("t", numbers(1))
        same = lake.append("t", numbers(1).slice(0, 0))
        assert (same.changed, same.rows) == (False, 1)
        assert rows(lake) == [1]

    def test_a_schema_is_checked(self, lake: Lake) -> None:
        lake.append("t", numbers(1))
        before = lake.entry("t")
        for table, words in [
            (numbers(2, more=[1]), "'more' is int64 in the rows and is not in the table 't'"),
            (pa.table({"n": [2]}), "'text' is string in the table 't' and is not in the rows"),
            (pa.table({"n": ["a"], "text": ["b"]}), "'n' is int64 in the table 't' and string in"),
        ]:
            with pytest.raises(ValidationError, match=words):
                lake.append("t", table)
        narrow = pa.table({"n": pa.array([2], pa.int32()), "text": ["b"]})
        with pytest.raises(ValidationError, match=r"'n' is int64 .* int32 .* makes it int64"):
            lake.append("t", narrow)
        assert lake.entry("t") == before

    @needs("compaction")
    def test_a_table_widens(self, lake: Lake) -> None:
        lake.append("t", pa.table({"n": pa.array([1], pa.int32()), "a": ["x"]}))
        lake.append("t", pa.table({"b": [True], "n": pa.array([2**40])}), widen=True)
        wide = lake["t"]
        assert wide.schema.equals(pa.schema({"n": pa.int64(), "a": pa.string(), "b": pa.bool_()}))
        assert wide.to_pylist() == [
            {"n": 1, "a": "x", "b": None},
            {"n": 2**40, "a": None, "b": True},
        ]
        with pytest.raises(ValidationError, match="no type holds the values of both"):
            lake.append("t", pa.table({"n": ["text"]}), widen=True)
        lake.compact()
        assert lake["t"].equals(wide)

    def test_whole_numbers_fit_floats_if_their_values_do(self, lake: Lake) -> None:
        lake.append("t", pa.table({"x": [1.5]}))
        lake.append("t", pa.table({"x": [2]}))
        assert lake["t"].column("x").to_pylist() == [1.5, 2.0]
        with pytest.raises(SerializationError, match="'x' is int64, and its values do not all"):
            lake.append("t", pa.table({"x": [2**53 + 1]}))
        assert lake["t"].num_rows == 2

    @needs("versions", "compaction", "collection")
    def test_a_table_is_partitioned(self, lake: Lake) -> None:
        for n in range(12):
            first = lake.append("t", numbers(n, n + 100, side=["a/b", None]), partition_by="side")
        assert (first.format, first.rows) == ("table", 24)
        lake.create_snapshot("all")
        assert sorted(rows(lake)) == [*range(12), *range(100, 112)]
        with pytest.raises(ValidationError, match="is partitioned by 'side', not by 'n'"):
            lake.append("t", numbers(1, side=["c"]), partition_by="n")
        assert lake.append("t", numbers(1, side=["c"])).rows == 25
        assert lake.compact().parts_joined == 2 * 5
        lake.collect(grace=0)
        assert sorted(rows(lake.at("all"))) == [*range(12), *range(100, 112)]
        side = lake["t"].column("side").to_pylist()
        assert (side.count("a/b"), side.count(None), side.count("c")) == (12, 12, 1)
        assert lake.verify().problems == []

    def test_threads_append_to_partitions(self, lake: Lake) -> None:
        def append(n: int) -> None:
            lake.append("t", numbers(n, -n, side=[n % 3, 7]), partition_by="side")

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(append, range(1, 21)))
        assert sorted(rows(lake)) == [*range(-20, 0), *range(1, 21)]
        assert lake.verify().problems == []

    def test_only_tables(self, lake: Lake) -> None:
        lake.store("text", "a text")
        with pytest.raises(ValidationError, match="'text' holds a value of the format 'json'"):
            lake.append("text", numbers(1))
        with pytest.raises(ValidationError, match=r"rows must be a table.*got list"):
            lake.append("t", [{"n": 1}])
        assert "t" not in lake

    @needs("versions", "compaction", "collection")
    def test_snapshots_keep_what_they_saw(self, lake: Lake) -> None:
        lake.append("t", numbers(1))
        lake.append("t", numbers(2))
        lake.create_snapshot("two")
        for n in range(3, 20):
            lake.append("t", numbers(n))
        lake.compact()
        lake.collect(grace=0)
        assert rows(lake.at("two")) == [1, 2]
        (change,) = lake.diff("two").changed
        assert (change.before.rows, change.after.rows) == (2, 19)
        assert change.details()["rows"] == (2, 19)
        lake.restore("two")
        lake.append("t", numbers(-1))
        assert rows(lake) == [1, 2, -1]
        for snapshot in lake.snapshots():
            lake.drop_snapshot(snapshot.name)
        lake.maintain()
        lake.collect(grace=0)
        assert rows(lake) == [1, 2, -1]
        assert lake.verify().problems == []

    @needs("compaction", "collection")
    def test_compaction_makes_one_table_of_parts(self, lake: Lake) -> None:
        lake.store("t", numbers(0), {"kind": "log"})
        for n in range(1, 12):
            lake.append("t", numbers(n))
        before = lake["t"]
        assert lake.compact(dry_run=True).parts_joined == lake.compact().parts_joined == 5
        entry = lake.entry("t")
        assert entry is not None
        assert (entry.format, entry.rows, entry.metadata) == ("parquet", 12, {"kind": "log"})
        assert lake["t"].equals(before.combine_chunks())
        assert lake.compact().parts_joined == 0
        lake.append("t", numbers(12))
        assert rows(lake) == list(range(13))
        lake.collect(grace=0)
        assert rows(lake) == list(range(13))
        assert lake.stats(exact=True).objects == 3

    @needs("collection")
    def test_what_is_deleted_is_collected(self, lake: Lake) -> None:
        for n in range(5):
            lake.append("t", numbers(n))
        lake.store("other", numbers(3))  # the same content as a part
        lake.delete("t")
        assert lake.collect(grace=0, dry_run=True).objects == lake.collect(grace=0).objects
        assert lake.stats(exact=True).objects == 1
        assert rows(lake, "other") == [3]
        assert lake.verify().problems == []

    @needs("versions", "purge", "collection")
    def test_purge_removes_every_part(self, lake: Lake) -> None:
        for n in range(5):
            lake.append("t", numbers(n))
        lake.create_snapshot("all")
        lake.append("t", numbers(5))
        lake.store("other", numbers(3))
        preview = lake.purge("t", dry_run=True)
        done = lake.purge("t")
        assert (preview.bytes, preview.files) == (done.bytes, done.files)
        with pytest.raises(NotFoundError):
            lake.at("all").retrieve("t")
        assert rows(lake, "other") == [3]
        lake.collect(grace=0)
        assert lake.stats(exact=True).objects == 1
        assert lake.verify().problems == []

    @needs("versions", "collection")
    def test_all_versions_can_be_read(self, opening: OpenLake) -> None:
        lake = opening(history="all")
        for n in range(10):
            lake.append("t", numbers(n))
        lake.collect(grace=0)
        assert [version.rows for version in lake.history("t")] == list(range(10, 0, -1))
        assert [version.value.num_rows for version in lake.history("t")] == list(range(10, 0, -1))

    @needs("compaction")
    def test_values_in_the_catalog(self, opening: OpenLake) -> None:
        """A list of parts stays in the catalog, whatever the threshold, and is never packed."""
        lake = opening(inline_threshold=0)
        for n in range(3):
            lake.append("t", numbers(n))
        entry = lake.entry("t")
        assert entry is not None
        assert entry.inlined
        lake.store_batch([{"key": f"{n}", "value": "x" * 100 + str(n)} for n in range(9)])
        lake.compact(older_than=3600)
        assert rows(lake) == [0, 1, 2]
        assert dict(lake.items())["t"].num_rows == 3
        assert lake.retrieve_batch(["t", "1"])["t"].num_rows == 3
