"""Vectors in bytes: how near they stay to what they stand for, and the same wherever they lie."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from lakebed.errors import ValidationError
from lakebed.search import vectors
from lakebed.search.vectors import quantise, similarities

_numbers = st.floats(-(2.0**100), 2.0**100, width=32)
_matrices = arrays.arrays(
    np.float32, st.tuples(st.integers(0, 30), st.integers(1, 20)), elements=_numbers
)


def _random(count: int, dimension: int, seed: int = 1) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((count, dimension), dtype=np.float32)


def _cosines(matrix: NDArray[np.float32], query: NDArray[np.float32]) -> NDArray[np.float64]:
    rows = matrix.astype(np.float64)
    question = query.astype(np.float64)
    return (rows @ question) / (np.linalg.norm(rows, axis=1) * np.linalg.norm(question))


@pytest.mark.parametrize("dimension", [2, 384, 1024, 3072])
def test_near_the_true_cosines(dimension: int) -> None:
    matrix, query = _random(500, dimension), _random(1, dimension, seed=2)[0]
    found = similarities(*quantise(matrix), query)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, _cosines(matrix, query), atol=0.006)


def test_a_tenth_of_the_best_ten_at_most_changes() -> None:
    matrix, query = _random(20_000, 384), _random(1, 384, seed=2)[0]
    best = set(np.argsort(-_cosines(matrix, query))[:10].tolist())
    found = set(np.argsort(-similarities(*quantise(matrix), query))[:10].tolist())
    assert len(best & found) >= 9


@given(_matrices)
def test_each_vector_is_nearest_to_itself(matrix: NDArray[np.float32]) -> None:
    codes, scales = quantise(matrix)
    for row, scale, code in zip(matrix, scales, codes, strict=True):
        own = similarities(code[np.newaxis], scale[np.newaxis], row)[0]
        if row.any():
            assert own > 0.98
            assert np.linalg.norm(code.astype(np.float64) * scale) == pytest.approx(1, abs=1e-6)
        else:
            assert own == 0 == scale


@given(_matrices, st.data())
def test_a_row_depends_on_itself_alone(matrix: NDArray[np.float32], data: st.DataObject) -> None:
    order = np.array(data.draw(st.permutations(range(len(matrix)))), np.int64)
    codes, scales = quantise(matrix)
    for other_codes, other_scales in (
        quantise(matrix[order]),
        quantise(np.asfortranarray(matrix)[order]),
    ):
        np.testing.assert_array_equal(other_codes, codes[order])
        np.testing.assert_array_equal(other_scales, scales[order])


@pytest.mark.parametrize("dimension", [3, 384, 2100])
@pytest.mark.parametrize("block_bytes", [1, 5_000, 70_000, 1 << 22])
def test_bit_identical_whatever_the_blocks(
    dimension: int, block_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    matrix, query = _random(700, dimension), _random(1, dimension, seed=2)[0]
    codes, scales = quantise(matrix)
    whole = similarities(codes, scales, query)
    monkeypatch.setattr(vectors, "_BLOCK_BYTES", block_bytes)
    again = similarities(codes, scales, query)
    assert again.tobytes() == whole.tobytes()
    assert quantise(matrix)[0].tobytes() == codes.tobytes()


@pytest.mark.parametrize("dimension", [7, 384, 2100])
def test_bit_identical_wherever_a_vector_lies(dimension: int) -> None:
    codes, scales = quantise(_random(300, dimension))
    query = _random(1, dimension, seed=2)[0]
    whole = similarities(codes, scales, query)
    alone = [
        similarities(codes[row : row + 1], scales[row : row + 1], query)[0] for row in range(300)
    ]
    assert np.array(alone).tobytes() == whole.tobytes()
    backwards = similarities(codes[::-1], scales[::-1], query)[::-1]
    assert backwards.tobytes() == whole.tobytes()


def test_the_extreme_sums_are_exact() -> None:
    """All numbers at their largest: the sums that come nearest to what float32 holds exactly."""
    dimension = 4 * vectors._EXACT_COLUMNS + 3
    codes = np.full((3, dimension), 127, np.int8)
    codes[1] = -127
    codes[2, ::2] = -127
    scales = (1 / np.linalg.norm(codes.astype(np.float64), axis=1)).astype(np.float32)
    found = similarities(codes, scales, np.full(dimension, 0.3, np.float32))
    np.testing.assert_allclose(found, [1, -1, -1 / dimension], rtol=1e-6)


def test_read_only_maps_of_a_file(tmp_path: Path) -> None:
    codes, scales = quantise(_random(2_000, 64))
    query = _random(1, 64, seed=2)[0]
    for name, array in (("codes", codes), ("scales", scales)):
        array.tofile(tmp_path / name)
    mapped_codes = np.memmap(tmp_path / "codes", np.int8, "r").reshape(2_000, 64)
    mapped_scales = np.memmap(tmp_path / "scales", np.float32, "r")
    found = similarities(mapped_codes, mapped_scales, query)
    assert found.tobytes() == similarities(codes, scales, query).tobytes()


def test_no_vector_and_no_question_have_similarity_0() -> None:
    matrix = _random(3, 8)
    matrix[1] = 0
    codes, scales = quantise(matrix)
    found = similarities(codes, scales, matrix[0])
    assert (found != 0).tolist() == [True, False, True]
    assert similarities(codes, scales, np.zeros(8, np.float32)).tolist() == [0, 0, 0]


def test_no_documents() -> None:
    codes, scales = quantise(np.empty((0, 8), np.float32))
    assert (codes.shape, scales.shape) == ((0, 8), (0,))
    assert similarities(codes, scales, np.ones(8, np.float32)).shape == (0,)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_refuses_what_is_not_finite(bad: float) -> None:
    matrix = _random(3, 8)
    codes, scales = quantise(matrix)
    matrix[2, 5] = bad
    with pytest.raises(ValidationError, match="finite"):
        quantise(matrix)
    with pytest.raises(ValidationError, match="finite"):
        similarities(codes, scales, matrix[2])


def test_refuses_another_dimension_or_type() -> None:
    codes, scales = quantise(_random(3, 8))
    with pytest.raises(ValidationError, match=r"must have shape \(8,\), got \(9,\)"):
        similarities(codes, scales, np.ones(9, np.float32))
    with pytest.raises(ValidationError, match="vector of floats, got int64"):
        similarities(codes, scales, np.ones(8, np.int64))
    with pytest.raises(ValidationError, match="matrix of floats"):
        quantise(np.ones(8, np.float32))
