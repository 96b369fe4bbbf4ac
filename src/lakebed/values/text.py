"""The text analyser, which turns text into plain tokens.

In every script, tokens are lower-case ASCII letters and digits, at most MAX_TOKEN_BYTES long. They
must never change, because future queries could not find anything in today's indexes. The steps are:

- Case and width are folded (NFKD and case folding: "Straße" is "strasse", "ﬁ" is "fi"), digits of
  any script become 0 to 9, and soft hyphens, joiners and other invisible characters are removed.
- Accents are removed: those on Latin, Greek and Cyrillic letters ("café", "й"), Hebrew points, and
  Arabic vowel signs and hamzas. Marks of other scripts stay, because they are parts of words (the
  vowel signs of Indic scripts and Thai, the voicing marks of kana).
- Words are runs of letters, marks and digits. Everything else separates words ("parse_date" is two
  words).
- Words of ASCII are stemmed as English (Snowball). A word of digits and letters that begins with a
  digit gets an "n" before it.
- Scripts written without spaces (Chinese, Japanese, Thai, Khmer, …), and Korean, whose particles
  are attached to their words, become pairs of neighbouring characters. A document also yields its
  single characters, so that a query of one character finds them. A longer query uses only pairs.
- A word that is not ASCII is spelled "x" and four base-36 digits for each of its characters.
"""

from __future__ import annotations

import re
import threading
import unicodedata
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import chain, pairwise

import Stemmer

MAX_TOKEN_BYTES = 80
"""The greatest length of a token. Longer tokens are cut."""

STOP_WORDS = frozenset(
    """
    a about above after again against all am an and any are aren as at be because been before
    being below between both but by can could couldn d did didn do does doesn doing don down
    during each few for from further had hadn has hasn have haven having he her here hers herself
    him himself his how i if in into is isn it its itself just ll m me more most my myself no nor
    not now of off on once only or other our ours ourselves out over own re s same she should
    shouldn so some such t than that the their theirs them themselves then there these they this
    those through to too under until up ve very was wasn we were weren what when where which while
    who whom why will with would wouldn you your yours yourself yourselves
    """.split()  # noqa: SIM905
)
"""Words that a query ignores if it has others."""

_CODE_DIGITS = 4
_CODED_CHARACTERS = (MAX_TOKEN_BYTES - 1) // _CODE_DIGITS
_CACHED_WORDS = 50_000
_CACHED_LENGTH = 40
_NO_TEXT = frozenset({int, float, bool, type(None)})

_ASCII_WORDS = re.compile(r"[a-z0-9]+").findall
# Excludes the characters that certainly separate words. Other separators are found word by word,
# with a cache. (U+200C to U+200F, U+202A to U+202E and U+2060 to U+206F are invisible and do not
# separate.)
_ROUGH_WORDS = re.compile(
    r"[^\x00-/:-`{-\xa0\u2000-\u200b\u2010-\u2029\u202f-\u205f\u3000-\u3004]+"
).findall

# Scripts without spaces, and Hangul.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u1950-\u19ff\u1a20-\u1aaf\u2e80-\u2fdf"
    "\u3005-\u3007\u3021-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97f\ua9e0-\ua9ff"
    "\uaa60-\uaadf\uac00-\ud7ff\uf900-\ufaff\U0001b000-\U0001b16f\U00020000-\U0003ffff"
)


@cache
def _unspaced() -> re.Pattern[str]:
    """Return a pattern for one such character. It is compiled when first used, because that takes
    milliseconds, which ASCII texts can save."""
    return re.compile(f"[{_UNSPACED}]")


@cache
def _runs() -> re.Pattern[str]:
    """Return a pattern for a run of such characters, or a run of others."""
    return re.compile(f"[{_UNSPACED}]+|[^{_UNSPACED}]+")


# Marks that are accents: general ones, Hebrew points, Arabic signs and variation selectors.
_ACCENTS = re.compile(
    "[\u0300-\u036f\u0483-\u0489\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06ed"
    "\u08d3-\u08ff\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe00-\ufe0f\ufe20-\ufe2f"
    "\U000e0100-\U000e01ef]"
).match
# Letters with strokes, and ligatures, which Unicode does not decompose. Also the Arabic filler.
_LETTERS = str.maketrans(
    dict(
        zip("øłđħŧıæœþðʼ", ["o", "l", "d", "h", "t", "i", "ae", "oe", "th", "d", " "], strict=True)
    )
    | {"\u0640": ""}
)


def analyse(text: str) -> list[str]:
    """Return the tokens of a document in order, each as often as it occurs."""
    if text.isascii():
        return list(map(_stems.__getitem__, _ASCII_WORDS(text.lower())))
    # Lower case first, so that the cache holds fewer words. Folding does the rest.
    return list(chain.from_iterable(map(_tokens.__getitem__, _ROUGH_WORDS(text.lower()))))


def query_words(text: str) -> list[str]:
    """Return the tokens of a query, each once. Stop words are left out if the query has others."""
    words = list(dict.fromkeys(_words(text)))
    wanted = [word for word in words if word not in STOP_WORDS] or words
    return list(dict.fromkeys(chain.from_iterable(_word_tokens(word, False) for word in wanted)))


def stem(word: str) -> str:
    """Return the token of a word that consists of lower-case ASCII letters and digits."""
    return _stems[word]


def text_of(value: object, metadata: object) -> str:
    """Return the text by which search finds an entry: the strings in its metadata and its value, in
    order, one on each line. It does not contain the keys of objects."""
    if isinstance(value, str) and not metadata:
        return value
    found: list[str] = []
    _collect((metadata, value), found, set())
    return "\n".join(found)


def text_and_names(value: object) -> tuple[str, set[str]]:
    """Return the text of a value, and the names of the fields of its objects, at any depth."""
    names: set[str] = set()
    if isinstance(value, str):
        return value, names
    found: list[str] = []
    _collect((value,), found, names)
    return "\n".join(found), names


def name_words(names: Iterable[str]) -> set[str]:
    """Return the tokens of field names."""
    return set(analyse("\n".join(names)))


def _collect(items: Iterable[object], found: list[str], names: set[str]) -> None:
    """Add the strings in JSON values to `found`, in order, and the names of fields to `names`.
    Recursion is safe, because values have at most a hundred levels."""
    for item in items:
        kind = type(item)
        if kind is str:
            found.append(item)  # type: ignore[arg-type]
        elif kind in _NO_TEXT:
            continue
        elif isinstance(item, dict):
            names.update(item)
            _collect(item.values(), found, names)
        elif isinstance(item, (list, tuple)):
            _collect(item, found, names)


def _words(text: str) -> Iterable[str]:
    """Return the folded words of a text."""
    return _ASCII_WORDS(text.lower()) if text.isascii() else _fold(text).split()


def _fold(text: str) -> str:
    """Fold case, width, digits and accents. Separators become spaces."""
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return unicodedata.normalize("NFC", folded.translate(_folding).translate(_LETTERS))


def _word_tokens(word: str, singles: bool) -> Iterator[str]:
    """Yield the tokens of a folded word. With `singles`, also each character of an unspaced
    script."""
    if word.isascii():
        yield _stems[word]
        return
    for run in _runs().findall(word):
        if not _unspaced().match(run):
            yield _stems[run] if run.isascii() else _spell(run[:_CODED_CHARACTERS])
            continue
        spelled = [_codes[ord(character)] for character in run]
        if singles or len(run) == 1:
            for code in spelled:
                yield "x" + code
        for first, second in pairwise(spelled):
            yield "x" + first + second


def _spell(word: str) -> str:
    return "x" + word.translate(_codes)


class _Codes(dict[int, str]):
    """Maps a character's code point to four base-36 digits."""

    def __missing__(self, code_point: int) -> str:
        rest, digits = code_point, ""
        for _ in range(_CODE_DIGITS):
            rest, digit = divmod(rest, 36)
            digits = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + digits
        self[code_point] = digits
        return digits


class _Folding(dict[int, str]):
    """Maps a character to its folded form: itself, another character, nothing, or a space if it
    separates words."""

    def __missing__(self, code_point: int) -> str:
        character = chr(code_point)
        category = unicodedata.category(character)
        if category == "Nd":
            result = str(unicodedata.digit(character))
        elif (category == "Cf" and character != "\u200b") or _ACCENTS(character):
            result = ""
        else:
            result = character if category[0] in "LNM" else " "
        self[code_point] = result
        return result


class _Stems(dict[str, str]):
    """Maps an ASCII word to its stem. Words of ordinary length are cached."""

    def __missing__(self, word: str) -> str:
        stem: str = _stemmer.of_this_thread(word[:MAX_TOKEN_BYTES])
        if stem[0].isdigit() and not stem.isdigit():
            stem = "n" + stem[: MAX_TOKEN_BYTES - 1]
        if len(word) <= _CACHED_LENGTH:
            if len(self) >= _CACHED_WORDS:
                self.clear()
            self[word] = stem
        return stem


class _Tokens(dict[str, tuple[str, ...]]):
    """Maps a run of characters without an obvious separator to its tokens, for documents."""

    def __missing__(self, run: str) -> tuple[str, ...]:
        tokens = tuple(chain.from_iterable(_word_tokens(word, True) for word in _words(run)))
        if len(run) <= _CACHED_LENGTH:
            if len(self) >= _CACHED_WORDS:
                self.clear()
            self[run] = tokens
        return tokens


class _Stemmer(threading.local):
    """A Snowball stemmer for each thread, because threads cannot share one."""

    def __init__(self) -> None:
        self.of_this_thread = Stemmer.Stemmer("english", 0).stemWord


_codes = _Codes()
_folding = _Folding()
_stemmer = _Stemmer()
_stems = _Stems()
_tokens = _Tokens()
