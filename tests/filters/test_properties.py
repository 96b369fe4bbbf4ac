"""Random filters on random metadata: the same answer as the oracle, and no match narrowed away."""

from __future__ import annotations

from hypothesis import event, given, settings
from hypothesis import strategies as st

from lakebed.filters import OVERFLOW, Filter, index_terms
from lakebed.values.json import encode
from tests.filters import strategies
from tests.filters.oracle import holds

MANY = settings(max_examples=max(150, settings.default.max_examples))
cases = st.tuples(strategies.metadata, strategies.filters) | strategies.meetings()


@MANY
@given(cases)
def test_agrees_with_the_oracle(case):
    metadata, source = case
    expected = holds(source, metadata)
    event(f"matches: {expected}")
    assert Filter(source).matches(metadata) is expected


@MANY
@given(cases)
def test_no_matching_entry_is_narrowed_away(case):
    metadata, source = case
    compiled = Filter(source)
    if not compiled.matches(metadata):
        return
    terms = index_terms(metadata)
    event("overflow" if OVERFLOW in terms else f"alternatives: {len(compiled.narrow())}")
    for alternative in compiled.narrow():
        assert OVERFLOW in terms or any(
            path == wanted and low <= value <= high
            for path, value in terms
            for wanted, low, high in alternative
        )


@MANY
@given(cases)
def test_no_matching_entry_is_ruled_out_by_its_text(case):
    metadata, source = case
    compiled, text = Filter(source), encode(metadata).decode()
    plain = "{" not in text[1:] and "\\" not in text
    marked = any(mark in text for mark in compiled.fails)
    event(f"plain: {plain}, marked: {marked}")
    if plain and marked:
        assert not compiled.matches(metadata)


@MANY
@given(strategies.metadata, st.lists(strategies.filters, min_size=1, max_size=3))
def test_equal_texts_are_judged_alike(metadata, sources):
    text = encode(metadata).decode()
    for compiled in map(Filter, sources):
        assert compiled.keeps(text) is compiled.keeps(text) is compiled.matches(metadata)


@MANY
@given(strategies.metadata)
def test_terms_are_distinct_and_bounded(metadata):
    terms = index_terms(metadata)
    assert len(set(terms)) == len(terms) <= 64
    assert all(len(path.encode()) <= 200 and len(value) <= 65 for path, value in terms)


@MANY
@given(strategies.numbers | strategies.texts, strategies.numbers | strategies.texts)
def test_term_values_sort_as_the_values_do(a, b):
    if isinstance(a, str) != isinstance(b, str) or a > b:
        return
    [(_, low)], [(_, high)] = index_terms({"k": a}), index_terms({"k": b})
    assert low <= high
