"""Questions without the names of the speakers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakebed.search.speakers import without_speakers
from lakebed.values.text import query_words

_SPEAKERS = ["Ann", "Jürgen", "Mary Ann Smith", "user", ""]


@pytest.mark.parametrize(
    ("question", "rest"),
    [
        ("What did Ann say about the lake?", "What did say about the lake?"),
        ("Which lake is Ann's?", "Which lake is"),
        ("Which lake does ANN, or JURGEN like?", "Which lake does or like?"),
        ("Does Mary Ann Smith swim?", "Does swim?"),
        ("Does Mary Smith swim?", "Does Mary Smith swim?"),  # not the whole name
        ("Does Mary swim with Ann?", "Does Mary swim with"),
        ("What did the user swim in?", "What did the swim in?"),
        ("Who is Ann?", "Who is Ann?"),  # nothing else to look for
        ("Ann Jürgen", "Ann Jürgen"),
        ("Is the lake deep?", "Is the lake deep?"),
        ("", ""),
        ("?!", "?!"),
    ],
)
def test_examples(question: str, rest: str) -> None:
    assert without_speakers(question, _SPEAKERS) == rest


@given(st.text(max_size=60), st.lists(st.text(max_size=10), max_size=4))
def test_nothing_but_names_goes(question: str, speakers: list[str]) -> None:
    words, rest = query_words(question), query_words(without_speakers(question, speakers))
    of_names = {word for speaker in speakers for word in query_words(speaker)}
    assert [word for word in rest if word not in of_names] == [
        word for word in words if word not in of_names
    ]
    assert bool(rest) == bool(words)


@given(
    st.lists(st.sampled_from(["lake", "deep", "ann", "bob", "the", "is"]), max_size=8),
    st.lists(st.sampled_from(["Ann", "Bob", "Ann Bob"]), max_size=3),
)
def test_against_the_words_of_the_question(words: list[str], speakers: list[str]) -> None:
    question = " ".join(words)
    asked = query_words(question)
    named = {
        word
        for speaker in speakers
        for word in query_words(speaker)
        if set(query_words(speaker)) <= set(asked)
    }
    wanted = [word for word in asked if word not in named] or asked
    assert query_words(without_speakers(question, speakers)) == wanted
