"""The text analyser: what folds together, what stays apart; every index keeps its tokens."""

# ruff: noqa: RUF001 - characters that look alike are the matter here

from __future__ import annotations

import random
import sqlite3
import sys
import threading
import unicodedata
from collections.abc import Iterator
from contextlib import closing
from itertools import chain

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lakebed.values import text as text_module
from lakebed.values.text import (
    MAX_TOKEN_BYTES,
    STOP_WORDS,
    analyse,
    name_words,
    query_words,
    text_and_names,
    text_of,
)

# Text of every script, with what usually goes wrong more often than chance has it.
ANY_TEXT = st.text(
    st.one_of(
        st.characters(exclude_categories=["Cs"]),
        st.sampled_from("aZé́3٣_-'\"*^():  \n\0ßİıſﬁ\u00ad\u200b\u200d東京がカ한ไहि२²½Ⅳ𝔄𠀀🎉"),
    )
)
# The reserved spelling of what is not ASCII, as the module's text states it.
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def spelled(text: str) -> str:
    return "x" + "".join(
        "".join(DIGITS[ord(c) // 36**power % 36] for power in (3, 2, 1, 0)) for c in text
    )


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", []),
        ("… -- !?* \0 🎉", []),
        ("The runner was RUNNING", ["the", "runner", "was", "run"]),
        ("AI, C3-PO; x=1.5", ["ai", "c3", "po", "x", "1", "5"]),
        ("12e34ab 3d 007 b2b", ["n12e34ab", "n3d", "007", "b2b"]),
        ("parse_date(text)", ["pars", "date", "text"]),
        ("don't", ["don", "t"]),
        ("don’t", ["don", "t"]),
        ("café CAFE\u0301 cafe", ["cafe", "cafe", "cafe"]),
        ("Straße STRASSE", ["strass", "strass"]),
        ("Łódź Ørsted Æther", ["lodz", "orst", "aether"]),
        ("İstanbul ISTANBUL ıstanbul", ["istanbul"] * 3),
        ("ﬁne ＦＩＮＥ 𝐟𝐢𝐧𝐞", ["fine"] * 3),
        ("soft\u00adware zero\u200bwidth", ["softwar", "zero", "width"]),
        ("٣٤ 34 ३४ ３４", ["34"] * 4),
        ("x² ½ Ⅳ", ["x2", "1", "2", "iv"]),
        ("naïve “quotes”—dash", ["naiv", "quot", "dash"]),
        ("Привет ПРИВЕТ ёлка елка", [spelled(w) for w in ("привет", "привет", "елка", "елка")]),
        ("ΟΔΌΣ οδος", [spelled("οδοσ")] * 2),
        ("أحمد احمد شَمْس شمس", [spelled(w) for w in ("احمد", "احمد", "شمس", "شمس")]),
        ("שָׁלוֹם שלום", [spelled("שלום")] * 2),
        ("हिन्दी", [spelled("हिन्दी")]),
        ("iPhone買う", ["iphon", *map(spelled, ["買", "う", "買う"])]),
        ("東京都、東", [spelled(w) for w in ("東", "京", "都", "東京", "京都", "東")]),
        ("ｶﾞ が か", [spelled("ガ"), spelled("が"), spelled("か")]),
        ("한국", [spelled("한"), spelled("국"), spelled("한국")]),
        ("ไทย", [spelled(w) for w in ("ไ", "ท", "ย", "ไท", "ทย")]),
        ("𠀀", [spelled("𠀀")]),
    ],
)
def test_documents(text: str, tokens: list[str]) -> None:
    assert analyse(text) == tokens


@pytest.mark.parametrize(
    ("query", "tokens"),
    [
        ("", []),
        ("?!*", []),
        ("How do I parse the dates?", ["pars", "date"]),
        ("What's DON'T", ["what", "s", "don", "t"]),  # nothing but stop words
        ("to be or not to be", ["to", "be", "or", "not"]),
        ("running runs run", ["run"]),
        ("AI", ["ai"]),
        ('"a" AND b* NOT (c)', ["b", "c"]),
        ("東", [spelled("東")]),
        ("東京都", [spelled("東京"), spelled("京都")]),
        ("the 東", [spelled("東")]),
    ],
)
def test_queries(query: str, tokens: list[str]) -> None:
    assert query_words(query) == tokens


def test_stop_words_are_folded_words() -> None:
    assert all(word.isascii() and word.isalpha() and word.islower() for word in STOP_WORDS)


@given(ANY_TEXT)
def test_a_document_is_found_by_any_part_of_it(text: str) -> None:
    assert set(query_words(text)) <= set(analyse(text))
    for part in text.split():
        assert set(query_words(part)) <= set(analyse(text))


@given(ANY_TEXT)
def test_case_and_composition_do_not_matter(text: str) -> None:
    expected = analyse(text)
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        assert analyse(unicodedata.normalize(form, text)) == expected
    assert analyse(text.casefold()) == expected
    assert analyse(text.swapcase().casefold()) == expected


@given(ANY_TEXT)
@example("x" * 200 + " é" + "é" * 200 + " " + "я" * 200)
def test_the_short_cuts_change_nothing(text: str) -> None:
    plain = [list(text_module._word_tokens(w, True)) for w in text_module._fold(text).split()]
    assert analyse(text) == list(chain.from_iterable(plain))


@pytest.fixture(scope="module")
def fts() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(
            """
            CREATE VIRTUAL TABLE doc USING fts5(text, tokenize = 'unicode61 remove_diacritics 0');
            CREATE VIRTUAL TABLE vocabulary USING fts5vocab(doc, instance);
            """
        )
        yield connection


@given(text=ANY_TEXT)
@example(text="x" * 200 + " " + "é" * 200 + "東" * 50)
def test_fts5_keeps_every_token(fts: sqlite3.Connection, text: str) -> None:
    tokens = analyse(text)
    fts.execute("DELETE FROM doc")
    fts.execute("INSERT INTO doc VALUES (?)", [" ".join(tokens)])
    kept = fts.execute("SELECT term FROM vocabulary ORDER BY offset").fetchall()
    assert [term for (term,) in kept] == tokens


def test_every_character_makes_plain_tokens(fts: sqlite3.Connection, soak: bool) -> None:
    """Every one that Unicode names, and of the million that it does not, some: others in each run
    of another seed."""
    tokens = set()
    start = random.randrange(50)
    for code_point in range(sys.maxunicode + 1):
        nameless = unicodedata.category(chr(code_point)) in ("Cn", "Co")
        if nameless and code_point % 50 != start and not soak:
            continue
        for token in analyse(chr(code_point)):
            assert token.isascii()
            assert token.isalnum()
            assert token == token.lower()
            tokens.add(token)
    assert len(tokens) > 100_000
    fts.execute("DELETE FROM doc")
    fts.execute("INSERT INTO doc VALUES (?)", [" ".join(tokens)])
    assert {term for (term,) in fts.execute("SELECT term FROM vocabulary")} == tokens


@given(ANY_TEXT)
@example("ab" * 5_000)
@example("9ab" * 5_000)
@example("é" + "ab" * 5_000)
@example("я" * 5_000)
def test_tokens_are_short(text: str) -> None:
    assert all(0 < len(token.encode()) <= MAX_TOKEN_BYTES for token in analyse(text))


def test_many_different_words_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_module, "_CACHED_WORDS", 100)
    for cache in (text_module._stems, text_module._tokens):
        cache.clear()
    words = [f"w{i}" for i in range(1_000)]
    assert analyse(" ".join(words)) == words
    assert analyse(" ".join(words) + " ✓") == words
    assert len(text_module._stems) <= 100
    assert len(text_module._tokens) <= 100
    analyse("b" * 3_000)
    assert "b" * 3_000 not in text_module._stems


def test_threads_agree() -> None:
    texts = [" ".join(f"{stem}{i}ing running" for i in range(300)) for stem in ("walk", "talk")]
    text_module._stems.clear()
    expected = [analyse(text) for text in texts]
    wrong: list[str] = []

    def work() -> None:
        for _ in range(30):
            text_module._stems.clear()
            wrong.extend(t for t, e in zip(texts, expected, strict=True) if analyse(t) != e)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=12,
)


def leaves(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return list(chain.from_iterable(map(leaves, value))) if isinstance(value, list) else []


@given(JSON, st.dictionaries(st.text(max_size=3), JSON, max_size=3))
def test_the_text_of_an_entry(value: object, metadata: dict[str, object]) -> None:
    assert text_of(value, metadata) == "\n".join(leaves(metadata) + leaves(value))


def test_field_names_at_any_depth_beside_the_text() -> None:
    value = {"favouriteTea": ["a", {"best_cups": 1}], "Ä": {"x y": None}}
    text, names = text_and_names(value)
    assert text == "a"
    assert names == {"favouriteTea", "best_cups", "Ä", "x y"}
    assert name_words(names) == {"favouritetea", "best", "cup", "a", "x", "y"}
    assert text_and_names("a: b") == ("a: b", set())
    assert name_words([]) == set()


def test_text_of_leaves_out_keys_numbers_and_bytes() -> None:
    value = {"title": "a", "parts": ["b", 1, None, {"deep": ("c",)}], "flag": True}
    assert text_of(value, {"tag": "d"}) == "d\na\nb\nc"
    assert text_of(b"bytes", {}) == ""


def test_a_lone_surrogate_is_no_word() -> None:
    assert analyse("a\ud800b") == ["a", "b"]
    assert query_words("\udfff") == []
