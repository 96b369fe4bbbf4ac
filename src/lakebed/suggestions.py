"""Suggestions for a mistyped word."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def closest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that is most like a mistyped one, or None."""
    found = difflib.get_close_matches(word.lower(), list(known), n=1, cutoff=0.6)
    return found[0] if found else None


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return `did you mean …?`, or the list of known words if none is similar. If the word is a
    part of several known ones (`filter`), all of them are suggested."""
    known = sorted(known)
    longer = [each for each in known if word.lower() in each.split("_")]
    near = longer or [each for each in [closest(word, known)] if each]
    if near:
        return f"did you mean {' or '.join(map(repr, near))}?"
    return f"expected one of {', '.join(known)}"
