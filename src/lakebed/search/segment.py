"""A segment: the immutable index of some entries, in key order."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from lakebed.search.fields import Fields
from lakebed.search.format import Header, UnreadableSegmentError, read
from lakebed.search.postings import Postings, Texts
from lakebed.search.words import Words

MAX_DOCUMENTS = 32_768
"""The most documents in a segment. Their numbers take two bytes, and a purge rewrites whole
segments."""
MAX_POSTINGS = 4_000_000
"""The number of pairs of a word and a document at which a segment is full."""
NEVER = 2**63 - 1
"""The end of a current version, and the expiry of an entry that does not expire."""
GONE = 0
"""The end of a version that no snapshot and no moment sees."""
_ARRAYS = frozenset(
    ["key", "key_offsets", "thread", "version", "end", "expires_at", "length", "big_places"]
    + ["word_hashes", "word_offsets", "word_documents", "word_counts", "big_counts"]
    + [
        f"{name}_{part}"
        for name in ("value", "term", "speaker")
        for part in ("first", "first_offsets", "second", "second_offsets", "offsets", "documents")
    ]
)
_VECTOR_ARRAYS = frozenset(["content", "vector_codes", "vector_scales"])


class Segment:
    """Documents with their words, metadata and vectors. A document is a version of an entry.

    Field names do not count for a document's length. The arrays are views of the given bytes, which
    may be a file mapped into memory.
    """

    def __init__(self, data: memoryview) -> None:
        """Open a segment.

        Raises UnreadableSegmentError for another format or version and for malformed data.
        """
        header, arrays = read(data)
        wanted = _ARRAYS if header.embedder is None else _ARRAYS | _VECTOR_ARRAYS
        if missing := wanted - arrays.keys():
            raise UnreadableSegmentError(f"it lacks the arrays {sorted(missing)}")
        self.header: Header = header
        self.arrays = arrays
        self.keys = Texts(arrays["key"], arrays["key_offsets"])
        self.versions: NDArray[np.int64] = arrays["version"]
        self.ends: NDArray[np.int64] = arrays["end"]
        self.expiries: NDArray[np.int64] = arrays["expires_at"]
        self.lengths: NDArray[np.uint32] = arrays["length"]
        self.threads: NDArray[np.uint64] = arrays["thread"]
        self.words = Words(arrays)

    def __len__(self) -> int:
        return len(self.versions)

    @cached_property
    def fields(self) -> Fields:
        """The metadata."""
        return Fields(self.arrays, len(self))

    @cached_property
    def speakers(self) -> Postings:
        """The speakers: folded names, each with its documents."""
        return Postings("speaker", self.arrays)

    @cached_property
    def float_lengths(self) -> NDArray[np.float64]:
        """The lengths as floats, for ranking."""
        return self.lengths.astype(np.float64)

    @cached_property
    def first_expiry(self) -> int:
        """The time at which the first document expires."""
        return int(self.expiries.min(initial=NEVER))

    @cached_property
    def _by_version(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        order = np.argsort(self.versions, kind="stable")
        return self.versions[order], order

    @property
    def vectors(self) -> tuple[NDArray[np.int8], NDArray[np.float32]] | None:
        """The codes and scales of the vectors, one row for each document. A document without a
        vector has the scale 0."""
        if self.header.embedder is None:
            return None
        return self.arrays["vector_codes"], self.arrays["vector_scales"]

    @property
    def contents(self) -> NDArray[np.uint8]:
        """The content hashes, 32 bytes for each document."""
        return self.arrays["content"]

    def key(self, document: int) -> str:
        """Return the key of a document."""
        return self.keys[document].decode()

    def find_versions(
        self, versions: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return which of these versions the segment has, as indexes into `versions`, and their
        documents."""
        known, order = self._by_version
        if not len(known) or not len(versions):
            return np.empty(0, np.int64), np.empty(0, np.int64)
        places = np.minimum(np.searchsorted(known, versions), len(known) - 1)
        found = np.flatnonzero(known[places] == versions)
        return found, order[places[found]]

    def key_range(self, low: str, high: str) -> tuple[int, int]:
        """Return the documents with `low <= key < high`: the first, and the one after the last."""
        return self._place(low.encode()), self._place(high.encode())

    def _place(self, key: bytes) -> int:
        # Check the ends first: they decide for most segments, and each access loads file pages.
        if not len(self) or key <= self.keys[0]:
            return 0
        if key > self.keys[len(self) - 1]:
            return len(self)
        low, high = 0, len(self)
        while low < high:
            middle = (low + high) // 2
            if self.keys[middle] < key:
                low = middle + 1
            else:
                high = middle
        return low


def thread_of(key: str) -> str:
    """Return what the keys of a conversation share: everything up to the last `/`, or ""."""
    return key[: key.rfind("/") + 1]
