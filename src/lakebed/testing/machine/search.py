"""Rules for search. It must find what plain evaluation finds in a dictionary."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from lakebed import filters as grammar
from lakebed.lake.searching import Hits, Searching
from lakebed.search.speakers import without_speakers
from lakebed.testing.machine import strategies as some
from lakebed.testing.machine.snapshots import SnapshotRules
from lakebed.testing.model import Kept
from lakebed.values.text import analyse, name_words, query_words, text_and_names, text_of

PHRASES = [
    "x",
    "café parsing",
    "Cafe, parsed the large",
    "東京",
    "京 x",
    'AND NEAR("',
    "_%*",
    "large " * 20,
]
QUERIES = ["x", "parse the NOTE: CAFÉ", "京", 'large OR "near"', "the"]
FILTERS: list[dict[str, Any] | None] = [None, None, {"n": 1}, {"n": {"$ne": 1}}]

keys = st.sampled_from(["a", "a/b", "b", "é"])
texts = st.sampled_from(PHRASES) | st.text(max_size=8)
queries = st.none() | texts


class SearchMachine(SnapshotRules):
    """Searches between stores, deletes, expiry, snapshots and maintenance.

    Subclass it like `LakeMachine`.
    """

    @invariant()
    def finds_what_is_there(self) -> None:
        for number, query in enumerate(QUERIES):
            condition = FILTERS[(number + len(self.model.entries)) % len(FILTERS)]
            check_search(self.lake, self.model.visible(), query, "", condition, 2, 1)

    @invariant()
    def finds_what_was_there(self) -> None:
        for name, copy in self.copies.items():
            for query in QUERIES[:2]:
                check_search(self.lake.at(name), copy.visible(), query, "", None, 2, 1)

    @rule(
        key=keys,
        value=texts
        | st.lists(texts | st.dictionaries(texts, texts, max_size=2), max_size=3)
        | st.builds(str.encode, texts),
        metadata=st.fixed_dictionaries(
            {"n": st.integers(1, 2)}, optional={"note": st.sampled_from(PHRASES)}
        ),
        ttl=some.ttls,
    )
    def store(self, key: str, value: Any, metadata: dict[str, Any], ttl: int | None) -> None:
        self.model.store(key, value, metadata, ttl)
        span = None if ttl is None else timedelta(microseconds=ttl)
        self.lake.store(key, value, metadata, ttl=span)

    @rule(key=keys)
    def delete(self, key: str) -> None:
        assert self.model.delete(key) == self.lake.delete(key)

    @rule(micros=st.sampled_from([1, 1_000_000, 3_000_000]))
    def advance(self, micros: int) -> None:
        self.clock.advance(timedelta(microseconds=micros))

    @rule(
        query=queries,
        prefix=st.sampled_from(["", "a", "a/", "c"]),
        metadata_filter=st.none() | some.filters | st.sampled_from(FILTERS),
        limit=st.integers(0, 4),
        offset=st.integers(0, 3),
    )
    def search(
        self,
        query: str | None,
        prefix: str,
        metadata_filter: dict[str, Any] | None,
        limit: int,
        offset: int,
    ) -> None:
        visible = self.model.visible()
        check_search(self.lake, visible, query, prefix, metadata_filter, limit, offset)
        for name, copy in self.copies.items():
            view, visible = self.lake.at(name), copy.visible()
            check_search(view, visible, query, prefix, metadata_filter, limit, offset)


def matching(
    entries: Mapping[str, Kept],
    query: str | None,
    prefix: str = "",
    metadata_filter: dict[str, Any] | None = None,
) -> list[str]:
    """Return the keys that a search must find, in their order, by plain evaluation."""
    matches = grammar.Filter(metadata_filter or {}).matches
    words = None if query is None else set(query_words(query))
    return [
        key
        for key, kept in entries.items()
        if key.startswith(prefix)
        and matches(kept.metadata)
        and (words is None or not words.isdisjoint([*_tokens(kept), *_names(kept)]))
    ]


def bm25(entries: Mapping[str, Kept], query: str) -> dict[str, float]:
    """Return the score of each matching key, by the formulas of `lakebed.search.ranking`."""
    scores = _by_text(entries, query)
    for key, score in _by_names(entries, query).items():
        scores[key] = scores.get(key, 0.0) + score
    return scores


def _tokens(kept: Kept) -> list[str]:
    return analyse(text_of(kept.value, kept.metadata))


def _names(kept: Kept) -> set[str]:
    return name_words(text_and_names([kept.value, kept.metadata])[1])


def _weight(documents: int, having: int) -> float:
    return math.log(1 + (documents - having + 0.5) / (having + 0.5))


def _by_names(entries: Mapping[str, Kept], query: str) -> dict[str, float]:
    """Return what field names add to scores: half of what the word would add to the longest entry
    as text."""
    documents = {key: _tokens(kept) for key, kept in entries.items()}
    names = {key: _names(kept) for key, kept in entries.items()}
    lengths = [*map(len, documents.values()), 0]
    average = max(sum(lengths) / max(len(documents), 1), 1.0)
    scores: dict[str, float] = {}
    for word in query_words(query):
        having = [key for key in names if word in names[key]]
        most = max(len(having), sum(word in tokens for tokens in documents.values()))
        brevity = 1.2 * (0.25 + 0.75 * max(lengths) / average)
        for key in having:
            part = 0.5 * _weight(len(documents), most) * 2.2 / (1 + brevity)
            scores[key] = scores.get(key, 0.0) + part
    return scores


def _by_text(entries: Mapping[str, Kept], query: str) -> dict[str, float]:
    """Return the score of each key whose text matches, word by word."""
    documents = {key: _tokens(kept) for key, kept in entries.items()}
    average = max(sum(map(len, documents.values())) / max(len(documents), 1), 1.0)
    scores: dict[str, float] = {}
    for word in query_words(query):
        having = [key for key, tokens in documents.items() if word in tokens]
        weight = _weight(len(documents), len(having))
        for key in having:
            count, length = documents[key].count(word), len(documents[key])
            brevity = 1.2 * (0.25 + 0.75 * length / average)
            scores[key] = scores.get(key, 0.0) + weight * count * 2.2 / (count + brevity)
    return scores


def conversations(entries: Mapping[str, Kept], question: str, prefix: str = "") -> dict[str, float]:
    """Return the scores with parts for neighbours and speakers. See `lakebed.search.threads`."""
    within = [key for key in entries if key.startswith(prefix)]
    speakers = {_speaker(entries[key]) for key in within} - {""}
    reduced = without_speakers(question, speakers)
    own = _by_text(entries, reduced)
    words = set(query_words(question))
    best = max((own.get(key, 0.0) for key in within), default=0.0)
    lines: dict[str, list[str]] = {}
    for key in sorted(entries, key=str.encode):
        lines.setdefault(key[: key.rfind("/") + 1], []).append(key)
    scores: dict[str, float] = {}
    for line in lines.values():
        for place, key in enumerate(line):
            parts = ((0, 1.0), (-1, 0.35), (1, 0.2), (-2, 0.2))
            score = sum(
                weight * own.get(line[place + step], 0.0)
                for step, weight in parts
                if 0 <= place + step < len(line)
            )
            if score > 0:
                name = query_words(_speaker(entries[key]))
                spoken = bool(name) and words.issuperset(name)
                scores[key] = score + (0.5 * best if spoken else 0.0)
    for key, score in _by_names(entries, reduced).items():
        scores[key] = scores.get(key, 0.0) + score
    return scores


def _speaker(kept: Kept) -> str:
    for found in (kept.value, kept.metadata):
        if isinstance(found, Mapping):
            for name in ("speaker", "role"):
                if isinstance(speaker := found.get(name), str) and speaker:
                    return speaker
    return ""


def check_threads(
    lake: Searching,
    entries: Mapping[str, Kept],
    query: str,
    prefix: str = "",
    metadata_filter: dict[str, Any] | None = None,
) -> None:
    """Check that a search by conversations finds what it must."""
    matches = grammar.Filter(metadata_filter or {}).matches
    expected = {
        key: score
        for key, score in conversations(entries, query, prefix).items()
        if key.startswith(prefix) and matches(entries[key].metadata)
    }
    found = lake.search(
        query, prefix=prefix, metadata_filter=metadata_filter, limit=1000, thread=True
    )
    assert {hit.key for hit in found} == set(expected)
    assert found.total == len(expected)
    assert all(math.isclose(hit.score, expected[hit.key], rel_tol=1e-9) for hit in found)


def check_search(
    lake: Searching,
    entries: Mapping[str, Kept],
    query: str | None,
    prefix: str,
    metadata_filter: dict[str, Any] | None,
    limit: int,
    offset: int,
) -> None:
    """Check that a search finds what it must, in order, page by page."""

    def search(limit: int, offset: int) -> Hits:
        return lake.search(
            query, prefix=prefix, metadata_filter=metadata_filter, limit=limit, offset=offset
        )

    expected = matching(entries, query, prefix, metadata_filter)
    found = search(100_000, 0)
    keys = [hit.key for hit in found]
    assert sorted(keys, key=str.encode) == expected
    assert found.total == len(expected)
    assert found.unread == 0
    order = [(-hit.score, hit.key.encode()) for hit in found]
    assert order == sorted(order)
    expected_scores = dict.fromkeys(keys, 0.0) if query is None else bm25(entries, query)
    assert all(math.isclose(hit.score, expected_scores[hit.key], rel_tol=1e-9) for hit in found)
    if query is not None:
        assert all(hit.score > 0 for hit in found)
    page = search(limit, offset)
    assert page.total == len(expected)
    assert [hit.key for hit in page] == keys[offset : offset + limit]
