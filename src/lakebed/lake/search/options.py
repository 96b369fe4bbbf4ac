"""The search settings of a client."""

# No `annotations` from __future__ here: a NamedTuple compiles each that is text, at each start.

from collections.abc import Callable, Sequence
from typing import NamedTuple


class SearchOptions(NamedTuple):
    """The search settings of a client.

    `cache`: the folder for copies of segments, or None for the default. `embedder`: what makes
    vectors, a name or a callable, or None for no vectors.
    """

    cache: str | None = None
    embedder: str | Callable[[Sequence[str]], object] | None = None
