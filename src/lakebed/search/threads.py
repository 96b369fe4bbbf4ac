"""Conversations: an entry's score includes parts of its neighbours' scores, and a bonus if the
question names its speaker.

Entries whose keys share everything up to the last `/` are a conversation, in the order of their
keys. The answer to a question is often next to the entry that has the question's words.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lakebed.search.ranking import Scores, Source


class ThreadWeights(NamedTuple):
    """Which share of other scores is added to the score of an entry.

    `previous`, `next` and `before_previous`: of the entries one before, one after and two before
    it. `speaker`: of the best score in the range of keys, if the question names the entry's speaker
    (`speaker` or `role` in the value or the metadata) and the entry has a score of its own.
    Measurements: docs/design/search.md.
    """

    previous: float = 0.35
    next: float = 0.2
    before_previous: float = 0.2
    speaker: float = 0.5


class Order(NamedTuple):
    """The documents of all sources, ordered by conversation and key, and which of them begin a
    conversation."""

    documents: NDArray[np.int64]
    begins: NDArray[np.bool_]


def order(sources: Sequence[Source]) -> Order:
    """Return the order of the visible documents. Numbers run on from source to source."""
    bases = np.cumsum([0, *(len(source.segment) for source in sources)])
    threads = np.concatenate([source.segment.threads for source in sources])
    visible = np.concatenate([source.visible for source in sources])
    documents = np.flatnonzero(visible)
    documents = documents[np.argsort(threads[documents], kind="stable")]
    found = threads[documents]
    begins = np.ones(len(documents), np.bool_)
    begins[1:] = found[1:] != found[:-1]
    _merge(sources, bases, documents, begins)
    return Order(documents, begins)


def _merge(
    sources: Sequence[Source],
    bases: NDArray[np.int64],
    documents: NDArray[np.int64],
    begins: NDArray[np.bool_],
) -> None:
    """Bring conversations that span several segments into key order, in place."""
    if len(sources) < 2:
        return
    of = np.searchsorted(bases, documents, side="right") - 1
    changes = np.flatnonzero((of[1:] != of[:-1]) & ~begins[1:]) + 1
    starts = np.append(np.flatnonzero(begins), len(documents))
    runs = np.unique(np.searchsorted(starts, changes, side="right") - 1)
    for start, end in zip(starts[runs].tolist(), starts[runs + 1].tolist(), strict=True):
        some = documents[start:end].tolist()
        keys = {
            number: sources[source].segment.keys[number - int(bases[source])]
            for number, source in zip(some, of[start:end].tolist(), strict=True)
        }
        documents[start:end] = sorted(some, key=keys.__getitem__)


def spread(own: Scores, ordered: Order, weights: ThreadWeights) -> Scores:
    """Return the scores with parts of the neighbours' scores added. In `own` and the result,
    numbers run on from source to source."""
    line = own[ordered.documents]
    found = line.copy()
    same = ~ordered.begins[1:]  # follows another document of its conversation
    found[1:] += weights.previous * np.where(same, line[:-1], 0.0)
    found[:-1] += weights.next * np.where(same, line[1:], 0.0)
    both = same[1:] & same[:-1]
    found[2:] += weights.before_previous * np.where(both, line[:-2], 0.0)
    result = np.zeros(len(own))
    result[ordered.documents] = found
    return result


def speakers(sources: Sequence[Source], low: str, high: str) -> set[str]:
    """Return the speakers of the visible documents whose keys are in a range."""
    names = set[str]()
    for source in sources:
        found = source.segment.speakers
        if not len(found):
            continue
        first, end = source.segment.key_range(low, high)
        visible = source.visible[found.documents]
        visible &= (found.documents >= first) & (found.documents < end)
        of = np.repeat(np.arange(len(found)), np.diff(found.offsets))
        names.update(found.pair(number)[0].decode() for number in np.unique(of[visible]).tolist())
    return names


def spoken(sources: Sequence[Source], words: Sequence[str]) -> NDArray[np.bool_]:
    """Return which documents have a speaker whom the words name. Numbers run on from source to
    source."""
    from lakebed.values.text import query_words

    named = frozenset(words)
    parts = []
    for source in sources:
        mask = np.zeros(len(source.segment), np.bool_)
        speakers = source.segment.speakers
        bounds = speakers.offsets.tolist()
        for number, (start, end) in enumerate(pairwise(bounds)):
            name = query_words(speakers.pair(number)[0].decode())
            if name and named.issuperset(name):
                mask[speakers.documents[start:end]] = True
        parts.append(mask)
    return np.concatenate(parts)
