"""The search settings of a client."""

# No `annotations` from __future__ here: a NamedTuple compiles each that is text, at each start.

from collections.abc import Callable, Sequence
from typing import NamedTuple

from lakebed.errors import ValidationError

EMBEDDERS = ("minilm", "e5")


class SearchOptions(NamedTuple):
    """The search settings of a client.

    `cache`: the folder for copies of segments, or None for the default. `embedder`: what makes
    vectors, a name or a callable, or None for no vectors.
    """

    cache: str | None = None
    embedder: str | Callable[[Sequence[str]], object] | None = None


def check_embedder(given: object) -> None:
    """Raise ValidationError for a name that no embedder has, and for what cannot be called.

    The module of embedders says the same, but is slow to load.
    """
    if given is None or (isinstance(given, str) and given in EMBEDDERS):
        return
    if isinstance(given, str) or not callable(given):
        got = repr(given) if isinstance(given, str) else type(given).__name__
        names = " or ".join(map(repr, EMBEDDERS))
        raise ValidationError(f"embedder must be {names} or a callable, got {got}")
