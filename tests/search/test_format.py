"""A file that is no segment of this version is told by one error, whatever is wrong with it."""

from __future__ import annotations

import struct
from contextlib import suppress
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lakebed.search.building import SegmentBuilder
from lakebed.search.format import VERSION, Header, UnreadableSegmentError, read, write
from lakebed.search.segment import Segment
from tests.search.strategies import document, segment

ARRAYS = {
    "bytes": np.arange(5, dtype=np.uint8),
    "codes": np.arange(-6, 6, dtype=np.int8).reshape(3, 4),
    "numbers": np.array([2**63 - 1, -1], np.int64),
    "empty": np.empty((0, 3), np.float32),
    "hashes": np.array([2**64 - 1], np.uint64),
}


def built() -> bytes:
    documents = [document(n + 1, f"a/{n}", f"apple {n}", {"n": n}, "ann") for n in range(5)]
    builder = SegmentBuilder()
    builder.add(documents)
    return builder.data()


GOOD = built()
HEADER_END = 12 + struct.unpack_from("<I", GOOD, 8)[0]


def with_header(header: Any) -> bytes:
    text = header if isinstance(header, bytes) else orjson.dumps(header)
    return GOOD[:8] + struct.pack("<I", len(text)) + text + b"\0" * 1000


def opens_or_is_unreadable(data: bytes) -> None:
    with suppress(UnreadableSegmentError):
        Segment(memoryview(data))


def test_what_is_written_is_read() -> None:
    data = write(Header(3, "some"), ARRAYS)
    header, arrays = read(memoryview(data))
    assert header == Header(3, "some")
    assert list(arrays) == list(ARRAYS)
    for name, array in arrays.items():
        assert array.dtype == ARRAYS[name].dtype
        assert array.shape == ARRAYS[name].shape
        assert np.array_equal(array, ARRAYS[name])
        assert array.ctypes.data % array.itemsize == 0


@pytest.mark.parametrize("end", [0, 1, 7, 8, 11, 12, 13, HEADER_END - 1, HEADER_END])
def test_a_file_that_is_cut_off(end: int) -> None:
    with pytest.raises(UnreadableSegmentError):
        Segment(memoryview(GOOD[:end]))


def test_a_newer_version_says_so() -> None:
    newer = {"version": VERSION + 1, "anything": "else"}
    with pytest.raises(UnreadableSegmentError, match=rf"got {VERSION + 1}"):
        read(memoryview(with_header(newer)))


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[" * 5000,
        [],
        None,
        7,
        {},
        {"version": VERSION},
        {"version": VERSION, "documents": 1, "embedder": None, "arrays": []},
        {"version": VERSION, "documents": 1, "embedder": None, "arrays": None},
        {"version": VERSION, "documents": 1, "embedder": None, "arrays": {}},
        {"version": VERSION, "documents": 1, "embedder": None, "arrays": {"key": 7}},
        {"version": VERSION, "documents": 1, "embedder": None, "arrays": {"key": ["|u1", [1]]}},
        *(
            {"version": VERSION, "documents": 1, "embedder": None, "arrays": {"key": place}}
            for place in (
                ["|O", [1], 0],
                ["|u1", [-1], 0],
                ["|u1", [2**62, 2**62], 0],
                ["|u1", [2**63 - 1], 0],
                ["|u1", ["x"], 0],
                ["|u1", 3, 0],
                ["|u1", [1], -1],
                ["|u1", [1], 2**63 - 1],
                ["|u1", [1], 10**9],
                ["|u1", [1], None],
                [[], [1], 0],
                [{}, [1], 0],
            )
        ),
    ],
)
def test_a_header_that_is_malformed(header: Any) -> None:
    with pytest.raises(UnreadableSegmentError):
        Segment(memoryview(with_header(header)))


def test_another_file() -> None:
    with pytest.raises(UnreadableSegmentError, match="not a segment"):
        read(memoryview(b"PAR1" + GOOD))


@given(st.integers(0, HEADER_END - 1), st.integers(0, 255))
@example(8, 255)
@example(11, 255)
def test_a_byte_of_the_header_that_flips(place: int, byte: int) -> None:
    data = bytearray(GOOD)
    data[place] = byte
    opens_or_is_unreadable(bytes(data))


@given(st.lists(st.tuples(st.integers(12, HEADER_END - 1), st.integers(0, 255)), max_size=20))
def test_bytes_of_the_header_that_flip(flips: list[tuple[int, int]]) -> None:
    data = bytearray(GOOD)
    for place, byte in flips:
        data[place] = byte
    opens_or_is_unreadable(bytes(data))


def test_each_array_is_needed() -> None:
    header = orjson.loads(GOOD[12:HEADER_END])
    for name in header["arrays"]:
        rest = {key: place for key, place in header["arrays"].items() if key != name}
        with pytest.raises(UnreadableSegmentError):
            Segment(memoryview(with_header(header | {"arrays": rest})))


def test_no_documents() -> None:
    assert len(segment([])) == 0
