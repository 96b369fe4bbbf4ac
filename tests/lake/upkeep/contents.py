"""The contents that the tests of upkeep make and look at."""

from __future__ import annotations

import io
from pathlib import Path

import pyarrow.parquet as pq

from lakebed.lake.lake import Lake

DAY = 86_400 * 1_000_000  # microseconds
LARGE = "a large value " * 40


def batch(lake: Lake, prefix: str, count: int, text: str = LARGE) -> dict[str, str]:
    values = {f"{prefix}/{number:04}": f"{text}{prefix}{number}" for number in range(count)}
    lake.store_batch([{"key": key, "value": value} for key, value in values.items()])
    return values


def files(lake: Lake) -> set[str]:
    """Return the files of contents, without those of the search index."""
    assert lake._objects is not None
    found = (file.path for prefix in ("objects", "packs") for file in lake._objects.list(prefix))
    return {path for path in found if not path.endswith(".segment")}


def contents_of(lake: Lake, path: str) -> list[bytes]:
    """Return the contents of a file, taken out of its pack."""
    assert lake._objects is not None
    data = lake._objects.read(path)
    if not path.startswith("packs/"):
        return [data]
    values: list[bytes] = pq.read_table(io.BytesIO(data))["value"].to_pylist()
    return values


def path_of(lake: Lake, key: str) -> Path:
    entry = lake.entry(key)
    assert entry is not None
    assert entry.storage_uri is not None
    return Path(entry.storage_uri.removeprefix("file://").partition("#")[0])


def damage_packed(lake: Lake, key: str, how: str, other: Path) -> None:
    """Flip a bit of a packed value, cut its pack in the middle of it, remove the pack, or swap it
    for another one."""
    entry, path = lake.entry(key), path_of(lake, key)
    assert entry is not None
    offset, length, _ = map(int, str(entry.storage_uri).partition("#")[2].split("-"))
    middle, data = offset + length // 2, bytearray(path.read_bytes())
    if how == "flip":
        data[middle] ^= 1
        path.write_bytes(data)
    elif how == "cut":
        path.write_bytes(data[:middle])
    elif how == "remove":
        path.unlink()
    else:
        assert how == "swap"
        path.write_bytes(other.read_bytes())
