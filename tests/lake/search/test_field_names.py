"""Field names in the index of lakes whose segments were built before there were any."""

from __future__ import annotations

from pathlib import Path

import pytest

import lakebed
from lakebed.search import building, format


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize("stored", [False, True])
def test_segments_without_field_names_are_built_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, read_only: bool, stored: bool
) -> None:
    catalog = f"sqlite:///{tmp_path}/catalog.db"
    storage = tmp_path / "storage" if stored else None
    with monkeypatch.context() as older:
        older.setattr(format, "VERSION", 1)
        older.setattr(building, "name_words", lambda _: set())
        with lakebed.open(catalog=catalog, storage=storage) as lake:
            lake.store("a", {"tea": "oolong"})
            lake.store("b", "green tea")
            lake.create_snapshot("s")
            lake.delete("b")
            lake.maintain()
            old = [row.id for row in lake._catalog.segments()]
            assert old
            assert [hit.key for hit in lake.search("tea")] == []
    with lakebed.open(catalog=catalog, storage=storage, read_only=read_only) as lake:
        for _ in range(2):
            assert [hit.key for hit in lake.search("tea")] == ["a"]
            assert [hit.key for hit in lake.at("s").search("tea")] == ["b", "a"]
            if not read_only:
                lake.maintain()
                assert set(old).isdisjoint(row.id for row in lake._catalog.segments())
