"""BM25, for documents that no index holds yet: the same formula that FTS5 ranks by."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

_K1 = 1.2
_B = 0.75
_LEAST_WEIGHT = 1e-6  # of a word that most documents have


class WordCounts(NamedTuple):
    """How often each word of a query is in a document, and the document's length in tokens."""

    counts: tuple[int, ...]
    length: int


def count_words(words: Sequence[str], tokens: Sequence[str]) -> WordCounts:
    """Count the words of a query in a document's tokens."""
    found = Counter(filter(frozenset(words).__contains__, tokens))
    return WordCounts(tuple(found[word] for word in words), len(tokens))


def scores(
    documents: Sequence[WordCounts], others: int, tokens: int, frequency: Sequence[int]
) -> list[float]:
    """The score of each document, higher is better; 0 without any of the words.

    There are `others` besides, of `tokens` tokens together; `frequency` says for each word in how
    many of them it is.
    """
    total = others + len(documents)
    average = (tokens + sum(document.length for document in documents)) / max(total, 1)
    weights = []
    for number, known in enumerate(frequency):
        having = known + sum(1 for document in documents if document.counts[number])
        lacking = max(total - having, 0)  # counters and documents may be of two moments
        weights.append(max(math.log((lacking + 0.5) / (having + 0.5)), _LEAST_WEIGHT))
    return [_score(document, weights, average) for document in documents]


def _score(document: WordCounts, weights: Sequence[float], average: float) -> float:
    brevity = _K1 * (1 - _B + _B * document.length / max(average, 1))
    return sum(
        weight * count * (_K1 + 1) / (count + brevity)
        for weight, count in zip(weights, document.counts, strict=True)
        if count
    )
