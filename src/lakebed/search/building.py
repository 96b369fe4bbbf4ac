"""Building segments from documents and from other segments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lakebed.search.fields import FieldsBuilder
from lakebed.search.format import Header, write
from lakebed.search.postings import PostingsBuilder, join
from lakebed.search.segment import (
    MAX_DOCUMENTS,
    MAX_POSTINGS,
    NEVER,
    Segment,
    thread_of,
)
from lakebed.search.words import WordsBuilder, word_hash
from lakebed.values.text import name_words
from lakebed.values.text_bulk import Tokens, analyse_many

_TEXT_BYTES = 4 << 20


class Document(NamedTuple):
    """A version of an entry, as input for a segment.

    Times are in microseconds. `end_version`: None for a current version. `speaker`: who says the
    text, or "". `vector`: the vector of the content; None if the content has no text or the segment
    has no vectors. `names`: the field names.
    """

    key: str
    version: int
    end_version: int | None
    expires_at: int | None
    content_hash: bytes
    metadata: Mapping[str, object]
    text: str
    speaker: str = ""
    vector: NDArray[np.float32] | None = None
    names: frozenset[str] = frozenset()


class SegmentBuilder:
    """Collects documents. `data` returns the bytes of their segment."""

    def __init__(self, embedder: str | None = None) -> None:
        self._embedder = embedder
        self._keys: list[bytes] = []
        self._threads: list[int] = []
        self._numbers: list[NDArray[np.int64]] = []  # columns: version, end, expiry
        self._lengths: list[NDArray[np.int64]] = []
        self._texts: list[str] = []  # not yet analysed: many at once are analysed faster
        self._names: list[frozenset[str]] = []  # likewise
        self._text_bytes = 0
        self._vectors: list[tuple[NDArray[np.uint8], NDArray[np.int8], NDArray[np.float32]]] = []
        self._words = WordsBuilder()
        self._fields = FieldsBuilder()
        self._speakers = PostingsBuilder()

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def is_full(self) -> bool:
        """Whether the segment can take no more documents."""
        return len(self) >= MAX_DOCUMENTS or self._words.postings >= MAX_POSTINGS

    def add(self, documents: Sequence[Document]) -> None:
        """Add documents. A segment has at most MAX_DOCUMENTS, and each version only once."""
        first, thread, number = len(self), None, 0
        for place, document in enumerate(documents, first):
            self._keys.append(document.key.encode())
            if (found := thread_of(document.key)) != thread:
                thread, number = found, word_hash(found)
            self._threads.append(number)
            if document.metadata:
                self._fields.add(place, document.metadata)
            if document.speaker:
                pair = document.speaker.encode(), b""
                self._speakers.add([self._speakers.number(pair)], place)
            self._texts.append(document.text)
            self._names.append(document.names)
            self._text_bytes += len(document.text) + sum(map(len, document.names))
        numbers = np.empty((len(documents), 3), np.int64)
        numbers[:, 0] = [document.version for document in documents]
        numbers[:, 1] = [_or_never(document.end_version) for document in documents]
        numbers[:, 2] = [_or_never(document.expires_at) for document in documents]
        self._numbers.append(numbers)
        if self._embedder is not None:
            self._vectors.append(_quantised(documents))
        if self._text_bytes > _TEXT_BYTES:
            self._analyse()

    def _analyse(self) -> None:
        """Add the words of the documents in `_texts`, and of their field names."""
        texts, self._texts, self._text_bytes = self._texts, [], 0
        names, self._names = self._names, []
        first, lengths = len(self) - len(texts), np.zeros(len(texts), np.int64)
        for tokens in analyse_many(texts):
            lengths += np.bincount(tokens.texts, minlength=len(texts))
            self._words.add(tokens.words, tokens.numbers, tokens.texts + first)
        self._lengths.append(lengths)
        found = _tokens_of_names(names)
        self._words.add_names(found.words, found.numbers, found.texts + first)

    def take(self, segment: Segment, kept: NDArray[np.bool_], ends: NDArray[np.int64]) -> None:
        """Add those documents of a segment that are `kept`, with their current end versions."""
        self._analyse()
        documents = np.flatnonzero(kept)
        moved = np.full(len(segment), -1, np.int64)
        moved[documents] = np.arange(len(self), len(self) + len(documents))
        keys = segment.keys.all()
        self._keys.extend(keys[document] for document in documents.tolist())
        self._threads.extend(segment.threads[documents].tolist())
        columns = (segment.versions, ends, segment.expiries)
        self._numbers.append(
            np.stack([column[documents].astype(np.int64) for column in columns], 1)
        )
        self._lengths.append(segment.lengths[documents].astype(np.int64))
        self._words.take(segment.words, moved)
        self._fields.take(segment.fields, moved)
        self._speakers.take(segment.speakers, moved)
        if self._embedder is not None:
            assert segment.vectors is not None
            codes, scales = segment.vectors
            contents = segment.contents[documents]
            self._vectors.append((contents, codes[documents], scales[documents]))

    def data(self) -> bytes:
        """Return the bytes of the segment."""
        self._analyse()
        by_key = sorted(range(len(self)), key=self._keys.__getitem__)
        places = np.array(by_key, np.int64)
        order = np.empty(len(self), np.int64)
        order[places] = np.arange(len(self))
        numbers = np.concatenate(self._numbers)[places] if self._numbers else np.empty((0, 3))
        arrays: dict[str, NDArray[Any]] = {
            **join("key", [self._keys[place] for place in by_key]),
            "thread": np.array(self._threads, np.uint64)[places],
            "version": numbers[:, 0].astype(np.int64),
            "end": numbers[:, 1].astype(np.int64),
            "expires_at": numbers[:, 2].astype(np.int64),
            "length": np.concatenate(self._lengths)[places].astype(np.uint32),
            **self._words.arrays(order),
            **self._fields.arrays(order),
            **self._speakers.arrays("speaker", order),
        }
        if self._embedder is not None:
            names = ("content", "vector_codes", "vector_scales")
            for name, parts in zip(names, zip(*self._vectors, strict=True), strict=True):
                arrays[name] = np.concatenate(parts)[places]
        return write(Header(len(self), self._embedder), arrays)


def _tokens_of_names(documents: Sequence[frozenset[str]]) -> Tokens:
    """Return the tokens of field names, each once for a document.

    Many documents have the same names. Each set of names is analysed once.
    """
    known: dict[str, int] = {}
    forms: dict[frozenset[str], list[int]] = {}
    numbers, counts = list[int](), list[int]()
    for names in documents:
        form = forms.get(names)
        if form is None:
            form = [known.setdefault(word, len(known)) for word in name_words(names)]
            forms[names] = form
        numbers += form
        counts.append(len(form))
    of = np.repeat(np.arange(len(documents)), np.array(counts, np.int64))
    return Tokens(list(known), np.array(numbers, np.int64), of)


def _quantised(
    documents: Sequence[Document],
) -> tuple[NDArray[np.uint8], NDArray[np.int8], NDArray[np.float32]]:
    """Return the content hashes, codes and scales of documents."""
    from lakebed.search.vectors import quantise

    contents = np.frombuffer(b"".join(d.content_hash for d in documents), np.uint8)
    width = max((len(d.vector) for d in documents if d.vector is not None), default=0)
    vectors = np.zeros((len(documents), width), np.float32)
    for place, document in enumerate(documents):
        if document.vector is not None:
            vectors[place] = document.vector
    codes, scales = quantise(vectors)
    return contents.reshape(-1, 32), codes, scales


def _or_never(number: int | None) -> int:
    return NEVER if number is None else number
