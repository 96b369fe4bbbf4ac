"""Words and meaning in one score: for every input, and in every order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from lakebed.errors import ValidationError
from lakebed.search.fusion import fuse

_candidates = st.lists(
    st.tuples(
        st.floats(0, 1e300),  # a score by words
        st.floats(-1, 1, width=32) | st.just(float("nan")),  # a similarity, or no vector
    )
)
_weights = st.floats(0, 1)


def _columns(candidates: list[tuple[float, float]]) -> tuple[NDArray, NDArray]:
    pairs = np.array(candidates, np.float64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1].astype(np.float32)


def test_an_example() -> None:
    text = np.array([4.0, 0.0, 2.0, 0.0])
    vector = np.array([0.1, 0.5, np.nan, 0.3], np.float32)
    np.testing.assert_allclose(fuse(text, vector, 0.7), [0.7, 0.3, 0.35, 0.15], atol=1e-6)
    np.testing.assert_allclose(fuse(text, vector), [0.5, 0.5, 0.25, 0.25], atol=1e-6)


@given(_candidates, _weights)
def test_scores_lie_between_0_and_1(candidates: list[tuple[float, float]], weight: float) -> None:
    found = fuse(*_columns(candidates), weight)
    assert found.shape == (len(candidates),)
    assert found.dtype == np.float64
    assert ((found >= 0) & (found <= 1)).all()


@given(_candidates, _weights, st.data())
def test_a_score_depends_on_no_order(
    candidates: list[tuple[float, float]], weight: float, data: st.DataObject
) -> None:
    order = data.draw(st.permutations(range(len(candidates))))
    whole = fuse(*_columns(candidates), weight)
    moved = fuse(*_columns([candidates[place] for place in order]), weight)
    assert moved.tobytes() == whole[np.array(order, np.int64)].tobytes()


@given(_candidates)
def test_a_weight_of_1_or_0_ranks_by_one_of_both(candidates: list[tuple[float, float]]) -> None:
    text, vector = _columns(candidates)
    by_words, by_meaning = fuse(text, vector, 1.0), fuse(text, vector, 0.0)
    known = np.where(np.isnan(vector), -2.0, vector)
    for scores, given_scores in ((by_words, text), (by_meaning, known)):
        order = np.argsort(given_scores, kind="stable")
        assert (np.diff(scores[order]) >= 0).all()


@given(_candidates, _weights)
def test_better_in_both_is_never_worse(
    candidates: list[tuple[float, float]], weight: float
) -> None:
    text, vector = _columns(candidates)
    found = fuse(text, vector, weight)
    known = np.where(np.isnan(vector), -2.0, vector)
    for one in range(min(len(candidates), 10)):
        above = (text >= text[one]) & (known >= known[one])
        assert (found[above] >= found[one]).all()


def test_what_does_not_match_changes_no_score() -> None:
    text = np.array([3.0, 1.5])
    vector = np.array([0.5, 0.1])
    more = fuse(np.append(text, 0.0), np.append(vector, 0.1))
    assert more[:2].tolist() == fuse(text, vector).tolist()


def test_no_candidates() -> None:
    assert fuse(np.empty(0), np.empty(0)).shape == (0,)


def test_constant_scores() -> None:
    assert fuse(np.full(3, 2.0), np.full(3, 0.4)).tolist() == pytest.approx([1, 1, 1])
    assert fuse(np.zeros(2), np.full(2, -0.4), 0.7).tolist() == pytest.approx([0.3, 0.3])


def test_one_side_only() -> None:
    nothing = np.full(3, np.nan)
    assert fuse(np.array([4.0, 2.0, 0.0]), nothing, 0.7).tolist() == pytest.approx([0.7, 0.35, 0])
    assert fuse(np.zeros(3), np.array([0.9, 0.1, 0.5]), 0.7).tolist() == pytest.approx(
        [0.3, 0, 0.15]
    )
    assert fuse(np.zeros(3), nothing).tolist() == [0, 0, 0]


def test_a_candidate_alone() -> None:
    assert fuse(np.array([0.2]), np.array([-0.9])).tolist() == [1.0]


@pytest.mark.parametrize("weight", [-0.1, 1.1, float("nan"), float("inf")])
def test_refuses_a_weight_outside(weight: float) -> None:
    with pytest.raises(ValidationError, match="text_weight must be from 0 to 1"):
        fuse(np.zeros(1), np.zeros(1), weight)


def test_refuses_other_lengths() -> None:
    with pytest.raises(ValidationError, match="the same length"):
        fuse(np.zeros(2), np.zeros(3))
