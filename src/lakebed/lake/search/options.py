"""How a client searches."""

# No `annotations` from __future__ here: a NamedTuple compiles each that is text, at each start.

from collections.abc import Callable, Sequence
from typing import NamedTuple


class SearchOptions(NamedTuple):
    """How a client searches. `cache`: the folder for copies of segments, None for the usual one.
    `embedder`: what makes vectors, None for no vectors: a name or a callable."""

    cache: str | None = None
    embedder: str | Callable[[Sequence[str]], object] | None = None
