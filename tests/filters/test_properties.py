"""Random filters on random metadata: the same answer as the oracle, and no match narrowed away."""

from __future__ import annotations

from hypothesis import event, given, settings
from hypothesis import strategies as st

from lakebed.filters import (
    ABSENT,
    OVERFLOW,
    Alternative,
    Filter,
    Term,
    by_shape,
    definition,
    definition_range,
    index_terms,
    lacked,
    shape,
    shape_term,
)
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
        assert OVERFLOW in terms or found_by(alternative, terms)


def found_by(alternative: Alternative, terms: list[Term]) -> bool:
    """Whether a range holds a term of an entry, or the absence of the field."""
    paths = {path for path, _ in terms}
    return any(low == ABSENT and path not in paths for path, low, _ in alternative) or any(
        path == wanted and low <= value <= high
        for path, value in terms
        for wanted, low, high in alternative
    )


negations = strategies.filters.map(lambda source: {"$not": source})


@MANY
@given(
    st.lists(strategies.metadata, min_size=1, max_size=5), strategies.filters | negations, st.data()
)
def test_no_matching_entry_is_lost_by_its_shape(entries, source, data):
    """Whichever shapes are defined."""
    shapes = [shape(index_terms(metadata)) for metadata in entries]
    definitions = {definition(fields) for fields in shapes if fields} - {None}
    known = data.draw(st.sets(st.sampled_from(sorted(definitions)))) if definitions else set()
    wanted = Filter(source)
    resolved = [
        by_shape(alternative, known) for alternative in wanted.narrow() if lacked(alternative)
    ]
    event(f"alternatives by shape: {len(list(filter(None, resolved)))}")
    for metadata, fields in zip(entries, shapes, strict=True):
        if fields is None or not wanted.matches(metadata):
            continue  # it has no terms, or only OVERFLOW
        terms = [*index_terms(metadata), shape_term(fields)]
        for alternative in filter(None, resolved):
            assert not lacked(alternative)
            assert found_by(alternative, terms)


@MANY
@given(strategies.metadata, strategies.metadata)
def test_shapes_are_the_same_for_the_same_fields(some, others):
    first, second = shape(index_terms(some)), shape(index_terms(others))
    if first and second:
        assert (shape_term(first) == shape_term(second)) is (first == second)
        value = definition(first)
        event(f"defined: {value is not None}")
        if value is not None:
            low, high = definition_range(first)[1:]
            assert low <= value <= high
            assert len(value) <= 2000


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
