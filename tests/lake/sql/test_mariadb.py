"""Queries over a catalog that has no faster way to Arrow and keeps no rows: row by row."""

from __future__ import annotations

from pathlib import Path

import lakebed
from tests.servers import MariaDBServer


def test_all_tables(mariadb: MariaDBServer, tmp_path: Path) -> None:
    with lakebed.open(
        catalog=mariadb.url("queries"), storage=tmp_path, inline_threshold=40
    ) as lake:
        lake.store_batch({"key": f"k{n}", "value": [n, "x" * 50]} for n in range(50))
        lake.store("small", {"a": None}, {"m": "é"}, ttl=3600)
        lake.create_snapshot("then")
        lake.delete("k0")
        for _ in range(2):
            total = "SELECT count(*), sum((value->>'$[0]')::INTEGER) FROM documents"
            assert lake.sql(total).fetchall() == [(50, 1225)]
        found = lake.sql("SELECT key FROM entries WHERE (metadata->>'m') = 'é'").fetchall()
        assert found == [("small",)]
        assert lake.sql("SELECT count(*) FROM entries_at('then')").fetchall() == [(51,)]
        assert lake.sql("FROM changes('then', NULL)").fetchall()[0][:2] == ("k0", "removed")
        ended = lake.sql("SELECT key FROM history WHERE ended_at IS NOT NULL").fetchall()
        assert ended == [("k0",)]
        assert lake.sql("SELECT count(*) FROM objects").fetchall() == [(51,)]
