"""Vectors as bytes: int8 codes for each document, and their similarity to the vector of a question.

A vector of length 1 is `codes * scale`. `codes` are whole numbers from -127 to 127, and `scale` is
one over their length. A scale of 0 means that there is no vector.

A document's similarity is bit-identical in every block and segment, and with every library of
linear algebra. That is because the question consists of whole numbers too. Products and sums of
whole numbers below 2 ** 24 are exact in float32, in any order.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lakebed.errors import ValidationError

Codes = NDArray[np.int8]
Scales = NDArray[np.float32]

_MOST = 127
_PARTS = 128  # the factor of the upper part of a question's number
_EXACT_COLUMNS = 2**24 // (_MOST * _MOST)
_BLOCK_BYTES = 1 << 19  # the float32 copy of a block stays in the processor's cache


class _Question(NamedTuple):
    """A question's vector in whole numbers, and its length. Each number is `upper * 128 + lower`,
    and the two parts are two columns."""

    parts: NDArray[np.float32]
    length: float


def quantise(matrix: NDArray[np.floating]) -> tuple[Codes, Scales]:
    """Return the codes and scales of the rows of a matrix. A row of zeros gets the scale 0.

    Each result depends only on its own row. Raises ValidationError unless the argument is a matrix
    of finite numbers.
    """
    rows = _finite(matrix, 2)
    codes = np.empty(rows.shape, np.int8)
    scales = np.zeros(len(rows), np.float32)
    step = max(_BLOCK_BYTES // (8 * max(rows.shape[1], 1)), 1)
    for start in range(0, len(rows), step):
        block = rows[start : start + step].astype(np.float64)
        codes[start : start + step] = found = _whole(block, _MOST)
        squares = np.einsum("ij,ij->i", found, found)  # sums of whole numbers, so exact
        lengths = np.sqrt(squares)
        np.divide(1.0, lengths, out=lengths, where=squares > 0)
        scales[start : start + step] = lengths
    return codes, scales


def similarities(codes: Codes, scales: Scales, query: NDArray[np.floating]) -> Scales:
    """Return the cosine of the angle between each vector and the query's, from -1 to 1.

    It is 0 where there is no vector. `codes` and `scales` are those of `quantise`. They can be
    read-only views of a file, which are read in blocks and take half a megabyte of memory. Raises
    ValidationError if the query has another dimension or is not finite.
    """
    count, dimension = codes.shape
    if np.shape(query) != (dimension,):
        raise ValidationError(f"query: must have shape ({dimension},), got {np.shape(query)}")
    question = _question(query)
    found = np.zeros(count, np.float32)
    if not question.length:
        return found
    step = max(_BLOCK_BYTES // (4 * max(dimension, 1)), 1)
    buffer = np.empty((min(step, count), dimension), np.float32)
    for start in range(0, count, step):
        block = codes[start : start + step]
        floats = buffer[: len(block)]
        np.copyto(floats, block)
        cosines = _products(floats, question.parts)
        cosines /= question.length
        cosines *= scales[start : start + step]
        np.clip(cosines, -1.0, 1.0, out=cosines)
        found[start : start + step] = cosines
    return found


def _products(block: NDArray[np.float32], parts: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the exact products of each row with the question."""
    result = np.zeros(len(block))
    for start in range(0, block.shape[1], _EXACT_COLUMNS):
        end = start + _EXACT_COLUMNS
        both = block[:, start:end] @ parts[start:end]
        result += both[:, 0].astype(np.float64) * _PARTS
        result += both[:, 1]
    return result


def _question(query: NDArray[np.floating]) -> _Question:
    """Return the query in numbers of 15 bits. The documents' numbers have only 8."""
    row = _finite(query, 1).astype(np.float64)
    whole = _whole(row[np.newaxis], _MOST * _PARTS)[0]
    upper = np.rint(whole / _PARTS)
    parts = np.stack((upper, whole - upper * _PARTS), axis=1).astype(np.float32)
    return _Question(parts, float(np.sqrt(np.dot(whole, whole))))


def _whole(rows: NDArray[np.float64], most: int) -> NDArray[np.float64]:
    """Return each row in whole numbers, scaled so that its largest number is `most`."""
    largest = np.abs(rows).max(axis=1, initial=0.0, keepdims=True)
    unit = np.divide(rows, largest, out=np.zeros_like(rows), where=largest > 0)
    whole: NDArray[np.float64] = np.rint(unit * most)
    return whole


def _finite(given: NDArray[np.floating], dimensions: int) -> NDArray[np.floating]:
    array = np.asarray(given)
    if array.ndim != dimensions or array.dtype.kind != "f":
        kind = "matrix" if dimensions == 2 else "vector"
        raise ValidationError(f"must be a {kind} of floats, got {array.dtype} of {array.shape}")
    if not np.isfinite(array).all():
        raise ValidationError("vectors must be finite, got NaN or infinity")
    return array
