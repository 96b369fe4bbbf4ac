"""Metadata inside a segment: finding the documents that match a filter.

There are two kinds of postings. *Values* pair each top-level field with each of its values, as
canonical JSON. A filter depends only on a few fields, so it is evaluated once for each combination
of their values. *Terms* are those of `lakebed.filters`. They give the few documents that can match.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
from numpy.typing import NDArray

from lakebed.search.postings import Arrays, Postings, PostingsBuilder
from lakebed.values.json import decode_text, encode

if TYPE_CHECKING:
    from lakebed.filters import Alternative, Filter

Mask = NDArray[np.bool_]
_Parts = list[tuple[int, int]]
_UNKNOWN, _NO, _YES = 0, 1, 2
_SIMPLE_FIELDS = 16  # up to this many strings and integers, an entry has one term for each field
_REMEMBERED = 32  # cached filters; each takes a number for each document
_FEW = 1 / 16  # up to this share of the documents, one by one is faster than all at once
_NOTHING = np.empty(0, np.int64)
_WORTH_IT = 0.5  # narrowing to more than this share of the documents costs more than it saves
_LAST = b"\xff"  # above the first byte of any JSON


class FieldsBuilder:
    """Collects the metadata of documents, which are numbered in the order they are added."""

    def __init__(self) -> None:
        from lakebed.filters.terms import encode, index_terms  # only building needs them

        self._encode, self._index_terms = encode, index_terms
        self._values = PostingsBuilder()
        self._terms = PostingsBuilder()
        # For a field with a string or an integer: the numbers of its value and its term.
        self._known: dict[tuple[str, type, object], tuple[int, int]] = {}
        # For each such field: its name, and the path of its terms.
        self._paths: dict[str, tuple[bytes, bytes]] = {}

    def add(self, document: int, metadata: Mapping[str, object]) -> None:
        """Add the metadata of a document, which must be valid JSON data."""
        if len(metadata) > _SIMPLE_FIELDS:
            return self._add(document, metadata)
        values, terms = [], []
        for item in metadata.items():
            name, value = item
            kind = type(value)
            if kind is not str and kind is not int:
                return self._add(document, metadata)
            known = self._known.get((name, kind, value))
            if known is None:
                known = self._known[name, kind, value] = self._numbers(name, value)
            values.append(known[0])
            terms.append(known[1])
        self._values.add(values, document)
        self._terms.add(terms, document)
        return None

    def _numbers(self, name: str, value: object) -> tuple[int, int]:
        known = self._paths.get(name)
        if known is None:
            ((path, _),) = self._index_terms({name: value})
            known = self._paths[name] = name.encode(), path.encode()
        field, term = known
        value_number = self._values.number((field, _json(value)))
        return value_number, self._terms.number((term, self._encode(value)))

    def _add(self, document: int, metadata: Mapping[str, object]) -> None:
        value, term = self._values.number, self._terms.number
        values = [value((name.encode(), _json(item))) for name, item in metadata.items()]
        self._values.add(values, document)
        terms = [term((path.encode(), data)) for path, data in self._index_terms(metadata)]
        self._terms.add(terms, document)

    def take(self, fields: Fields, moved: NDArray[np.int64]) -> None:
        """Add the documents of another segment. Number `i` becomes `moved[i]`, or is left out if
        that is below 0."""
        self._values.take(fields.values, moved)
        self._terms.take(fields.terms, moved)

    def arrays(self, order: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """Return the arrays, with document `i` as number `order[i]`."""
        return self._values.arrays("value", order) | self._terms.arrays("term", order)


def _json(item: object) -> bytes:
    try:
        return orjson.dumps(item, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # an integer beyond 64 bits
        return encode(item)


class _Column:
    """One field: the number of each document's value, or 0 for a document without the field."""

    def __init__(self, values: Postings, name: str, documents: int) -> None:
        self.name = name
        first, last = values.range((name.encode(), b""), (name.encode(), _LAST))
        self._values, self._first = values, first
        bounds = values.offsets[first : last + 1]
        self.numbers = np.zeros(documents, np.uint32)
        self.size = last - first + 1
        if first < last:
            numbers = np.repeat(np.arange(1, self.size, dtype=np.uint32), np.diff(bounds))
            self.numbers[values.documents[bounds[0] : bounds[-1]]] = numbers

    def value(self, number: int) -> Any:
        """Return the value with this number, which must be above 0."""
        return decode_text(self._values.pair(self._first + number - 1)[1].decode())


class _Decisions:
    """The result of one filter for each combination of the values of its fields."""

    def __init__(self, wanted: Filter, columns: Sequence[_Column], documents: int) -> None:
        self._wanted = wanted
        self._columns = columns
        codes = np.zeros(documents, np.int64)
        for number, column in enumerate(columns):
            codes = codes * column.size + column.numbers
            if number:  # compress the codes, so that the next product stays small
                codes = np.unique(codes, return_inverse=True)[1]
        self._codes = codes
        size = int(codes.max(initial=-1)) + 1
        self._examples = np.zeros(size, np.int64)  # a document of each combination
        self._examples[codes] = np.arange(documents)
        self._states = np.full(size, _UNKNOWN, np.uint8)
        self.narrowings: list[_Parts] = []
        """The places of the documents that can match. Each item alone includes all of them."""

    def accepts(self, documents: NDArray[np.int64]) -> Mask:
        """Return which of these documents match."""
        codes = self._codes[documents]
        for code in np.unique(codes[self._states[codes] == _UNKNOWN]).tolist():
            self._states[code] = _YES if self._wanted.matches(self._metadata(code)) else _NO
        accepted: Mask = self._states[codes] == _YES
        return accepted

    def _metadata(self, code: int) -> dict[str, Any]:
        """Return a combination as metadata without other fields."""
        document = self._examples[code]
        return {
            column.name: column.value(number)
            for column in self._columns
            if (number := int(column.numbers[document]))
        }


class Fields:
    """The metadata of a segment's documents."""

    def __init__(self, arrays: Arrays, documents: int) -> None:
        self.values = Postings("value", arrays)
        self.terms = Postings("term", arrays)
        self._documents = documents
        self._remembered: dict[str, _Decisions] = {}

    def may_pass(self, wanted: Filter) -> bool:
        """Return whether the filter can match any document."""
        return all(self._decisions(wanted).narrowings)

    def passing(self, wanted: Filter, candidates: Mask) -> NDArray[np.int64]:
        """Return the numbers of the candidates that match the filter."""
        decisions = self._decisions(wanted)
        sizes = [sum(end - start for start, end in parts) for parts in decisions.narrowings]
        if sizes and min(sizes) < _FEW * self._documents:
            numbers = self._found(decisions.narrowings[sizes.index(min(sizes))])
            numbers = numbers[candidates[numbers]]
        else:
            for parts in decisions.narrowings:
                narrowed = np.zeros(self._documents, np.bool_)
                for start, end in parts:
                    narrowed[self.terms.documents[start:end]] = True
                candidates = candidates & narrowed
            numbers = np.flatnonzero(candidates)
        return numbers[decisions.accepts(numbers)]

    def _decisions(self, wanted: Filter) -> _Decisions:
        known = self._remembered.get(wanted.text)
        if known is None:
            names = sorted(wanted.fields)
            columns = [_Column(self.values, name, self._documents) for name in names]
            if len(self._remembered) >= _REMEMBERED:
                self._remembered.clear()
            known = _Decisions(wanted, columns, self._documents)
            found = map(self._narrow, wanted.narrow())
            known.narrowings = [parts for parts in found if parts is not None]
            self._remembered[wanted.text] = known
        return known

    def _narrow(self, alternative: Alternative) -> _Parts | None:
        """Return the places of the documents with a term in one of the ranges. Return None if they
        are too many to be worth it, or may lack a term."""
        from lakebed.filters import ABSENT, OVERFLOW, Range

        if any(low == ABSENT for _, low, _ in alternative):
            return None
        offsets = self.terms.offsets
        parts = []
        for path, low, high in (*alternative, Range(*OVERFLOW, OVERFLOW[1])):
            first, last = self.terms.range((path.encode(), low), (path.encode(), high))
            if first < last:
                parts.append((int(offsets[first]), int(offsets[last])))
        if sum(end - start for start, end in parts) > _WORTH_IT * self._documents:
            return None
        return parts

    def _found(self, parts: _Parts) -> NDArray[np.int64]:
        """Return the documents at these places, in order."""
        found = [self.terms.documents[start:end] for start, end in parts]
        if len(found) == 1 and len(found[0]) == 1:
            return found[0].astype(np.int64)
        return np.unique(np.concatenate(found)).astype(np.int64) if found else _NOTHING
