"""Words and meaning in one score.

Both are brought to a scale from 0 to 1 over the candidates of one search and added by weight.
(Adding reciprocal ranks instead was measured, and is worse: docs/design/search.md.)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lakebed.errors import ValidationError

TEXT_WEIGHT = 0.5
"""What the words decide, the meaning the rest."""


def fuse(
    text: NDArray[np.floating], vector: NDArray[np.floating], text_weight: float = TEXT_WEIGHT
) -> NDArray[np.float64]:
    """The scores, from 0 to 1, of candidates with these scores by words and by meaning.

    `text`: 0 or less where no word matches, which is the lowest whether a candidate has it or not;
    the best one counts 1. `vector`: similarities, NaN for a candidate without a vector, which
    counts 0 as the least similar one does; the most similar counts 1, and so do all if they are
    alike. ValidationError for a weight outside 0 to 1 and for arrays of different lengths.
    """
    if not 0 <= text_weight <= 1:
        raise ValidationError(f"text_weight: must be from 0 to 1, got {text_weight}")
    if text.shape != vector.shape or text.ndim != 1:
        raise ValidationError(
            f"text and vector must be rows of one length, got {text.shape} and {vector.shape}"
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
