"""Search for databases without one: rank documents by the words of a question, with BM25."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from lakebed.documents.query.query import Stored

_K1 = 1.2
_B = 0.75


class Scored(NamedTuple):
    """A document that was found, and its score: higher is better."""

    document: Stored
    score: float


class Found(NamedTuple):
    """A page of results, best first, and the number of all matches."""

    page: Sequence[Scored]
    total: int


def rank(documents: Sequence[Stored], words: Sequence[str], offset: int, last: int | None) -> Found:
    """Return the documents that have any of the words, the best first, then in the order of ids.

    The formula is that of `lakebed.search.ranking`. Words are weighed by the given documents.
    """
    from lakebed.values.text import analyse, text_of

    wanted = set(words)
    counts: list[tuple[Stored, Counter[str], int]] = []
    for document in documents:
        tokens = analyse(text_of(document.data, {}))
        counts.append((document, Counter(filter(wanted.__contains__, tokens)), len(tokens)))
    total = len(counts)
    average = max(sum(length for _, _, length in counts) / max(total, 1), 1.0)
    having = Counter(word for _, found, _ in counts for word in found)
    weights = {word: math.log(1 + (total - n + 0.5) / (n + 0.5)) for word, n in having.items()}
    scored = [
        Scored(document, _score(found, weights, length / average))
        for document, found, length in counts
        if found
    ]
    scored.sort(key=lambda one: (-one.score, one.document.doc_id))
    return Found(scored[offset:last], len(scored))


def _score(found: Counter[str], weights: dict[str, float], relative_length: float) -> float:
    brevity = _K1 * (1 - _B + _B * relative_length)
    return sum(
        weights[word] * count * (_K1 + 1) / (count + brevity) for word, count in found.items()
    )
