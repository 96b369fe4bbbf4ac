"""The words of a segment are those that the analyser gives, however the documents came in."""

from __future__ import annotations

from collections import Counter
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakebed.search import building
from lakebed.search.building import SegmentBuilder
from lakebed.search.postings import order_by
from lakebed.search.segment import MAX_DOCUMENTS, Segment
from lakebed.search.selecting import select
from lakebed.search.words import word_hash
from lakebed.values import text_bulk
from lakebed.values.text import analyse
from tests.search.strategies import document, segment, texts


def words_of(built: Segment) -> dict[str, Counter[int]]:
    """Of each document, by its key, the hashes of its words and how often each is there."""
    found = {built.key(number): Counter[int]() for number in range(len(built))}
    words = built.words
    for number, word in enumerate(words.hashes.tolist()):
        start, end = int(words.offsets[number]), int(words.offsets[number + 1])
        assert start < end, "a word that no document has"
        documents = words.documents[start:end].tolist()
        assert documents == sorted(set(documents))
        for place, count in zip(documents, words.frequencies(start, end).tolist(), strict=True):
            found[built.key(place)][word] = int(count)
    return found


def expected(found: dict[str, str]) -> dict[str, Counter[int]]:
    return {key: Counter(map(word_hash, analyse(text))) for key, text in found.items()}


@given(st.lists(texts, max_size=10))
def test_a_segment_has_the_words_of_its_documents(found: list[str]) -> None:
    built = segment([document(n + 1, f"{n}", text) for n, text in enumerate(found)])
    assert words_of(built) == expected({f"{n}": text for n, text in enumerate(found)})
    lengths = {built.key(n): int(built.lengths[n]) for n in range(len(built))}
    assert lengths == {f"{n}": len(analyse(text)) for n, text in enumerate(found)}


@pytest.mark.parametrize("sort", [True, False], ids=["in the order of keys", "in no order"])
@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_many_documents_that_come_in_parts(
    sort: bool, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Texts that are not of ASCII are analysed behind the others, whatever their place."""
    monkeypatch.setattr(text_bulk, "_MUCH", 1000)
    monkeypatch.setattr(text_bulk, "_WORTH_LOADING", 1000)
    monkeypatch.setattr(text_bulk, "_PART_BYTES", 1000)
    monkeypatch.setattr(building, "_TEXT_BYTES", 4000)
    random = Random(1)
    choices = ["apple", "pears", "plum", "apples"]
    found = {
        f"{n:04}": " ".join(random.choices(choices, k=8))
        + (" é" if random.random() < share else "")
        for n in range(600)
    }
    order = sorted(found) if sort else random.sample(sorted(found), len(found))
    builder = SegmentBuilder()
    for start in range(0, len(order), 150):
        builder.add([document(int(k) + 1, k, found[k]) for k in order[start : start + 150]])
    built = Segment(memoryview(builder.data()))
    assert words_of(built) == expected(found)
    lengths = {built.key(n): int(built.lengths[n]) for n in range(len(built))}
    assert lengths == {key: len(analyse(text)) for key, text in found.items()}


@given(st.lists(st.tuples(texts, st.booleans()), max_size=10), st.integers(0, 10))
def test_merging_keeps_what_is_kept_and_nothing_else(
    found: list[tuple[str, bool]], cut: int
) -> None:
    documents = [document(n + 1, f"{n}", text) for n, (text, _) in enumerate(found)]
    builder = SegmentBuilder()
    for part in (documents[:cut], documents[cut:]):
        built = segment(part)
        kept = np.array([found[int(v) - 1][1] for v in built.versions], np.bool_)
        builder.take(built, kept, built.ends)
    merged = Segment(memoryview(builder.data()))
    wanted = {f"{n}": text for n, (text, stays) in enumerate(found) if stays}
    assert words_of(merged) == expected(wanted)
    whole = segment(documents)
    kept = np.array([found[int(v) - 1][1] for v in whole.versions], np.bool_)
    selected = Segment(memoryview(select(whole, kept, whole.ends))).arrays
    assert selected.keys() == merged.arrays.keys()
    for name, array in selected.items():
        assert np.array_equal(array, merged.arrays[name]), name


@pytest.mark.parametrize("count", [1, 254, 255, 256, 257, 70_000])
def test_a_word_that_is_there_many_times(count: int) -> None:
    built = segment(
        [document(1, "b", "apple " * count), document(2, "a", "pear"), document(3, "c", "apple")]
    )
    builder = SegmentBuilder()
    builder.take(segment([document(4, "0", "pear " * 300)]), np.ones(1, np.bool_), np.ones(1))
    builder.take(built, np.ones(3, np.bool_), built.ends)
    merged = Segment(memoryview(builder.data()))
    for each in (built, merged):
        found = words_of(each)
        assert found["b"] == {word_hash("appl"): count}
        assert found["c"] == {word_hash("appl"): 1}
    assert words_of(merged)["0"] == {word_hash("pear"): 300}


def test_as_many_documents_as_there_can_be() -> None:
    built = segment([document(n + 1, f"{n:05}", f"apple number{n}") for n in range(MAX_DOCUMENTS)])
    assert len(built) == MAX_DOCUMENTS
    last = MAX_DOCUMENTS - 1
    hashes = np.array([word_hash("appl"), word_hash(f"number{last}"), 0], np.uint64)
    everywhere, once, nowhere = built.words.find(hashes)
    assert everywhere[1] - everywhere[0] == MAX_DOCUMENTS
    assert built.words.documents[once[0] : once[1]].tolist() == [last]
    assert nowhere == (0, 0)


@given(st.lists(st.tuples(st.integers(0, 2**32 - 1) | st.integers(0, 3), st.integers(0, 70_000))))
def test_order_by_two_columns(pairs: list[tuple[int, int]]) -> None:
    first, second = (np.array([pair[n] for pair in pairs], np.int64) for n in range(2))
    order = order_by(first, second).tolist()
    assert [pairs[place] for place in order] == sorted(pairs)
    assert sorted(order) == list(range(len(pairs)))
