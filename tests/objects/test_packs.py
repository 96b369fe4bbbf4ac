"""Packs: what is written comes back, by range and by other Parquet readers; damage is told."""

from __future__ import annotations

import errno
import io
import random
import subprocess
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakebed.errors import CorruptionError
from lakebed.objects import packs
from lakebed.objects.packs import Position, read_value, read_values, write_pack
from lakebed.objects.store import Range, ReadResult
from lakebed.values.encoded import Encoded


class Bytes:
    """A store of one file in memory that counts its reads."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.reads: list[tuple[int, int]] = []

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        assert path == "p"
        assert length is not None
        self.reads.append((offset, length))
        return self.data[offset : offset + length]

    def read_many(self, ranges: Sequence[Range]) -> list[ReadResult]:
        return [self.read(*wanted) for wanted in ranges]


def values_of(store: Bytes, positions: Iterable[Position]) -> dict[Position, ReadResult]:
    """The values of the one pack."""
    return {place: value for _, place, value in read_values(store, {"p": positions})}


def encoded(data: bytes, kind: str = "bytes") -> Encoded:
    return Encoded(kind, data, sha256(data).digest())


def packed(objects: list[Encoded]) -> tuple[Bytes, dict[bytes, Position]]:
    sink = io.BytesIO()
    positions = write_pack(objects, sink)
    return Bytes(sink.getvalue()), positions


def text_values(count: int, size: int) -> list[Encoded]:
    rng = random.Random(count * 31 + size)
    words = ["lake", "bed", "memory", "hash", "page", "zebra", "quick"]
    return [
        encoded(f"{i} ".encode() + " ".join(rng.choices(words, k=size // 6)).encode())
        for i in range(count)
    ]


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=80))
def test_what_is_written_is_read(values: list[bytes]) -> None:
    objects = [encoded(value) for value in values]
    store, positions = packed(objects)
    assert set(positions) == {item.content_hash for item in objects}
    for item in objects:
        assert read_value(store, "p", positions[item.content_hash]) == item.data
    read = values_of(store, positions.values())
    assert {read[positions[item.content_hash]] for item in objects} == set(values)


@pytest.mark.parametrize(
    ("count", "size"),
    [
        (1, 0),
        (20_001, 0),  # many rows in little room
        (3_000, 470),
        (60, 20_000),
        (5, packs.PAGE_BYTES + 1),
        (3, packs.MAX_VALUE_BYTES - 8),
    ],
)
def test_pages_of_every_shape(count: int, size: int) -> None:
    objects = text_values(count, size)
    store, positions = packed(objects)
    for item in objects[:: max(1, count // 200)]:
        assert read_value(store, "p", positions[item.content_hash]) == item.data
    read = values_of(store, positions.values())
    assert all(read[positions[item.content_hash]] == item.data for item in objects)


def test_incompressible_values() -> None:
    rng = random.Random(5)
    objects = [encoded(rng.randbytes(50_000)) for _ in range(20)]
    store, positions = packed(objects)
    for item in objects:
        assert read_value(store, "p", positions[item.content_hash]) == item.data


def test_other_readers_see_a_sorted_parquet_file(tmp_path: Path) -> None:
    objects = [*text_values(2_000, 470), encoded(b'{"a":1}', "json")]
    file = tmp_path / "pack.parquet"
    with file.open("wb") as sink:
        write_pack(objects, sink)
    expected = sorted((item.content_hash[:16], item.format, item.data) for item in objects)
    rows = duckdb.read_parquet(str(file)).fetchall()
    assert rows == expected
    table = pq.read_table(file)
    assert table.column_names == ["hash_prefix", "format", "value"]
    assert table.to_pylist()[7] == dict(zip(table.column_names, expected[7], strict=True))
    low, high = expected[0][0], expected[-1][0]
    group = pq.ParquetFile(file).metadata.row_group(0).column(0).statistics
    assert group.min == low
    assert group.max < high


def test_a_point_read_is_one_short_range() -> None:
    objects = text_values(5_000, 470)
    store, positions = packed(objects)
    assert len(store.data) > 3 * packs.PAGE_BYTES // 4
    position = positions[objects[99].content_hash]
    read_value(store, "p", position)
    assert store.reads == [(position.offset, position.length)]
    assert position.length < packs.PAGE_BYTES


def test_many_values_take_few_reads_and_each_page_once(monkeypatch: pytest.MonkeyPatch) -> None:
    objects = text_values(5_000, 470)
    store, positions = packed(objects)
    pages = {position[:2] for position in positions.values()}
    assert len(pages) > 4
    values_of(store, positions.values())
    assert len(store.reads) == 1
    first, last = min(pages), max(pages)
    monkeypatch.setattr(packs, "_MERGE_GAP", 10)
    store.reads.clear()
    ends = [place for place in positions.values() if place[:2] in (first, last)]
    values_of(store, ends)
    assert store.reads == [first, last]
    monkeypatch.setattr(packs, "_MERGE_BYTES", 60_000)
    store.reads.clear()
    values_of(store, positions.values())
    assert store.reads == sorted(pages)


def test_reading_nothing_reads_nothing() -> None:
    store = Bytes(b"")
    assert values_of(store, []) == {}
    assert store.reads == []


def test_a_damaged_page_does_not_hide_the_others() -> None:
    objects = text_values(5_000, 470)
    store, positions = packed(objects)
    bad = sorted({position[:2] for position in positions.values()})[1]
    store.data = store.data[: bad[0]] + b"\0" * 40 + store.data[bad[0] + 40 :]
    by_position = {positions[item.content_hash]: item.data for item in objects}
    for position, value in values_of(store, positions.values()).items():
        if position[:2] == bad:
            assert isinstance(value, CorruptionError)
        else:
            assert value == by_position[position]


@given(st.randoms(use_true_random=False), st.integers(1, 40))
def test_flipped_bits_and_cuts_never_escape(rng: random.Random, flips: int) -> None:
    store, positions = _SAMPLE
    data = bytearray(store.data)
    for _ in range(flips):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    damaged = Bytes(bytes(data[: rng.choice([len(data), rng.randrange(len(data))])]))
    for position in rng.sample(sorted(positions.values()), 20):
        with suppress(CorruptionError):
            assert isinstance(read_value(damaged, "p", position), bytes)
    for result in values_of(damaged, positions.values()).values():
        assert isinstance(result, bytes | CorruptionError)


@given(st.tuples(*[st.integers(0, 1 << 20)] * 3))
def test_wrong_positions_are_corruption(place: tuple[int, int, int]) -> None:
    store, positions = _SAMPLE
    position = Position(*place)
    if position not in positions.values():
        with pytest.raises(CorruptionError):
            read_value(store, "p", position)


def test_a_start_past_the_page_is_corruption() -> None:
    store, positions = _SAMPLE
    position = next(iter(positions.values()))
    for start in (position.start + 1, packs.PAGE_BYTES - 1, 10**9):
        with pytest.raises(CorruptionError, match="holds no value"):
            read_value(store, "p", position._replace(start=start))


def test_a_frame_that_claims_too_much_is_not_believed() -> None:
    # A valid frame header: single segment, 8-byte content size of 2**60.
    frame = b"\x28\xb5\x2f\xfd\xe0" + (2**60).to_bytes(8, "little") + bytes(50)
    with pytest.raises(CorruptionError, match="is damaged"):
        read_value(Bytes(frame), "p", Position(0, len(frame), 0))


@given(st.tuples(st.integers(0, 10**15 - 1), *[st.integers(0, 10**8 - 1)] * 2))
def test_positions_as_text(place: tuple[int, int, int]) -> None:
    assert Position.parse(str(Position(*place))) == Position(*place)


@pytest.mark.parametrize(
    "text", ["", "1-2", "1-2-3-4", "a-b-c", "1-2--3", "1-2-3\n", "1-999999999-2", "1-2-\u0663"]
)
def test_other_text_is_no_position(text: str) -> None:
    with pytest.raises(CorruptionError):
        Position.parse(text)


def test_what_no_pack_can_hold() -> None:
    with pytest.raises(ValueError, match="at least one object"):
        write_pack([], io.BytesIO())
    with pytest.raises(ValueError, match="too large"):
        write_pack([encoded(bytes(packs.MAX_VALUE_BYTES + 1))], io.BytesIO())


def test_a_full_disk_is_an_oserror() -> None:
    class Full(io.BytesIO):
        def write(self, _data: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left") as raised:
        write_pack(text_values(10, 470), Full())
    assert raised.value.errno == errno.ENOSPC


def test_reading_loads_no_pyarrow() -> None:
    code = "import sys, lakebed.objects.packs as p; sys.exit('pyarrow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_writing_loads_no_pandas() -> None:
    """Arrow does for some of its calls, where it is installed: half a second."""
    code = """
import io, sys
from lakebed.objects.packs import write_pack
from lakebed.values.encoded import Encoded
write_pack([Encoded("json", b"1", b"x" * 32), Encoded("bytes", b"", b"y" * 32)], io.BytesIO())
assert "pyarrow" in sys.modules
assert "pandas" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


_SAMPLE = packed(text_values(1_500, 470))
