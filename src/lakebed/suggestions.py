"""What somebody may have meant by a mistaken word."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def closest(word: str, known: Iterable[str]) -> str | None:
    """The known word that is most like a mistaken one."""
    found = difflib.get_close_matches(word.lower(), list(known), n=1, cutoff=0.6)
    return found[0] if found else None


def suggestion(word: str, known: Iterable[str]) -> str:
    """`did you mean …?`, or what there is to choose from."""
    known = sorted(known)
    near = closest(word, known)
    return f"did you mean {near!r}?" if near else f"expected one of {', '.join(known)}"
