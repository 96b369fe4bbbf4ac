"""The documents that a search sees, now or at a moment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lakebed.catalog.search_rows import SegmentRow, SegmentState
from lakebed.model import Moment
from lakebed.search.ranking import Source, source_of
from lakebed.search.segment import NEVER, Segment

Ends = NDArray[np.int64]
"""Rows of a version and the version that ended it."""

_VIEWS = 4  # the present, and a few moments that are likely to be searched again


class Loaded(NamedTuple):
    """The segments of a state, with the ends of their documents as the segments themselves record
    them.

    `whole`: all of them could be opened. If not, nothing may be built: the ends of the documents
    that are missing here would be lost.
    """

    state: SegmentState
    rows: Sequence[SegmentRow]
    segments: Sequence[Segment]
    ends: Sequence[NDArray[np.int64]]
    whole: bool = True


def apply_ends(
    segments: Sequence[Segment], known: Sequence[NDArray[np.int64]], ends: Ends
) -> list[NDArray[np.int64]]:
    """Return the ends of each segment's documents after more of them have ended."""
    result = list(known)
    for number, segment in enumerate(segments):
        places, documents = segment.find_versions(ends[:, 0])
        if len(places):
            changed = result[number].copy()
            # A purge overrides all ends; no moment sees what ended at 0 or below.
            changed[documents] = np.minimum(changed[documents], ends[places, 1])
            result[number] = changed
    return result


class Views:
    """The visible documents of loaded segments, kept from search to search."""

    def __init__(self, loaded: Loaded) -> None:
        self.loaded = loaded
        self._known: dict[tuple[bytes, Moment | None], list[Source]] = {}

    def sources(self, ended: Ends, moment: Moment | None, now: int) -> list[Source]:
        """Return the segments as seen now, or at a moment."""
        asked = ended.tobytes(), moment
        found = self._known.get(asked)
        if found is None:
            found = self._look(ended, moment)
            if len(self._known) >= _VIEWS:
                self._known.clear()
            self._known[asked] = found
        return [_unexpired(source, now) for source in found]

    def _look(self, ended: Ends, moment: Moment | None) -> list[Source]:
        loaded = self.loaded
        sources = []
        for segment, ends in zip(
            loaded.segments, apply_ends(loaded.segments, loaded.ends, ended), strict=True
        ):
            if moment is None:
                visible = ends == NEVER
            else:
                visible = (segment.versions <= moment.version) & (ends > moment.version)
            sources.append(source_of(segment, visible))
        return sources


def _unexpired(source: Source, now: int) -> Source:
    if source.segment.first_expiry > now:
        return source
    return source_of(source.segment, source.visible & (source.segment.expiries > now))


def visible_versions(segment: Segment, versions: NDArray[np.int64], now: int) -> Source:
    """Return a segment of which only these versions are visible, unless they have expired."""
    _, documents = segment.find_versions(versions)
    visible = np.zeros(len(segment), np.bool_)
    visible[documents] = True
    return _unexpired(source_of(segment, visible), now)


def as_ends(pairs: Sequence[tuple[int, int]] | bytes) -> Ends:
    """Return pairs as an array."""
    if isinstance(pairs, bytes):
        return np.frombuffer(pairs, "<i8").reshape(-1, 2)
    array: NDArray[Any] = np.array(pairs, np.int64).reshape(-1, 2)
    return array
