"""Copy a segment without some of its documents. A purge does so, which is faster than to build the
segment anew."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lakebed.search.format import Header, write
from lakebed.search.segment import Segment

_COLUMNS = ("thread", "version", "expires_at", "length", "content", "vector_codes", "vector_scales")

_FEW = 8  # up to this many documents to leave out, comparing is faster than looking up


def select(segment: Segment, kept: NDArray[np.bool_], ends: NDArray[np.int64]) -> bytes:
    """Return the bytes of a segment with only the documents that are `kept`, and their current end
    versions. Nothing that only the other documents had remains: no word, key or metadata."""
    old = segment.arrays
    new = {name: old[name][kept] for name in _COLUMNS if name in old}
    new["end"] = ends[kept]
    new |= _texts(old, "key", kept)
    stays, used, new["word_offsets"] = _postings(old, "word", kept)
    new["word_hashes"] = old["word_hashes"][used]
    new["word_documents"] = _moved(kept, old["word_documents"][stays])
    new["word_counts"] = old["word_counts"][stays]
    big = stays[old["big_places"]]
    new["big_places"] = _staying(stays, old["big_places"][big])
    new["big_counts"] = old["big_counts"][big]
    for name in ("value", "term", "speaker"):
        stays, used, new[f"{name}_offsets"] = _postings(old, name, kept)
        new[f"{name}_documents"] = _moved(kept, old[f"{name}_documents"][stays])
        new |= _texts(old, f"{name}_first", used) | _texts(old, f"{name}_second", used)
    return write(Header(int(np.count_nonzero(kept)), segment.header.embedder), new)


def _postings(
    old: Mapping[str, NDArray[Any]], name: str, kept: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.uint32]]:
    """Return which postings stay, which words or pairs still have some, and where those begin."""
    stays = _stay(kept, old[f"{name}_documents"])
    starts = _staying(stays, old[f"{name}_offsets"])
    used = starts[1:] > starts[:-1]
    return stays, used, np.append(starts[:-1][used], starts[-1:])


def _stay(kept: NDArray[np.bool_], documents: NDArray[np.uint16]) -> NDArray[np.bool_]:
    """Return whether each of the documents is kept."""
    gone = np.flatnonzero(~kept).astype(np.uint16)
    if len(gone) > _FEW:
        return kept[documents]
    stay = np.ones(len(documents), np.bool_)
    for document in gone:
        stay &= documents != document
    return stay


def _moved(kept: NDArray[np.bool_], documents: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Return the new numbers of these documents. All of them must be kept."""
    gone = np.flatnonzero(~kept).astype(np.uint16)
    if len(gone) > _FEW:
        return (np.cumsum(kept) - 1).astype(np.uint16)[documents]
    moved = documents.copy()
    for document in gone:
        moved -= documents > document
    return moved


def _staying(stays: NDArray[np.bool_], places: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Return how many postings before each of these places stay.

    Usually few go, and counting those takes a fifth of the time.
    """
    return places - np.searchsorted(np.flatnonzero(~stays), places).astype(np.uint32)


def _texts(
    old: Mapping[str, NDArray[Any]], name: str, kept: NDArray[np.bool_]
) -> dict[str, NDArray[Any]]:
    """Return the arrays of `Texts` for the texts that are kept."""
    lengths = np.diff(old[f"{name}_offsets"])
    offsets = np.zeros(int(np.count_nonzero(kept)) + 1, np.uint32)
    np.cumsum(lengths[kept], out=offsets[1:])
    return {name: old[name][np.repeat(kept, lengths)], f"{name}_offsets": offsets}
