"""Questions that name who speaks.

"What did Ann say about the lake?" looks for an entry of Ann's about the lake. Her name stands in
all that she says, and often in what others say to her: as a word it ranks the short entries first,
and a model finds nearest what is called like her. So the name chooses the speaker and is no part of
what is looked for. (docs/design/search.md has what that gives.)
"""

from __future__ import annotations

from collections.abc import Iterable

from lakebed.values.text import query_words


def without_speakers(question: str, speakers: Iterable[str]) -> str:
    """Return the question without the names of speakers that it names in full.

    Case, accents and a possessive "'s" do not matter. A question that consists only of names stays
    as it is.
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
