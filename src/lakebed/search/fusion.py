"""Combine words and meaning in one score.

Both are scaled to 0 to 1 over the candidates of one search, and added by weight. (Adding reciprocal
ranks instead was measured, and is worse: see docs/design/search.md.)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lakebed.errors import ValidationError

TEXT_WEIGHT = 0.5
"""The weight of the words. The meaning has the rest of 1."""


def fuse(
    text: NDArray[np.floating], vector: NDArray[np.floating], text_weight: float = TEXT_WEIGHT
) -> NDArray[np.float64]:
    """Return the combined scores of candidates, from 0 to 1.

    `text`: the scores by words, 0 or less if no word matches. A score of 0 counts 0 and the best
    score counts 1, even if no candidate has the score 0. `vector`: similarities. The least similar
    candidate counts 0, and so does one without a vector (NaN). The most similar counts 1. If all
    are equally similar, all count 1.

    Raises ValidationError for a weight outside 0 to 1 and for arrays of different lengths.
    """
    if not 0 <= text_weight <= 1:
        raise ValidationError(f"text_weight must be from 0 to 1, got {text_weight}")
    if text.shape != vector.shape or text.ndim != 1:
        raise ValidationError(
            f"text and vector must have one dimension and the same length, got {text.shape} and "
            f"{vector.shape}"
        )
    return text_weight * _words(text) + (1 - text_weight) * _meaning(vector)


def _words(scores: NDArray[np.floating]) -> NDArray[np.float64]:
    found = np.maximum(scores.astype(np.float64), 0.0)
    best = found.max(initial=0.0)
    return found / best if best else found


def _meaning(scores: NDArray[np.floating]) -> NDArray[np.float64]:
    found = np.zeros(len(scores))
    known = ~np.isnan(scores)
    if known.any():
        similar = scores[known].astype(np.float64)
        least, most = similar.min(), similar.max()
        found[known] = (similar - least) / (most - least) if most > least else 1.0
    return found
