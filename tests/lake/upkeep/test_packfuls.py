"""How what goes into packs is cut."""

from __future__ import annotations

from hashlib import sha256

import pytest

from lakebed.lake.upkeep import compacting
from lakebed.lake.upkeep.compacting import _Item, packfuls
from lakebed.model import ObjectRow


def item(data: bytes, number: int = 0) -> _Item:
    row = ObjectRow(number, sha256(data).digest(), "bytes", len(data), data, None, None)
    return _Item(row, None, data)


def test_a_stream_is_cut_into_bounded_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compacting, "PACK_BYTES", 1_000)
    monkeypatch.setattr(compacting, "PACK_OBJECTS", 5)
    items = [item(bytes([i]) * 300) for i in range(7)] + [item(bytes([i])) for i in range(9)]
    parts = list(packfuls(iter(items)))
    assert [each for part in parts for each in part] == items
    assert [len(part) for part in parts] == [3, 3, 5, 5]
    assert list(packfuls([])) == []


def test_no_pack_has_a_hash_twice() -> None:
    items = [item(b"a", 1), item(b"b", 2), item(b"a", 3)]
    assert [[each.row.id for each in part] for part in packfuls(items)] == [[1, 2], [3]]
