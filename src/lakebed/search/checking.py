"""Checks that the arrays of a segment fit together. Somebody else may have written the segment.

A segment that passes can at worst give wrong answers. No offset points outside the arrays, and no
answer takes more memory than their sizes allow.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from lakebed.search.format import UnreadableSegmentError
from lakebed.search.segment import Segment

_POSTINGS = ("value", "term", "speaker")
_TYPES = {
    "key": "|u1", "key_offsets": "<u4", "thread": "<u8", "version": "<i8", "end": "<i8",
    "expires_at": "<i8", "length": "<u4", "word_hashes": "<u8", "word_offsets": "<u4",
    "word_documents": "<u2", "word_counts": "|u1", "big_places": "<u4", "big_counts": "<u4",
    "content": "|u1", "vector_codes": "|i1", "vector_scales": "<f4",
    **{f"{name}_{part}": "|u1" for name in _POSTINGS for part in ("first", "second")},
    **{f"{name}_{part}_offsets": "<u4" for name in _POSTINGS for part in ("first", "second")},
    **{f"{name}_offsets": "<u4" for name in _POSTINGS},
    **{f"{name}_documents": "<u2" for name in _POSTINGS},
}  # fmt: skip
_MATRICES = frozenset({"content", "vector_codes"})
_OF_DOCUMENTS = (
    "thread", "version", "end", "expires_at", "length", "content", "vector_codes", "vector_scales"
)  # fmt: skip

Arrays = Mapping[str, NDArray[Any]]


def check(segment: Segment) -> None:
    """Raise UnreadableSegmentError if the arrays of a segment do not fit together."""
    arrays, documents = segment.arrays, len(segment)
    for name, kind in _TYPES.items():
        if name in arrays:
            _demand(arrays[name].dtype.str == kind, f"{name} has the wrong type")
            _demand(arrays[name].ndim == 1 + (name in _MATRICES), f"{name} has the wrong shape")
    for name in _OF_DOCUMENTS:
        _demand(
            name not in arrays or len(arrays[name]) == documents, f"{name} has the wrong length"
        )
    _check_texts(arrays, "key", documents)
    words = len(arrays["word_hashes"])
    _check_offsets(arrays, "word_offsets", words, len(arrays["word_documents"]))
    _check_below(arrays, "word_documents", documents)
    counts = len(arrays["word_counts"])
    _demand(counts == len(arrays["word_documents"]), "word_counts has the wrong length")
    _demand(
        len(arrays["big_counts"]) == len(arrays["big_places"]), "big_counts has the wrong length"
    )
    _check_below(arrays, "big_places", counts)
    for name in _POSTINGS:
        pairs = len(arrays[f"{name}_offsets"]) - 1
        _check_offsets(arrays, f"{name}_offsets", pairs, len(arrays[f"{name}_documents"]))
        _check_below(arrays, f"{name}_documents", documents)
        _check_texts(arrays, f"{name}_first", pairs)
        _check_texts(arrays, f"{name}_second", pairs)


def _check_texts(arrays: Arrays, name: str, count: int) -> None:
    _check_offsets(arrays, f"{name}_offsets", count, len(arrays[name]))


def _check_offsets(arrays: Arrays, name: str, count: int, end: int) -> None:
    offsets = arrays[name]
    _demand(len(offsets) == count + 1 > 0, f"{name} has the wrong length")
    rises = bool((offsets[1:] >= offsets[:-1]).all())
    _demand(rises and int(offsets[0]) == 0 and int(offsets[-1]) == end, f"{name} leads outside")


def _check_below(arrays: Arrays, name: str, end: int) -> None:
    numbers = arrays[name]
    _demand(not len(numbers) or int(numbers.max()) < end, f"{name} leads outside")


def _demand(holds: bool, problem: str) -> None:
    if not holds:
        raise UnreadableSegmentError(f"its arrays do not fit together: {problem}")
