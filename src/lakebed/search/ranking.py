"""BM25: how well a document matches the words of a query.

    weight(word) = ln(1 + (N - n + 0.5) / (n + 0.5))
    score        = sum of weight(word) * f * 2.2 / (f + 1.2 * (0.25 + 0.75 * length / average))

There are N documents, of which n have the word; it occurs f times in this one. Lengths are in
tokens. See S. Robertson and H. Zaragoza, The Probabilistic Relevance Framework: BM25 and Beyond
(2009), with k1 = 1.2 and b = 0.75. The 1 inside the logarithm is from Lucene and keeps weights
above 0. N, n and the average count only visible documents. So the same entries have the same
scores, whatever segments they are in.

A word in a document's field names adds half of the least that it could add as a word of a value:
once, in the longest visible document. Its weight is that of the value or of the name, whichever is
more common. So a name never counts as much as a value, and names change neither n nor lengths.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from lakebed.search.segment import Segment
from lakebed.search.words import name_hash, word_hash

_K1 = 1.2
_B = 0.75
_NAME = 0.5

Scores = NDArray[np.float64]
T = TypeVar("T", Scores, float)


class Source(NamedTuple):
    """A segment as one search sees it.

    It has the visible documents, how many they are, how many tokens they have together, and how
    many the longest has.
    """

    segment: Segment
    visible: NDArray[np.bool_]
    documents: int
    tokens: int
    longest: int


def source_of(segment: Segment, visible: NDArray[np.bool_]) -> Source:
    """Return a segment as a search sees it that may see only these documents."""
    lengths = segment.lengths[visible]
    tokens, longest = int(lengths.sum(dtype=np.int64)), int(lengths.max(initial=0))
    return Source(segment, visible, len(lengths), tokens, longest)


Places = Sequence[tuple[int, int]]


class Ranking(NamedTuple):
    """The words of a query with their weights, and the average length of a document.

    `names`: what each word adds to the score of a document that has it in a field name. `places`:
    for each source, the place of each word as a word of values, then of each as a word of names.
    """

    words: Sequence[str]
    weights: Sequence[float]
    names: Sequence[float]
    average: float
    places: Sequence[Places]

    def of_values(self, number: int) -> Places:
        """Return the places of the words in values and metadata in a source."""
        return self.places[number][: len(self.words)]

    def of_names(self, number: int) -> Places:
        """Return the places of the words in field names in a source."""
        return self.places[number][len(self.words) :]


def rank(words: Sequence[str], sources: Sequence[Source]) -> Ranking:
    """Weigh the words of a query by the visible documents."""
    hashes = np.array([*map(word_hash, words), *map(name_hash, words)], np.uint64)
    places = [source.segment.words.find(hashes) for source in sources]
    having = _having(places, sources)
    values, names = having[: len(words)], having[len(words) :]
    total = sum(source.documents for source in sources)
    average = max(sum(source.tokens for source in sources) / max(total, 1), 1.0)
    longest = max((source.longest for source in sources), default=0)
    least = _word(_NAME, 1.0, float(longest), average)
    return Ranking(
        words,
        [_weight(total, n) for n in values],
        [least * _weight(total, max(pair)) for pair in zip(values, names, strict=True)],
        average,
        places,
    )


def _weight(total: int, having: int) -> float:
    return math.log(1 + (total - having + 0.5) / (having + 0.5))


def _having(places: Sequence[Places], sources: Sequence[Source]) -> list[int]:
    """Return how many visible documents are in each of the places."""
    having = [0] * max(map(len, places), default=0)
    for source, found in zip(sources, places, strict=True):
        every = source.documents == len(source.segment)
        for number, (start, end) in enumerate(found):
            if every:
                having[number] += end - start
            elif end > start:
                documents = source.segment.words.documents[start:end]
                having[number] += int(np.count_nonzero(source.visible[documents]))
    return having


def scores(ranking: Ranking, number: int, source: Source) -> Scores:
    """Return the score of each document of a source without its field names, by number.

    A document that is not visible scores 0.
    """
    segment = source.segment
    found = np.zeros(len(segment))
    for weight, (start, end) in zip(ranking.weights, ranking.of_values(number), strict=True):
        if start == end:
            continue
        documents = segment.words.documents[start:end]
        counts = segment.words.frequencies(start, end)
        found[documents] += _word(weight, counts, segment.float_lengths[documents], ranking.average)
    if source.documents < len(segment):
        found[~source.visible] = 0.0
    return found


def add_names(ranking: Ranking, number: int, source: Source, found: Scores) -> None:
    """Add what field names contribute to the scores of a source's visible documents."""
    for part, (start, end) in zip(ranking.names, ranking.of_names(number), strict=True):
        if start == end:
            continue
        documents = source.segment.words.documents[start:end]
        if source.documents < len(source.segment):
            documents = documents[source.visible[documents]]
        found[documents] += part


def explain(ranking: Ranking, number: int, source: Source, document: int) -> dict[str, float]:
    """Return what each word of the query adds to the score of a document.

    The part of a word of a field name has ` (field name)` after the word.
    """
    parts = {}
    segment = source.segment
    for word, weight, place in zip(
        ranking.words, ranking.weights, ranking.of_values(number), strict=True
    ):
        if (at := _find(segment, place, document)) is not None:
            count = segment.words.frequency(at)
            length = float(segment.float_lengths[document])
            parts[word] = _word(weight, count, length, ranking.average)
    for word, part, place in zip(
        ranking.words, ranking.names, ranking.of_names(number), strict=True
    ):
        if _find(segment, place, document) is not None:
            parts[f"{word} (field name)"] = part
    return parts


def _find(segment: Segment, place: tuple[int, int], document: int) -> int | None:
    """Return the index of the document's posting within a place, or None if it has none."""
    start, end = place
    if start == end:
        return None
    # The value has the array's type. With another type, NumPy would copy the whole array.
    at = start + int(segment.words.documents[start:end].searchsorted(np.uint16(document)))
    return at if at < end and segment.words.documents[at] == document else None


def _word(weight: float, counts: T, lengths: T, average: float) -> T:
    """Return what a word adds to the scores of documents, or to the score of one.

    Arrays and single numbers give identical results. For few documents, single numbers are much
    faster.
    """
    brevity = lengths * (_K1 * _B / average)
    brevity += _K1 * (1 - _B)
    brevity += counts
    counts = counts * (weight * (_K1 + 1))
    counts /= brevity
    return counts
