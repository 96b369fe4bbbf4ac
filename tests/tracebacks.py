"""What errors would show."""

from __future__ import annotations


def all_text(error: BaseException | None) -> str:
    """What a traceback would show of an error and its causes."""
    text = ""
    while error is not None:
        text += f"{error!r} {error} "
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return text
