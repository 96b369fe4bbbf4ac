"""Searching by meaning: vectors in segments, however these came to be."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

import lakebed
from lakebed.errors import ConfigurationError, ValidationError
from lakebed.lake.lake import Lake
from lakebed.lake.searching import Hits

LETTERS = "abcdefghijklmnop"


def letters(texts: Sequence[str]) -> list[list[float]]:
    """Texts are alike that have the same letters as often."""
    return [[float(text.lower().count(letter)) for letter in LETTERS] for text in texts]


def other(texts: Sequence[str]) -> list[list[float]]:
    return [[1.0] for _ in texts]


def fill(lake: Lake, count: int = 40) -> None:
    lake.store_batch(
        {"key": f"k/{n:02}", "value": "a" * (n % 7 + 1) + "b" * (n % 3) + f" text {n}"}
        for n in range(count)
    )


def shown(hits: Hits) -> list[tuple[str, float]]:
    return [(hit.key, hit.score) for hit in hits]


def test_meaning_decides_and_words_need_not_match(folder: Path) -> None:
    with lakebed.open(folder, embedder=letters) as lake:
        lake.store("near", "mmmm nn")
        lake.store("far", "aaaa")
        found = lake.search("mm n", mode="vector")
        assert [hit.key for hit in found] == ["near", "far"]
        assert found.total == 2
        assert found[0].score > found[1].score > 0
        assert lake.search("mm n", mode="text").total == 0


def test_both_together_is_the_default(folder: Path) -> None:
    with lakebed.open(folder, embedder=letters) as lake:
        fill(lake)
        found = lake.search("text 17 aaaa", limit=40)
        assert shown(found) == shown(lake.search("text 17 aaaa", limit=40, mode="hybrid"))
        (named,) = (hit for hit in found if hit.key == "k/17")
        assert {"17", "text", "(similarity)"} <= set(named.explanation)
        assert found.total == 40


@pytest.mark.parametrize("mode", ["vector", "hybrid"])
def test_scores_do_not_tell_where_a_document_lies(folder: Path, mode: str) -> None:
    """In memory, in a segment, in one without vectors that is given some, merged and purged."""
    with lakebed.open(folder) as without:
        fill(without)
        without.maintain()
        without.store("gone", "aabb")
        without.purge("gone")
    with lakebed.open(folder, embedder=letters) as lake:
        first = shown(lake.search("aaab text", limit=100, mode=mode))  # type: ignore[arg-type]
    with lakebed.open(":memory:", embedder=letters) as plain:
        fill(plain)
        assert shown(plain.search("aaab text", limit=100, mode=mode)) == first  # type: ignore[arg-type]
        plain.maintain()
        assert shown(plain.search("aaab text", limit=100, mode=mode)) == first  # type: ignore[arg-type]


def test_a_snapshot_ranks_as_it_did(folder: Path) -> None:
    with lakebed.open(folder, embedder=letters) as lake:
        fill(lake)
        lake.create_snapshot("s")
        before = shown(lake.search("aaab text", limit=100))
        for number in range(0, 40, 2):
            lake.store(f"k/{number:02}", "pppp")
        lake.maintain()
        assert shown(lake.at("s").search("aaab text", limit=100)) == before
        assert shown(lake.search("aaab text", limit=100)) != before


def test_a_content_is_embedded_once_in_a_build(folder: Path) -> None:
    seen: list[str] = []

    def counting(texts: Sequence[str]) -> list[list[float]]:
        seen.extend(texts)
        return letters(texts)

    with lakebed.open(folder, embedder=counting) as lake:
        for number in range(20):
            lake.store(f"{number}", "the same", {"number": number})
        lake.maintain()
        assert seen.count("the same") == 1


def test_a_lake_remembers_its_embedder(folder: Path) -> None:
    with lakebed.open(folder, embedder=letters) as lake:
        lake.store("k", "a text")
        lake.search("text")
    with (
        lakebed.open(folder, embedder=other) as lake,
        pytest.raises(ConfigurationError, match=r"letters.*open the lake with that embedder"),
    ):
        lake.search("text")
    with lakebed.open(folder) as lake:
        assert lake.search("text").total == 1


def test_what_has_no_text_has_no_meaning(folder: Path) -> None:
    with lakebed.open(folder, embedder=letters) as lake:
        lake.store("bytes", b"aaa", {"note": "aaa"})
        lake.store("number", 5)
        lake.store("text", "aaa")
        assert [hit.key for hit in lake.search("aaa", mode="vector")] == ["text"]
        assert {hit.key for hit in lake.search("aaa")} == {"text", "bytes"}


def test_modes_that_the_lake_was_not_opened_for(folder: Path) -> None:
    with lakebed.open(folder) as lake:
        for mode in ("vector", "hybrid"):
            with pytest.raises(ValidationError, match="without an embedder"):
                lake.search("x", mode=mode)  # type: ignore[arg-type]
        with pytest.raises(ValidationError, match="must be 'text', 'vector' or 'hybrid'"):
            lake.search("x", mode="meaning")  # type: ignore[arg-type]


def test_an_embedder_that_gives_no_matrix_is_told_of(folder: Path) -> None:
    with lakebed.open(folder, embedder=lambda texts: [[1.0]] * (len(texts) + 1)) as lake:
        lake.store("k", "a text")
        with pytest.raises(ValidationError, match="embedder"):
            lake.search("text")
