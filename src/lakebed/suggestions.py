"""Suggestions for a mistyped word."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def closest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that is most like a mistyped one, or None."""
    found = difflib.get_close_matches(word.lower(), list(known), n=1, cutoff=0.6)
    return found[0] if found else None


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return `did you mean …?`, or the list of known words if none is similar."""
    known = sorted(known)
    near = closest(word, known)
    return f"did you mean {near!r}?" if near else f"expected one of {', '.join(known)}"
