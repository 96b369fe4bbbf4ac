"""Analyses many texts at once. The tokens are those of `analyse`, several times faster.

Most texts are ASCII. Each of their distinct words is stemmed once. If there is much text, array
operations split it into words. Texts that are not ASCII go through `analyse`, one by one.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lakebed.values.text import analyse, stem

_MUCH = 2 << 20
"""Bytes of text from which on Arrow is faster, once it is loaded."""
_WORTH_LOADING = 8 << 20
"""Bytes of text that a process splits before it loads Arrow. Loading takes 80 ms, which a first
search would not win back from less."""
_PART_BYTES = 2 << 20  # of text at once, so that it stays in the processor's cache
# Letters become lower case, digits stay, everything else separates.
_FOLDED = bytes(
    byte + 32 if 65 <= byte <= 90 else byte if 97 <= byte <= 122 or 48 <= byte <= 57 else 0
    for byte in range(256)
)
_SEPARATORS = bytes(byte for byte in range(256) if not _FOLDED[byte])
_SPACED = _FOLDED.replace(b"\0", b" ")


class Tokens(NamedTuple):
    """The tokens of some texts: the distinct `words`, and for each token the position of its word
    in `words` and of its text in the list of texts. Tokens are in no particular order."""

    words: Sequence[str]
    numbers: NDArray[np.int64]
    texts: NDArray[np.int64]


class _SoFar:
    """How much text this process has split without Arrow."""

    def __init__(self) -> None:
        self.size = 0

    def is_for_arrow(self, size: int) -> bool:
        """Return whether texts of this many bytes are split by Arrow, and count them if not."""
        if size >= _MUCH and ("pyarrow" in sys.modules or self.size + size > _WORTH_LOADING):
            return True
        self.size += size
        return False


_so_far = _SoFar()


def analyse_many(texts: Sequence[str]) -> Iterator[Tokens]:
    """Yield the tokens of the texts, in parts."""
    ascii_texts = [n for n, text in enumerate(texts) if text.isascii()]
    if not _so_far.is_for_arrow(sum(len(texts[number]) for number in ascii_texts)):
        yield _one_by_one(texts, range(len(texts)))
        return
    part, size = list[int](), 0
    for number in ascii_texts:
        part.append(number)
        size += len(texts[number])
        if size > _PART_BYTES:
            yield _at_once([texts[n] for n in part], np.array(part))
            part, size = [], 0
    if part:
        yield _at_once([texts[n] for n in part], np.array(part))
    if len(ascii_texts) < len(texts):
        is_ascii = set(ascii_texts)
        yield _one_by_one(texts, [n for n in range(len(texts)) if n not in is_ascii])


class _Numbers(dict[bytes, int]):
    """Maps an ASCII word to the number of its stem. Words with the same stem share a number."""

    def __init__(self) -> None:
        self.stems: dict[str, int] = {}

    def __missing__(self, word: bytes) -> int:
        number = self[word] = self.stems.setdefault(stem(word.decode()), len(self.stems))
        return number


def _one_by_one(texts: Sequence[str], wanted: Sequence[int]) -> Tokens:
    known = _Numbers()
    stems, number_of = known.stems, known.__getitem__
    numbers, counts = list[int](), list[int]()
    for number in wanted:
        text, before = texts[number], len(numbers)
        if text.isascii():
            numbers += map(number_of, text.encode().translate(_SPACED).split())
        else:
            numbers += [stems.setdefault(token, len(stems)) for token in analyse(text)]
        counts.append(len(numbers) - before)
    of = np.repeat(np.array(wanted, np.int64), np.array(counts, np.int64))
    return Tokens(list(stems), np.array(numbers, np.int64), of)


def _at_once(texts: Sequence[str], numbers: NDArray[np.int64]) -> Tokens:
    import pyarrow as pa

    joined = ("\n" + "\n".join(texts) + "\n").encode("ascii")
    inside = np.frombuffer(joined.translate(_FOLDED), np.uint8) != 0
    edges = np.flatnonzero(inside[1:] != inside[:-1]) + 1  # alternately where words begin and end
    starts, ends = edges[::2], edges[1::2]
    bounds = np.zeros(len(starts) + 1, np.int32)
    np.cumsum(ends - starts, out=bounds[1:])
    letters = joined.translate(_FOLDED, _SEPARATORS)
    words = pa.StringArray.from_buffers(len(starts), pa.py_buffer(bounds), pa.py_buffer(letters))
    encoded = words.dictionary_encode()
    # Different words may have the same stem.
    known: dict[str, int] = {}
    stems = [known.setdefault(stem(w), len(known)) for w in encoded.dictionary.to_pylist()]
    # Not by to_numpy, which loads pandas where it is installed.
    found = np.array(stems, np.int64)[np.from_dlpack(encoded.indices)]
    lengths = np.array([len(text) + 1 for text in texts])
    counts = np.diff(np.searchsorted(starts, np.cumsum(lengths)), prepend=0)
    return Tokens(list(known), found, np.repeat(numbers, counts))
