"""Queries over damaged contents: told with the key and the hash, never returned."""

from __future__ import annotations

import io
import json
from pathlib import Path
from random import Random

import pyarrow.parquet as pq
import pytest

import lakebed
from lakebed.errors import CorruptionError
from lakebed.objects.packs import write_pack
from lakebed.values.encoded import Encoded
from tests.lake.upkeep.contents import damage_packed, path_of

ALL = "SELECT key, value FROM documents"
COUNT = 40


def packed(folder: Path) -> lakebed.Lake:
    lake = lakebed.open(folder, inline_threshold=0)
    lake.store_batch({"key": f"a/{n:02}", "value": {"n": n}} for n in range(COUNT))
    lake.store_batch({"key": f"b/{n:02}", "value": {"n": -n}} for n in range(1, COUNT))
    return lake


def forge(path: Path, old: bytes, new: bytes) -> None:
    """Replace a value inside a pack, which stays one that every reader takes for whole."""
    table = pq.read_table(path)
    rows = zip(table["hash_prefix"].to_pylist(), table["value"].to_pylist(), strict=True)
    forged = [
        Encoded("json", new if value == old else value, prefix + bytes(16))
        for prefix, value in rows
    ]
    sink = io.BytesIO()
    write_pack(forged, sink)
    path.write_bytes(sink.getvalue())


@pytest.mark.parametrize("how", ["forge", "flip", "cut", "remove", "swap"])
def test_damage_is_named_and_never_returned(tmp_path: Path, how: str) -> None:
    with packed(tmp_path) as lake:
        if how == "forge":
            forge(path_of(lake, "a/07"), b'{"n":7}', b'{"n":8}')
        else:
            damage_packed(lake, "a/07", how, path_of(lake, "b/07"))
        for query in (ALL, "SELECT sum((value->>'n')::INT) FROM documents"):
            with pytest.raises(CorruptionError, match=r"'a/.*sha256:[0-9a-f]{64}"):
                lake.sql(query).fetchall()
        others = lake.sql(f"{ALL} WHERE key LIKE 'b/%' ORDER BY key").fetchall()
        assert others == [(f"b/{n:02}", f'{{"n":{-n}}}') for n in range(1, COUNT)]
        assert lake.sql("SELECT count(*) FROM documents").fetchall() == [(2 * COUNT - 1,)]


def test_what_is_not_damaged_can_be_read_out_of_the_same_pack(tmp_path: Path) -> None:
    values = {f"a/{n}": Random(n).randbytes(50_000).hex() for n in range(12)}
    with lakebed.open(tmp_path, inline_threshold=0) as lake:
        lake.store_batch({"key": key, "value": value} for key, value in values.items())
        path = path_of(lake, "a/7")
        pages = {entry.key: str(entry.storage_uri).rpartition("-")[0] for entry in lake.list()}
        lost = {key for key, page in pages.items() if page == pages["a/7"]}
        assert len(lost) < len(values)
        offset, length = map(int, pages["a/7"].partition("#")[2].split("-"))
        data = bytearray(path.read_bytes())
        data[offset + length // 2] ^= 1
        path.write_bytes(data)
        with pytest.raises(CorruptionError, match="|".join(lost)):
            lake.sql(ALL)
        for key in lost:
            lake.delete(key)
        found = {key: json.loads(value) for key, value in lake.sql(ALL).fetchall()}
        assert found == {key: value for key, value in values.items() if key not in lost}
