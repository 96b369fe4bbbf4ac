"""Postings: sorted pairs of byte strings, each with its documents."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]
Pair = tuple[bytes, bytes]


class Texts:
    """Many byte strings in one array, with the offset of each."""

    __slots__ = ("_blob", "_offsets")

    def __init__(self, blob: NDArray[np.uint8], offsets: NDArray[np.uint32]) -> None:
        self._blob = blob
        self._offsets = offsets

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __getitem__(self, number: int) -> bytes:
        return self._blob[self._offsets[number] : self._offsets[number + 1]].tobytes()

    def all(self) -> list[bytes]:
        """Return all byte strings, in order."""
        data = self._blob.tobytes()
        return [data[start:end] for start, end in pairwise(self._offsets.tolist())]


def join(name: str, texts: Sequence[bytes]) -> dict[str, NDArray[Any]]:
    """Return the two arrays of `Texts`, called `{name}` and `{name}_offsets`."""
    blob = np.frombuffer(b"".join(texts), np.uint8)
    return {name: blob, f"{name}_offsets": offsets([len(text) for text in texts])}


def offsets(lengths: Sequence[int] | NDArray[np.integer[Any]]) -> NDArray[np.uint32]:
    """Return where each of several consecutive parts begins, and where the last one ends."""
    found = np.zeros(len(lengths) + 1, np.uint32)
    np.cumsum(lengths, out=found[1:])
    return found


def order_by(first: NDArray[np.int64], second: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """Return the order by `first`, then by `second` if given. All numbers are below 2**32.

    The sort is stable. It goes 16 bits at a time, because NumPy sorts these by radix. That takes a
    third of the time of sorting whole numbers.
    """
    order: NDArray[np.int64] | None = None
    for column in (second, first):
        if (
            column is None
            or len(column) < 2
            or (order is None and bool((column[1:] >= column[:-1]).all()))
        ):
            continue
        for shift in (0, 16):
            if shift and not int(column.max()) >> shift:
                break
            digits = ((column >> shift) & 0xFFFF).astype(np.uint16)
            if order is None:
                order = np.argsort(digits, kind="stable")
            else:
                order = order[np.argsort(digits[order], kind="stable")]
    return np.arange(len(first)) if order is None else order


class PostingsBuilder:
    """Collects the pairs of documents, which are numbered in the order they are added."""

    def __init__(self) -> None:
        self._numbers: dict[Pair, int] = {}
        self._pairs: list[int] = []
        self._documents: list[int] = []
        self._taken: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []

    def number(self, pair: Pair) -> int:
        """Return the number of a pair."""
        return self._numbers.setdefault(pair, len(self._numbers))

    def add(self, numbers: Sequence[int], document: int) -> None:
        """Add a document that has the pairs with these numbers, each only once."""
        self._pairs.extend(numbers)
        self._documents.extend([document] * len(numbers))

    def take(self, postings: Postings, moved: NDArray[np.int64]) -> None:
        """Add the documents of another segment. Number `i` becomes `moved[i]`, or is left out if
        that is below 0."""
        documents = moved[postings.documents]
        kept = documents >= 0
        of = np.repeat(np.arange(len(postings)), np.diff(postings.offsets))[kept]
        mine = np.zeros(len(postings), np.int64)
        for number in np.unique(of).tolist():
            mine[number] = self.number(postings.pair(number))
        self._taken.append((mine[of], documents[kept]))

    def arrays(self, name: str, order: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """Return the arrays of `Postings`, with document `i` as number `order[i]`."""
        added = np.array(self._pairs, np.int64), np.array(self._documents, np.int64)
        parts = [*self._taken, added]
        pairs = sorted(self._numbers)
        rank = np.zeros(len(pairs), np.int64)
        rank[[self._numbers[pair] for pair in pairs]] = np.arange(len(pairs))
        of = rank[np.concatenate([part[0] for part in parts])]
        documents = order[np.concatenate([part[1] for part in parts])]
        sorting = order_by(of, documents)
        return {
            **join(f"{name}_first", [first for first, _ in pairs]),
            **join(f"{name}_second", [second for _, second in pairs]),
            f"{name}_offsets": offsets(np.bincount(of, minlength=len(pairs))),
            f"{name}_documents": documents[sorting].astype(np.uint16),
        }


class Postings:
    """The pairs of a segment's documents."""

    def __init__(self, name: str, arrays: Arrays) -> None:
        self._first = Texts(arrays[f"{name}_first"], arrays[f"{name}_first_offsets"])
        self._second = Texts(arrays[f"{name}_second"], arrays[f"{name}_second_offsets"])
        self.offsets: NDArray[np.uint32] = arrays[f"{name}_offsets"]
        self.documents: NDArray[np.uint16] = arrays[f"{name}_documents"]

    def __len__(self) -> int:
        return len(self._first)

    def pair(self, number: int) -> Pair:
        """Return the pair with this number."""
        return self._first[number], self._second[number]

    def range(self, low: Pair, high: Pair) -> tuple[int, int]:
        """Return which pairs are from `low` to `high`, both included: the number of the first, and
        the number after the last."""
        numbers = range(len(self))
        return (
            bisect_left(numbers, low, key=self.pair),
            bisect_right(numbers, high, key=self.pair),
        )
