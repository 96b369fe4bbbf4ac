"""SQL and Arrow over a catalog, which must supply whole relations for both."""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar

from lakebed.lake.lake import Lake
from lakebed.testing.clock import FakeClock
from lakebed.testing.conformance.base import Conformance, needs


@needs("scan")
class Querying(Conformance):
    """`sql()` and `to_arrow()` give the same entries as a listing."""

    FEATURE: ClassVar[str] = "scanning"

    def test_sql_sees_what_a_listing_sees(self, lake: Lake, clock: FakeClock) -> None:
        lake.store_batch(
            {"key": f"k/{n:03}", "value": {"n": n}, "metadata": {"even": n % 2 == 0}}
            for n in range(300)
        )
        lake.store("short", 1, ttl=60)
        lake.delete("k/007")
        clock.advance(timedelta(seconds=61))
        query = "SELECT key, version, byte_size FROM entries ORDER BY key"
        assert lake.sql(query).fetchall() == [
            (entry.key, entry.version, entry.byte_size) for entry in lake.list()
        ]
        total = "SELECT sum((value->>'n')::INT) FROM documents WHERE (metadata->>'even')::BOOL"
        assert lake.sql(total).fetchall() == [(sum(range(0, 300, 2)),)]
        lake.store("k/007", {"n": 7})
        assert lake.sql("SELECT count(*) FROM entries").fetchall() == [(300,)]

    @needs("versions")
    def test_sql_at_a_snapshot_and_over_changes(self, lake: Lake) -> None:
        lake.store_batch({"key": f"{n}", "value": n} for n in range(5))
        lake.create_snapshot("s")
        lake.store("0", "changed")
        lake.delete("1")
        lake.store("new", 1)
        assert lake.at("s").sql("SELECT count(*) FROM entries").fetchall() == [(5,)]
        rows = lake.sql("SELECT key, change FROM changes('s') ORDER BY key").fetchall()
        assert rows == [("0", "changed"), ("1", "removed"), ("new", "added")]
        names = lake.sql("SELECT name FROM snapshots").fetchall()
        assert names == [("s",)]

    def test_a_listing_as_a_table(self, lake: Lake) -> None:
        lake.store_batch({"key": f"{n}", "value": n, "metadata": {"n": n}} for n in range(5))
        table = lake.list(metadata_filter={"n": {"$gte": 3}}).to_arrow()
        assert table.column("key").to_pylist() == ["3", "4"]
