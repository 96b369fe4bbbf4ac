"""Scores, conversations and pages, against the plain formula, however documents lie in segments."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lakebed.filters import Filter
from lakebed.model import LAST_KEY
from lakebed.search import engine
from lakebed.search.building import Document
from lakebed.search.engine import Query
from lakebed.search.ranking import Source, source_of
from lakebed.search.threads import ThreadWeights
from lakebed.testing.machine.search import bm25, conversations
from lakebed.testing.model import Kept
from lakebed.values.text import query_words, text_and_names, text_of
from tests.search.strategies import document, key_lists, segment, source, texts

SPEAKERS = ["", "Ann", "apple pear"]

entries = key_lists.flatmap(
    lambda keys: st.lists(
        st.tuples(
            st.just(None),
            texts,
            st.sampled_from(SPEAKERS),
            st.integers(0, 2),  # which segment
            st.integers(0, 3),  # 0: not visible
        ),
        min_size=len(keys),
        max_size=len(keys),
    ).map(lambda rows: dict(zip(keys, rows, strict=True)))
)
queries = st.sampled_from(
    [
        "apple",
        "apple pear",
        "what does Ann say of pears",
        "東京",
        "x 1984",
        "the text",
        "apple trees of a speaker",
    ]
)


def laid_out(found: dict[str, Any]) -> tuple[list[Source], dict[str, Kept]]:
    """Sources of some entries in three segments, and those of them that are visible."""
    visible = dict[str, Kept]()
    parts: list[list[Document]] = [[], [], []]
    hidden = set[int]()
    for version, (key, (_, text, speaker, part, seen)) in enumerate(found.items(), 1):
        value: dict[str, Any] = {"text": text, "speaker": speaker}
        if version % 3 == 0:
            value["apple-tree"] = [{"x": None}]
        kept = Kept(value, {"n": seen}, None, 0)
        parts[part].append(
            document(version, key, text_of(value, None) + f"\n{text_of(None, {'n': seen})}",
                     {"n": seen}, speaker,
                     names=frozenset(text_and_names([value, {"n": seen}])[1]))
        )  # fmt: skip
        if seen:
            visible[key] = kept
        else:
            hidden.add(version)
    sources = []
    for part in parts:
        whole = source(segment(part))
        mask = np.array([int(v) not in hidden for v in whole.segment.versions], np.bool_)
        sources.append(source_of(whole.segment, mask))
    return sources, visible


def ask(
    sources: list[Source],
    question: str,
    *,
    wanted: int = 100,
    low: str = "",
    high: str = LAST_KEY,
    condition: dict[str, Any] | None = None,
    thread: bool = False,
) -> engine.Result:
    query = Query(
        query_words(question),
        low,
        high,
        Filter(condition) if condition else None,
        wanted,
        ThreadWeights() if thread else None,
    )
    return engine.run(engine.heed_speakers(query, question, sources)[1], sources)


def check(result: engine.Result, expected: dict[str, float], wanted: int = 100) -> None:
    assert result.total == len(expected)
    assert len(result.found) == min(wanted, len(expected))
    for hit in result.found:
        assert math.isclose(hit.score, expected[hit.key], rel_tol=1e-9)
        assert math.isclose(sum(hit.parts.values()), hit.score, rel_tol=1e-9)
    order = [(-hit.score, hit.key.encode()) for hit in result.found]
    assert order == sorted(order)
    if result.found and len(result.found) < len(expected):
        rest = [expected[key] for key in expected.keys() - {hit.key for hit in result.found}]
        assert max(rest) <= result.found[-1].score * (1 + 1e-9)


@given(entries, queries, st.integers(0, 4))
def test_scores_are_those_of_the_formula(found: dict[str, Any], question: str, wanted: int) -> None:
    sources, visible = laid_out(found)
    expected = bm25(visible, question)
    check(ask(sources, question), expected)
    check(ask(sources, question, wanted=wanted), expected, wanted)


@given(entries, queries)
def test_conversations_over_several_segments(found: dict[str, Any], question: str) -> None:
    sources, visible = laid_out(found)
    check(ask(sources, question, thread=True), conversations(visible, question))


@given(entries, queries, st.sampled_from(["a/", "é/", "a/b/"]), st.integers(1, 3), st.booleans())
def test_ranges_and_filters_restrict_and_change_no_score(
    found: dict[str, Any], question: str, prefix: str, number: int, thread: bool
) -> None:
    sources, visible = laid_out(found)
    scores = conversations(visible, question, prefix) if thread else bm25(visible, question)
    expected = {
        key: score
        for key, score in scores.items()
        if key.startswith(prefix) and visible[key].metadata["n"] == number
    }
    high = prefix[:-1] + "0"  # what comes after "/"
    check(
        ask(sources, question, low=prefix, high=high, condition={"n": number}, thread=thread),
        expected,
    )


def test_equal_scores_are_in_the_order_of_keys_over_segments() -> None:
    keys = [f"{n:03}" for n in range(100)]
    sources = [
        source(segment([document(int(k) + 1, k, "apple pear") for k in keys[part::3]]))
        for part in range(3)
    ]
    for wanted in (0, 1, 5, 99, 100, 101):
        result = ask(sources, "apples", wanted=wanted)
        assert [hit.key for hit in result.found] == keys[:wanted]
        assert result.total == 100


def test_nothing_is_found_in_nothing() -> None:
    empty = source(segment([]))
    silent = source(segment([document(1, "a", ""), document(2, "b", "...")]))
    for sources in ([], [empty], [silent], [empty, silent]):
        for thread in (False, True):
            assert ask(sources, "apple", thread=thread) == engine.Result([], 0)
