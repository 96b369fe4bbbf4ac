"""BM25: how well a document answers the words of a query.

    weight(word) = ln(1 + (N - n + 0.5) / (n + 0.5))
    score        = sum of weight(word) * f * 2.2 / (f + 1.2 * (0.25 + 0.75 * length / average))

There are N documents, of which n have the word; it occurs f times in this one. Lengths are in
tokens. See S. Robertson and H. Zaragoza, The Probabilistic Relevance Framework: BM25 and Beyond
(2009), with k1 = 1.2 and b = 0.75. The 1 inside the logarithm is from Lucene and keeps weights
above 0. N, n and the average count only visible documents. So the same entries have the same
scores, whatever segments they are in.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lakebed.search.segment import Segment
from lakebed.search.words import word_hash

_K1 = 1.2
_B = 0.75

Scores = NDArray[np.float64]


class Source(NamedTuple):
    """A segment as one search sees it: the visible documents, their number, and their tokens."""

    segment: Segment
    visible: NDArray[np.bool_]
    documents: int
    tokens: int


class Ranking(NamedTuple):
    """The words of a query with their weights, their places in each source, and the average length
    of a document."""

    words: Sequence[str]
    weights: Sequence[float]
    average: float
    places: Sequence[Sequence[tuple[int, int]]]  # for each source, for each word


def rank(words: Sequence[str], sources: Sequence[Source]) -> Ranking:
    """Weigh the words of a query by the visible documents."""
    hashes = np.array([word_hash(word) for word in words], np.uint64)
    places = [source.segment.words.find(hashes) for source in sources]
    having = [0] * len(words)
    for source, found in zip(sources, places, strict=True):
        every = source.documents == len(source.segment)
        for number, (start, end) in enumerate(found):
            if every:
                having[number] += end - start
            elif end > start:
                documents = source.segment.words.documents[start:end]
                having[number] += int(np.count_nonzero(source.visible[documents]))
    total = sum(source.documents for source in sources)
    tokens = sum(source.tokens for source in sources)
    weights = [math.log(1 + (total - n + 0.5) / (n + 0.5)) for n in having]
    return Ranking(words, weights, max(tokens / max(total, 1), 1.0), places)


def scores(ranking: Ranking, number: int, source: Source) -> Scores:
    """Return the score of each document of a source, by its number; 0 if it is not visible."""
    segment = source.segment
    found = np.zeros(len(segment))
    for weight, (start, end) in zip(ranking.weights, ranking.places[number], strict=True):
        if start == end:
            continue
        documents = segment.words.documents[start:end]
        counts = segment.words.frequencies(start, end)
        found[documents] += _word(weight, counts, segment.float_lengths[documents], ranking.average)
    if source.documents < len(segment):
        found[~source.visible] = 0.0
    return found


def explain(ranking: Ranking, number: int, source: Source, document: int) -> dict[str, float]:
    """Return what each word of the query adds to the score of a document."""
    parts = {}
    segment = source.segment
    for word, weight, (start, end) in zip(
        ranking.words, ranking.weights, ranking.places[number], strict=True
    ):
        # Searching for a value of another type would copy the whole array.
        wanted = np.uint16(document)
        place = start + int(np.searchsorted(segment.words.documents[start:end], wanted))
        if place < end and segment.words.documents[place] == document:
            counts = segment.words.frequencies(place, place + 1)
            length = segment.float_lengths[document : document + 1]
            parts[word] = float(_word(weight, counts, length, ranking.average)[0])
    return parts


def _word(weight: float, counts: Scores, lengths: Scores, average: float) -> Scores:
    """Return what a word adds to the scores of documents."""
    brevity = lengths * (_K1 * _B / average)
    brevity += _K1 * (1 - _B)
    brevity += counts
    counts = counts * (weight * (_K1 + 1))
    counts /= brevity
    return counts
