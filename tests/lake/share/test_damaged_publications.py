"""A publication that is damaged, by accident or on purpose, gives errors and no wrong answer."""

from __future__ import annotations

import json
import random
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import lakebed
from lakebed.errors import (
    ConfigurationError,
    CorruptionError,
    LakebedError,
)
from lakebed.lake.share import publication
from tests.lake.share.publications import fill


@pytest.fixture
def place(tmp_path: Path) -> Path:
    with lakebed.open(tmp_path / "lake") as lake:
        fill(lake)
        lake.publish(tmp_path / "p", search=True)
    return tmp_path / "p"


def files(place: Path) -> tuple[Path, Path, Path]:
    (segment,) = place.parent.glob("p-tables/*/*.segment")
    return place / "entries.parquet", segment.parent / "manifest.json", segment


def test_damage_is_told(place: Path) -> None:
    entries, manifest, segment = files(place)

    def fails(path: Path, data: bytes | None, match: str) -> None:
        good = path.read_bytes()
        path.unlink()
        if data is not None:
            path.write_bytes(data)
        with pytest.raises(CorruptionError, match=match):
            lakebed.open_publication(place)
        path.write_bytes(good)

    good = segment.read_bytes()
    fails(segment, good[:-1] + b"\x01", "its hash is wrong")
    fails(segment, good[:100], "its hash is wrong")
    fails(segment, b"", "its hash is wrong")
    fails(segment, None, "is missing")
    fails(manifest, None, "manifest is missing or damaged")
    fails(manifest, b"{}", "manifest is missing or damaged")
    fails(manifest, b"\xff", "manifest is missing or damaged")
    fails(entries, b"PAR1", "is not part of a publication")
    fails(entries, b"", "is not part of a publication")
    told = json.loads(manifest.read_bytes())
    del told["files"][segment.name]
    manifest.write_text(json.dumps(told))
    with pytest.raises(ConfigurationError, match="has no search index"):
        lakebed.open_publication(place)


def test_entries_that_were_changed_are_told(place: Path) -> None:
    entries, _, _ = files(place)
    metadata = pq.read_metadata(entries).metadata
    table = pq.read_table(entries).replace_schema_metadata(metadata)
    published = lakebed.open_publication(place)
    assert published.search("apple").total

    def write(changed: pa.Table) -> None:
        writer = pq.ParquetWriter(entries, changed.schema, store_schema=False)
        writer.add_key_value_metadata({publication.ID: metadata[publication.ID]})
        writer.write_table(changed)
        writer.close()

    write(table.slice(0, 10))
    with pytest.raises(CorruptionError, match="has 10"):
        lakebed.open_publication(place)
    for column, values in (
        ("value", ["1"] * len(table)),
        ("version", [1] * len(table)),
        ("key", [f"k{n}" for n in range(len(table))]),
        ("key", list(range(len(table)))),
        ("content_hash", ["sha256:zz"] * len(table)),
        ("created_at", ["x"] * len(table)),
        ("updated_at", pa.nulls(len(table), pa.timestamp("us", "UTC"))),
        ("value", pa.nulls(len(table), pa.string())),
        ("metadata", None),
    ):
        number = table.schema.get_field_index(column)
        write(
            table.drop_columns(column)
            if values is None
            else table.set_column(
                number, column, values if isinstance(values, pa.Array) else pa.array(values)
            )
        )
        with pytest.raises(CorruptionError):
            lakebed.open_publication(place).search("pear")
        with pytest.raises(CorruptionError):
            published.search("pear")


def test_a_flipped_bit_of_the_metadata_is_told(place: Path) -> None:
    entries, _, _ = files(place)
    column = pq.read_metadata(entries).row_group(0).column(5)
    assert column.path_in_schema == "metadata"
    data = bytearray(entries.read_bytes())
    start = column.dictionary_page_offset or column.data_page_offset
    data[start + column.total_compressed_size - 5] ^= 1
    entries.write_bytes(data)
    with pytest.raises(CorruptionError, match="cannot be read"):
        lakebed.open_publication(place).search("apple")


def test_damaged_and_missing_tables(place: Path) -> None:
    (table,) = place.parent.glob("p-tables/*/*.parquet")
    published = lakebed.open_publication(place)
    (hit,) = published.search("apple", prefix="table")
    assert hit.entry.storage_uri == table.as_uri()
    table.write_bytes(b"x")
    with pytest.raises(CorruptionError, match="table of 'table' is damaged"):
        hit.value  # noqa: B018 - reads it
    table.unlink()
    with pytest.raises(CorruptionError, match="table of 'table' is missing"):
        hit.value  # noqa: B018


def test_hostile_segments_give_clear_errors(place: Path, soak: bool, record_property: Any) -> None:
    """Any byte of the index may be anything, with a manifest that says so."""
    _, manifest, segment = files(place)
    good, told = segment.read_bytes(), json.loads(manifest.read_bytes())
    rng, count = random.Random(3), 2000 if soak else 250
    outcomes = {"refused": 0, "answered": 0}
    del told["files"][segment.name]
    begin = time.monotonic()
    for _ in range(count):
        bad = bytearray(good)
        for _ in range(rng.choice((1, 1, 2, 50))):
            bad[rng.randrange(len(bad))] = rng.choice((0, 1, 127, 255, rng.randrange(256)))
        if rng.random() < 0.1:
            del bad[rng.randrange(len(bad)) :]
        name = f"{sha256(bad).hexdigest()}.segment"
        path = segment.parent / name
        path.write_bytes(bad)
        manifest.write_text(json.dumps({**told, "files": {**told["files"], name: name[:64]}}))
        try:
            published = lakebed.open_publication(place)
            for query in ("apple pear", "Anna what?", None):
                published.search(query, metadata_filter={"n": {"$gte": 1}}, thread=True)
                published.search(query, prefix="talk/1")
            outcomes["answered"] += 1
        except LakebedError:
            outcomes["refused"] += 1
        path.unlink()
    record_property("hostile segments", f"{outcomes} in {time.monotonic() - begin:.0f} s")
    assert min(outcomes.values()) > 0
