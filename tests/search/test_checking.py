"""Arrays that do not fit together are refused, before anything follows where they lead."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from lakebed.search import engine
from lakebed.search.building import SegmentBuilder
from lakebed.search.checking import check
from lakebed.search.engine import Query
from lakebed.search.format import UnreadableSegmentError, write
from lakebed.search.segment import Segment
from lakebed.search.threads import ThreadWeights
from tests.search.strategies import document, key_lists, segment, source, texts

DOCUMENTS = [
    document(n + 1, f"a/{n}", "apple " * (300 * n + 1) + f"pear {n}", {"n": n, "s": "x"}, "ann")
    for n in range(5)
]


def vectors() -> Segment:
    builder = SegmentBuilder("some")
    builder.add([d._replace(vector=np.ones(3, np.float32)) for d in DOCUMENTS])
    return Segment(memoryview(builder.data()))


GOOD = vectors()


def changed(name: str, array: NDArray[Any]) -> Segment:
    return Segment(memoryview(write(GOOD.header, {**GOOD.arrays, name: array})))


@given(keys=key_lists, some=texts)
def test_what_is_built_passes(keys: Sequence[str], some: str) -> None:
    check(segment([document(n + 1, key, some, {"n": n}) for n, key in enumerate(keys)]))
    check(GOOD)


@pytest.mark.parametrize("name", sorted(GOOD.arrays))
def test_another_type_shape_or_length(name: str) -> None:
    array = GOOD.arrays[name]
    kind = np.float32 if array.dtype != np.float32 else np.uint8
    for wrong in (
        np.zeros(array.shape, kind),
        np.zeros((*array.shape, 1), array.dtype),
        np.concatenate([array, array[-1:]]),
        array[:-1],
        array[:0],
    ):
        if wrong.dtype == array.dtype and wrong.shape == array.shape:
            continue  # an array without anything
        with pytest.raises(UnreadableSegmentError, match="do not fit together"):
            check(changed(name, wrong))


@pytest.mark.parametrize("name", [n for n in sorted(GOOD.arrays) if n.endswith("offsets")])
@given(data=st.data())
def test_offsets_that_lead_outside(name: str, data: st.DataObject) -> None:
    good = GOOD.arrays[name]
    wrong = good.copy()
    wrong[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 2**32 - 1))
    if bool((wrong[1:] >= wrong[:-1]).all()) and wrong[0] == 0 and wrong[-1] == good[-1]:
        check(changed(name, wrong))
        return
    with pytest.raises(UnreadableSegmentError, match=f"{name} leads outside"):
        check(changed(name, wrong))


@pytest.mark.parametrize("name", [n for n in sorted(GOOD.arrays) if n.endswith("documents")])
def test_documents_that_are_not_there(name: str) -> None:
    wrong = GOOD.arrays[name].copy()
    wrong[0] = len(GOOD)
    with pytest.raises(UnreadableSegmentError, match=f"{name} leads outside"):
        check(changed(name, wrong))


def test_large_counts_of_words_that_are_not_there() -> None:
    wrong = GOOD.arrays["big_places"].copy()
    wrong[0] = len(GOOD.arrays["word_counts"])
    with pytest.raises(UnreadableSegmentError, match="big_places leads outside"):
        check(changed("big_places", wrong))


@given(name=st.sampled_from(sorted(GOOD.arrays)), data=st.data())
def test_what_passes_can_be_searched_or_fails_at_once(name: str, data: st.DataObject) -> None:
    """Whatever is in the arrays."""
    array = GOOD.arrays[name]
    raw = data.draw(st.binary(min_size=array.nbytes, max_size=array.nbytes))
    try:
        found = changed(name, np.frombuffer(raw, array.dtype).reshape(array.shape))
        check(found)
        engine.run(
            Query(["appl", "3"], "", "b", None, 10, ThreadWeights(), named=["ann"]), [source(found)]
        )
    except (UnreadableSegmentError, ValueError, LookupError, TypeError, ArithmeticError):
        pass
