"""One search over segments: score the documents, filter and count them, and take the best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lakebed.search import ranking, threads
from lakebed.search.ranking import Ranking, Scores, Source
from lakebed.search.speakers import without_speakers
from lakebed.search.threads import ThreadWeights
from lakebed.values.text import query_words

if TYPE_CHECKING:
    from lakebed.filters import Filter

_LEAST = 1e-9  # the least score of a match

Mode = Literal["text", "vector", "hybrid"]


class Query(NamedTuple):
    """A search among the entries whose key is in the range and whose metadata match the filter.

    `words`: tokens of the analyser. `vector`: the vector of the question, for the modes that need
    it. `wanted`: the number of hits. `named`: words that may name a speaker.
    """

    words: Sequence[str]
    low: str
    high: str
    metadata_filter: Filter | None
    wanted: int
    thread: ThreadWeights | None = None
    mode: Mode = "text"
    vector: NDArray[np.float32] | None = None
    named: Sequence[str] = ()


class Found(NamedTuple):
    """A document that a search found, and the parts of its score."""

    score: float
    key: str
    version: int
    parts: Mapping[str, float]


class Result(NamedTuple):
    """The best documents, and the number of all matches."""

    found: Sequence[Found]
    total: int


def heed_speakers(query: Query, question: str, sources: Sequence[Source]) -> tuple[str, Query]:
    """Return the question and the query without the names of speakers.

    If the query does not weigh conversations, both are returned unchanged.
    """
    if query.thread is None:
        return question, query
    text = without_speakers(question, threads.speakers(sources, query.low, query.high))
    return text, query._replace(words=query_words(text), named=query_words(question))


def run(query: Query, sources: Sequence[Source]) -> Result:
    """Return the best matches. Matches with equal scores are ordered by key."""
    sources = [source for source in sources if source.documents]
    if not sources:
        return Result([], 0)
    weighed = ranking.rank(query.words, sources)
    if query.thread is None and query.vector is None:
        # All documents count for the weights, but only a few segments may hold a match.
        some = [number for number, source in enumerate(sources) if _may_match(query, source)]
        sources = [sources[number] for number in some]
        weighed = weighed._replace(places=[weighed.places[number] for number in some])
    text, vector = _scores(query, weighed, sources)
    final = (
        _restricted(query, text, sources)
        if vector is None
        else _fused(query, text, vector, sources)
    )
    best = _best(final, sources, query.wanted)
    total = sum(int(np.count_nonzero(part > 0)) for part in final)
    return Result([_explained(query, weighed, sources, text, vector, *one) for one in best], total)


def _scores(
    query: Query, weighed: Ranking, sources: Sequence[Source]
) -> tuple[list[Scores], list[NDArray[np.float32]] | None]:
    """Return the score of each document by words, and its similarity to the question.

    If the query weighs conversations, a score includes parts of the neighbours' scores. Field names
    are not part of what is said, so they count only for the document itself.
    """
    text = [ranking.scores(weighed, number, source) for number, source in enumerate(sources)]
    if query.thread is not None and query.mode != "vector":
        text = _spread(query, query.thread, text, sources)
    for number, source in enumerate(sources):
        ranking.add_names(weighed, number, source, text[number])
    if query.vector is None:
        return text, None
    return text, [_similarities(query.vector, source) for source in sources]


def _spread(
    query: Query, weights: ThreadWeights, text: Sequence[Scores], sources: Sequence[Source]
) -> list[Scores]:
    own = np.concatenate(text)
    scores = threads.spread(own, threads.order(sources), weights)
    if weights.speaker and len(own):
        bounds = [source.segment.key_range(query.low, query.high) for source in sources]
        best = max(
            float(part[first:end].max(initial=0.0))
            for part, (first, end) in zip(text, bounds, strict=True)
        )
        named = threads.spoken(sources, query.named) & (scores > 0)
        scores[named] += weights.speaker * best
    return np.split(scores, np.cumsum([len(part) for part in text])[:-1])


def _similarities(vector: NDArray[np.float32], source: Source) -> NDArray[np.float32]:
    """Return the similarity of each document; NaN for one without a vector."""
    from lakebed.search.vectors import similarities

    if source.segment.vectors is None:
        return np.full(len(source.segment), np.nan, np.float32)
    codes, scales = source.segment.vectors
    found = similarities(codes, scales, vector)
    found[scales == 0] = np.nan
    return found


def scope(query: Query, source: Source, wanted: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the numbers of the wanted documents that are in the key range and match the filter."""
    segment = source.segment
    first, end = segment.key_range(query.low, query.high)
    if first > 0 or end < len(segment):
        wanted = wanted.copy()
        wanted[:first] = False
        wanted[end:] = False
    if query.metadata_filter is not None:
        return segment.fields.passing(query.metadata_filter, wanted)
    return np.flatnonzero(wanted)


def _may_match(query: Query, source: Source) -> bool:
    """Return whether the documents of a source can contain a match."""
    first, end = source.segment.key_range(query.low, query.high)
    condition = query.metadata_filter
    return first < end and (condition is None or source.segment.fields.may_pass(condition))


def _restricted(query: Query, text: Sequence[Scores], sources: Sequence[Source]) -> list[Scores]:
    """Return the scores by words. Documents outside the key range or the filter score 0."""
    final = []
    for part, source in zip(text, sources, strict=True):
        first, end = source.segment.key_range(query.low, query.high)
        if query.metadata_filter is None and first == 0 and end == len(source.segment):
            final.append(part)
            continue
        numbers = scope(query, source, part > 0)
        passing = np.zeros(len(part))
        passing[numbers] = part[numbers]
        final.append(passing)
    return final


def _fused(
    query: Query,
    text: Sequence[Scores],
    vector: Sequence[NDArray[np.float32]],
    sources: Sequence[Source],
) -> list[Scores]:
    """Return the scores by words and meaning, or by meaning alone. A match scores above 0."""
    from lakebed.search.fusion import fuse

    matching = np.concatenate([_mask(query, source) for source in sources])
    similar = np.concatenate(vector).astype(np.float64)
    known = ~np.isnan(similar)
    result = np.zeros(len(matching))
    if query.mode == "vector":
        # Cosines are between -1 and 1, but the score of a match must be above 0.
        matching &= known
        result[matching] = np.maximum((1.0 + similar[matching]) / 2, _LEAST)
    else:
        words = np.concatenate(text)
        matching &= known | (words > 0)
        fused = fuse(words[matching], similar[matching])
        result[matching] = np.maximum(fused, _LEAST)
    return np.split(result, np.cumsum([len(part) for part in text])[:-1])


def _mask(query: Query, source: Source) -> NDArray[np.bool_]:
    mask = np.zeros(len(source.segment), np.bool_)
    mask[scope(query, source, source.visible)] = True
    return mask


def _best(
    final: Sequence[Scores], sources: Sequence[Source], wanted: int
) -> list[tuple[float, str, int, int]]:
    """Return the score, key, source and document of each of the best."""
    best: list[tuple[float, bytes, int, int]] = []
    least = 0.0
    for number, scores in enumerate(final):
        documents = np.flatnonzero(scores >= least if least else scores > 0)
        if len(documents) > wanted:
            documents = _top(documents, scores[documents], wanted)
        keys = sources[number].segment.keys
        best += [
            (-score, keys[document], number, document)
            for document, score in zip(documents.tolist(), scores[documents].tolist(), strict=True)
        ]
        if len(best) > wanted:
            best = sorted(best)[:wanted]
        if len(best) == wanted and wanted:
            least = -max(best)[0]
    return [
        (-score, key.decode(), number, document) for score, key, number, document in sorted(best)
    ]


def _top(documents: NDArray[np.int64], scores: Scores, wanted: int) -> NDArray[np.int64]:
    """Return the best documents of one segment. Equal scores are in the order of their keys."""
    if not wanted:
        return documents[:0]
    least = np.partition(scores, len(scores) - wanted)[len(scores) - wanted]
    above = documents[scores > least]
    equal = documents[scores == least][: wanted - len(above)]
    return np.concatenate((above, equal))


def _explained(
    query: Query,
    weighed: Ranking,
    sources: Sequence[Source],
    text: Sequence[Scores],
    vector: Sequence[NDArray[np.float32]] | None,
    score: float,
    key: str,
    number: int,
    document: int,
) -> Found:
    source = sources[number]
    parts = ranking.explain(weighed, number, source, document)
    whole = float(text[number][document])
    rest = whole - sum(parts.values())  # rounding can make it slightly different from 0
    if query.thread is not None and query.mode != "vector" and rest > _LEAST * whole:
        parts["(conversation)"] = rest
    if vector is not None and not np.isnan(similar := float(vector[number][document])):
        parts["(similarity)"] = similar
    return Found(score, key, int(source.segment.versions[document]), parts)
