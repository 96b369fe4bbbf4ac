"""Questions that name who speaks.

"What did Ann say about the lake?" asks for an entry of Ann's about the lake. Her name is in
everything that she says, and often in what others say to her. As a word, it would rank short
entries first. In a vector, it would favour texts that mention the name. So the name only chooses
the speaker, and the search uses the rest of the question. (Measurements: docs/design/search.md.)
"""

from __future__ import annotations

from collections.abc import Iterable

from lakebed.values.text import query_words


def without_speakers(question: str, speakers: Iterable[str]) -> str:
    """Return the question without those speakers' names that it has in full.

    Case, accents and a possessive "'s" do not matter. A question that consists only of names is
    returned unchanged.
    """
    words = query_words(question)
    every = frozenset(words)
    names = set[str]()
    for speaker in speakers:
        name = query_words(speaker)
        if every.issuperset(name):
            names.update(name)
    if names.issuperset(words):
        return question
    return " ".join(part for part in question.split() if not _is_of(part, names))


def _is_of(part: str, names: set[str]) -> bool:
    """Return whether a part of a question consists only of words of names."""
    words = query_words(part)
    return bool(words) and names.issuperset(words)
