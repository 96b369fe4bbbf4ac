"""The words of a segment's documents and of their field names, each as a hash of 64 bits.

So a segment holds no text of a value. Two words of a lake are unlikely to share a hash before it
has a thousand million words.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lakebed.search.postings import Arrays, offsets, order_by

MANY = 255
"""Stands for a count that does not fit in a byte. `big_counts` has it."""
_REMEMBERED = 200_000
_NAME = "."  # before a word of a field name; the analyser's tokens are letters and digits


class _Hashes(dict[str, int]):
    """The hash of a word, cached."""

    def __missing__(self, word: str) -> int:
        number = int.from_bytes(blake2b(word.encode(), digest_size=8).digest(), "little")
        if len(self) >= _REMEMBERED:
            self.clear()
        self[word] = number
        return number


_hashes = _Hashes()


def word_hash(word: str) -> int:
    """Return the number under which a segment stores a token of the analyser."""
    return _hashes[word]


def name_hash(word: str) -> int:
    """Return the number under which a segment stores a token of a field name."""
    return _hashes[_NAME + word]


class _Part(NamedTuple):
    """Which words are in which documents, and how often. Words are given as indexes in `hashes`.

    No pair occurs twice in all parts of a builder. `names`: True if all are words of field names,
    False if all are words of values, None if there are both.
    """

    names: bool | None
    hashes: NDArray[np.uint64]
    words: NDArray[np.int64]
    documents: NDArray[np.int64]
    counts: NDArray[np.int64]


class WordsBuilder:
    """Collects the words of documents, which are numbered in the order they are added."""

    def __init__(self) -> None:
        self._parts: list[_Part] = []
        self.postings = 0
        """The number of pairs of a word and a document so far."""

    def add(
        self, words: Sequence[str], numbers: NDArray[np.int64], documents: NDArray[np.int64]
    ) -> None:
        """Add tokens. `numbers` has the index of each token's word in `words`, `documents` its
        document."""
        self._add(False, map(word_hash, words), len(words), numbers, documents)

    def add_names(
        self, words: Sequence[str], numbers: NDArray[np.int64], documents: NDArray[np.int64]
    ) -> None:
        """Add tokens of field names, as `add` does. A token occurs only once in a document."""
        self._add(True, map(name_hash, words), len(words), numbers, documents)

    def _add(
        self,
        names: bool,
        words: Iterable[int],
        distinct: int,
        numbers: NDArray[np.int64],
        documents: NDArray[np.int64],
    ) -> None:
        hashes = np.fromiter(words, np.uint64, distinct)
        sorting = order_by(numbers, documents)
        numbers, documents = numbers[sorting], documents[sorting]
        first = np.ones(len(numbers), np.bool_)
        first[1:] = (numbers[1:] != numbers[:-1]) | (documents[1:] != documents[:-1])
        places = np.flatnonzero(first)
        counts = np.diff(places, append=len(numbers))
        self._append(_Part(names, hashes, numbers[places], documents[places], counts))

    def take(self, words: Words, moved: NDArray[np.int64]) -> None:
        """Add the documents of another segment. Number `i` becomes `moved[i]`, or is left out if
        that is below 0."""
        documents = moved[words.documents]
        kept = documents >= 0
        of = np.repeat(np.arange(len(words.hashes)), np.diff(words.offsets))
        counts = words.counts.astype(np.int64)
        counts[words.big_places] = words.big_counts
        self._append(_Part(None, words.hashes, of[kept], documents[kept], counts[kept]))

    def _append(self, part: _Part) -> None:
        self._parts.append(part)
        self.postings += len(part.words)

    def arrays(self, order: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """Return the arrays of `Words`, with document `i` as number `order[i]`."""
        hashes = np.unique(_joined(part.hashes for part in self._parts).astype(np.uint64))
        of = _joined(np.searchsorted(hashes, p.hashes)[p.words] for p in self._parts)
        documents = _joined(order[part.documents] for part in self._parts)
        counts = _joined(part.counts for part in self._parts)
        sorting = order_by(of, None if self._is_sorted(order) else documents)
        documents, counts = documents[sorting], counts[sorting]
        lengths = np.bincount(of, minlength=len(hashes))
        used = lengths > 0
        big = np.flatnonzero(counts >= MANY)
        return {
            "word_hashes": hashes[used],
            "word_offsets": offsets(lengths[used]),
            "word_documents": documents.astype(np.uint16),
            "word_counts": np.minimum(counts, MANY).astype(np.uint8),
            "big_places": big.astype(np.uint32),
            "big_counts": counts[big].astype(np.uint32),
        }

    def _is_sorted(self, order: NDArray[np.int64]) -> bool:
        """Return whether documents were added in key order. If so, the documents of each word are
        sorted in each part already."""
        return bool((order[1:] > order[:-1]).all()) and all(
            _rises([part for part in self._parts if part.names in (None, names)])
            for names in (False, True)
        )


def _rises(parts: Iterable[_Part]) -> bool:
    """Return whether the documents of each part come after those of the part before."""
    bounds = [(p.documents.min(), p.documents.max()) for p in parts if len(p.documents)]
    return all(last < first for (_, last), (first, _) in pairwise(bounds))


def _joined(arrays: Iterable[NDArray[Any]]) -> NDArray[Any]:
    parts = list(arrays)
    return np.concatenate(parts) if parts else np.empty(0, np.int64)


class Words:
    """The words of a segment's documents."""

    def __init__(self, arrays: Arrays) -> None:
        self.hashes: NDArray[np.uint64] = arrays["word_hashes"]
        self.offsets: NDArray[np.uint32] = arrays["word_offsets"]
        self.documents: NDArray[np.uint16] = arrays["word_documents"]
        self.counts: NDArray[np.uint8] = arrays["word_counts"]
        self.big_places: NDArray[np.uint32] = arrays["big_places"]
        self.big_counts: NDArray[np.uint32] = arrays["big_counts"]

    def find(self, hashes: NDArray[np.uint64]) -> list[tuple[int, int]]:
        """Return the start and end of each word's postings, both 0 for a word without postings."""
        if not len(self.hashes):
            return [(0, 0)] * len(hashes)
        places = np.minimum(np.searchsorted(self.hashes, hashes), len(self.hashes) - 1)
        there = (self.hashes[places] == hashes).tolist()
        starts, ends = self.offsets[places].tolist(), self.offsets[places + 1].tolist()
        return [
            (start, end) if known else (0, 0)
            for known, start, end in zip(there, starts, ends, strict=True)
        ]

    def frequencies(self, start: int, end: int) -> NDArray[np.float64]:
        """Return how often a word occurs in each of its documents."""
        counts = self.counts[start:end].astype(np.float64)
        if len(self.big_places):
            first, last = np.searchsorted(self.big_places, (start, end))
            counts[self.big_places[first:last] - start] = self.big_counts[first:last]
        return counts

    def frequency(self, place: int) -> float:
        """Return how often the word of one posting occurs in its document."""
        count = int(self.counts[place])
        if count < MANY:
            return float(count)
        return float(self.big_counts[self.big_places.searchsorted(np.uint32(place))])
