"""Many texts at once have the tokens that each has alone."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lakebed.values import text_bulk
from lakebed.values.text import analyse
from lakebed.values.text_bulk import analyse_many

ascii_texts = st.text(st.characters(max_codepoint=127), max_size=30)
any_texts = st.text(max_size=30) | st.sampled_from(["İstanbul ß ﬁ", "東京 tower", "\ud83d\ude00 x"])


def tokens(texts: list[str]) -> list[Counter[str]]:
    found = [Counter[str]() for _ in texts]
    for part in analyse_many(texts):
        assert len(set(part.words)) == len(part.words)
        for number, text in zip(part.numbers.tolist(), part.texts.tolist(), strict=True):
            found[text][part.words[number]] += 1
    return found


@given(st.lists(ascii_texts | any_texts, max_size=10), st.integers(0, 80), st.booleans())
@example(["running\x1fruns\x00ran", "a" * 200, ""], 64, True)
@example(["x1y 1984abc don't U.S.A. foo_bar"], 70, False)
@example(["x1y 1984abc don't U.S.A. foo_bar"], 70, True)
def test_as_one_by_one(texts: list[str], padding: int, by_arrow: bool) -> None:
    texts = texts + ["The runner's running, 3.14"] * padding + texts
    with pytest.MonkeyPatch.context() as patch:
        if by_arrow:
            patch.setattr(text_bulk, "_MUCH", 0)
            patch.setattr(text_bulk, "_WORTH_LOADING", 0)
        assert tokens(texts) == [Counter(analyse(text)) for text in texts]


def test_texts_of_several_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_bulk, "_MUCH", 1000)
    monkeypatch.setattr(text_bulk, "_WORTH_LOADING", 1000)
    monkeypatch.setattr(text_bulk, "_PART_BYTES", 1000)
    texts = [f"apples number{n} {'pears ' * (n % 7)}" for n in range(500)]
    assert tokens(texts) == [Counter(analyse(text)) for text in texts]
