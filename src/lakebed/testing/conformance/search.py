"""Text search: every catalog finds the same entries, whatever its index."""

from __future__ import annotations

from random import Random
from typing import Any, ClassVar

import pytest

from lakebed.errors import NotFoundError, ValidationError
from lakebed.lake.lake import Lake
from lakebed.lake.searching import Hits
from lakebed.testing.clock import FakeClock
from lakebed.testing.conformance.base import Conformance, OpenLake, needs
from lakebed.values.text import analyse, name_words, query_words, text_and_names, text_of

LONE_SURROGATE = "\ud83d"  # a lake cannot store it, but a query may have it
ODD = [
    '"',
    '""',
    "'",
    "%",
    "_",
    "\\",
    "*",
    "-",
    "^",
    "(",
    ")",
    "a AND",
    "OR",
    "NOT b",
    'NEAR("a" b, 2)',
    "a*",
    "^a",
    "tokens:a",
    "key : value",
    "a & b | !c <-> d:*",
    "+a -b ~c @3",
    "'; DROP TABLE entry; --",
    "\0a",
    "\n\t",
    LONE_SURROGATE,
    "\U0001f600",
    "٣",
    "Straße",
    "КАФЕ",
    "שלום",
    "قهوة",
    "คาเฟ่",
    "カフェ",
    "コーヒー店",
    "카페에서",
    "नमस्ते",
    "x00e3",
    "a" * 5000,
    "word " * 2000,
    " ".join(f"w{n}" for n in range(3000)),
]
"""Queries and texts with special characters, which have no special meaning."""


def keys(hits: Hits) -> list[str]:
    """Return the keys that were found, in their order."""
    return [hit.key for hit in hits]


def expected(lake: Lake, query: str) -> set[str]:
    """Return the keys that the analyser finds, entry by entry."""
    words = set(query_words(query))
    return {
        entry.key
        for entry in lake.list()
        if not words.isdisjoint(
            analyse(text_of(entry.value, entry.metadata))
            + list(name_words(text_and_names([entry.value, entry.metadata])[1]))
        )
    }


class Search(Conformance):
    """A query finds what the analyser finds, before and after the index has caught up."""

    FEATURE: ClassVar[str] = "search"

    @pytest.fixture(params=["tail", "index"])
    def indexed(self, request: pytest.FixtureRequest, lake: Lake) -> Lake:
        """A lake with a few entries, as stored, and after maintenance."""
        lake.store("note/1", "Parsing a date string is hard", {"package": "email"})
        lake.store("note/2", {"title": "Dates", "tags": ["string", "parse"]}, {"package": "csv"})
        lake.store("note/3", ["nothing here"], {"package": "csv", "about": "date"})
        lake.store("café", "Das Café in der Straße", {"n": 1})
        lake.store("bytes", b"parse a date", {"about": "raw"})
        lake.store("東京", "東京都に行く")
        if request.param == "index":
            lake.maintain()
        return lake

    def test_any_word_may_match(self, indexed: Lake) -> None:
        found = indexed.search("How do I parse a date string?")
        assert sorted(keys(found)) == ["note/1", "note/2", "note/3"]
        assert found.total == len(found) == 3
        assert found.unread == 0
        assert keys(found)[-1] == "note/3"  # has one of the words
        assert [hit.score for hit in found] == sorted((h.score for h in found), reverse=True)
        assert all(hit.score > 0 for hit in found)

    def test_a_hit_has_what_its_entry_has(self, indexed: Lake) -> None:
        (hit,) = indexed.search("hard")
        assert (hit.key, hit.value) == ("note/1", indexed["note/1"])
        assert hit.metadata == hit["metadata"] == {"package": "email"}
        entry = indexed.entry("note/1")
        assert entry is not None
        assert hit.entry.version == entry.version
        assert set(hit) == {"key", "value", "metadata", "score"}

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ("CAFE", ["café"]),
            ("cafés strasse", ["café"]),
            ("raw", ["bytes"]),
            ("京都", ["東京"]),
            ("京", ["東京"]),
            ("都東", []),
            ("package", ["note/1", "note/2", "note/3"]),  # field names are searched too
            ("titles", ["note/2"]),
            ("note", []),  # the keys of entries are not
            ("csv", ["note/2", "note/3"]),
            ("is the", ["note/1"]),  # stop words, but nothing else
            ("", []),
            ("?!", []),
        ],
    )
    def test_words(self, indexed: Lake, query: str, found: list[str]) -> None:
        hits = indexed.search(query)
        assert sorted(keys(hits)) == found
        assert hits.total == len(found)

    @needs("versions")
    @pytest.mark.parametrize("indexes", [False, True], ids=["tail", "index"])
    def test_field_names_count_less_than_text(
        self, lake: Lake, indexes: bool, clock: FakeClock
    ) -> None:
        lake.store("a/name", {"tea": "oolong"})
        lake.store("a/nested", [{"drinks": {"best_tea": 1}}], {"n": 1})
        lake.store("b/metadata", b"raw", {"order": {"Tea": True}})
        lake.store("c/long", "A word among many: tea. " + "padding " * 500)
        lake.store("c/text", "tea", ttl=5)
        if indexes:
            lake.maintain()
        hits = lake.search("teas")
        assert keys(hits) == ["c/text", "c/long", "a/name", "a/nested", "b/metadata"]
        assert hits.total == 5
        assert hits[1].score > hits[2].score == hits[4].score > 0
        assert set(hits[0].explanation) == {"tea"}
        assert hits[2].explanation == {"tea (field name)": hits[2].score}
        assert keys(lake.search("drink")) == ["a/nested"]
        page = lake.search("tea", prefix="a/", metadata_filter={"n": 1}, limit=0)
        assert page.total == 1
        lake.create_snapshot("s")
        before = [(hit.key, hit.score) for hit in hits]
        clock.advance(5)
        lake.store("a/name", {"coffee": "oolong"})
        assert keys(lake.search("tea")) == ["c/long", "a/nested", "b/metadata"]
        assert [(hit.key, hit.score) for hit in lake.at("s").search("teas")] == before
        lake.maintain()
        assert [(hit.key, hit.score) for hit in lake.at("s").search("teas")] == before

    def test_none_lists_by_key(self, indexed: Lake) -> None:
        everything = [entry.key for entry in indexed.list()]
        hits = indexed.search(None, limit=100)
        assert keys(hits) == everything
        assert {hit.score for hit in hits} == {0}
        page = indexed.search(limit=2, offset=1)
        assert (keys(page), page.total) == (everything[1:3], len(everything))
        few = indexed.search(metadata_filter={"package": "csv"}, limit=1, offset=1)
        assert (keys(few), few.total) == (["note/3"], 2)

    def test_prefix_filter_limit_and_offset(self, indexed: Lake) -> None:
        query = "parse date"
        ranked = keys(indexed.search(query))
        assert len(ranked) == 3
        for limit in range(5):
            for offset in range(5):
                page = indexed.search(query, limit=limit, offset=offset)
                assert (keys(page), page.total) == (ranked[offset : offset + limit], 3)
        csv = indexed.search(query, metadata_filter={"package": "csv"}, limit=1)
        assert (keys(csv), csv.total) == ([key for key in ranked if key != "note/1"][:1], 2)
        assert keys(indexed.search(query, prefix="note/2")) == ["note/2"]
        assert indexed.search(query, prefix="other").total == 0
        assert indexed.search(query, prefix="note/", metadata_filter={"package": "x"}).total == 0
        assert indexed.search(query, limit=0).total == 3

    def test_changes_show_at_once(self, indexed: Lake, clock: FakeClock) -> None:
        indexed.search("date")
        indexed.store("note/1", "an update", {"package": "email"})
        assert "note/1" not in keys(indexed.search("date string"))
        assert keys(indexed.search("updated")) == ["note/1"]
        indexed.store("note/3", "as before", {"about": "zebra"})
        assert keys(indexed.search("zebras")) == ["note/3"]
        indexed.store("short", "updates expire", ttl=5)
        assert sorted(keys(indexed.search("update"))) == ["note/1", "short"]
        clock.advance(5)
        assert keys(indexed.search("update")) == ["note/1"]
        indexed.delete("note/1")
        assert indexed.search("update").total == 0

    def test_equal_scores_are_in_the_order_of_keys(self, lake: Lake) -> None:
        names = ["b", "\U0010ffff", "\ud7ff", "a/b", "a", "\uffff"]
        lake.store_batch({"key": name, "value": "the same words"} for name in names)
        wanted = sorted(names, key=str.encode)
        for _ in range(2):
            assert keys(lake.search("word")) == wanted
            assert keys(lake.search("word", limit=2, offset=3)) == wanted[3:5]
            lake.maintain()

    def test_many(self, opening: OpenLake) -> None:
        lake = opening(inline_threshold=100)
        lake.store_batch(
            {
                "key": f"{n:05}",
                "value": f"number{n % 7} " + "padding " * (n % 20),
                "metadata": {"n": n},
            }
            for n in range(3000)
        )
        hits = lake.search("number3", limit=5, offset=2)
        assert hits.total == len(range(3, 3000, 7))
        assert all(hit.value.startswith("number3") for hit in hits)
        seen = [
            key
            for at in range(0, 430, 50)
            for key in keys(lake.search("number3", limit=50, offset=at))
        ]
        assert sorted(seen) == [f"{n:05}" for n in range(3, 3000, 7)]
        some = lake.search("number3 number4", metadata_filter={"n": {"$lt": 100}}, prefix="000")
        assert some.total == len([n for n in range(100) if n % 7 in (3, 4)])

    @pytest.mark.parametrize("query", ODD, ids=lambda query: repr(query[:20]))
    def test_odd_queries_are_plain_text(self, indexed: Lake, query: str) -> None:
        hits = indexed.search(query, limit=100)
        assert set(keys(hits)) == expected(indexed, query)
        assert hits.total == len(hits)

    def test_odd_texts_are_plain_text(self, lake: Lake) -> None:
        texts = [text for text in ODD if text != LONE_SURROGATE]
        lake.store_batch({"key": f"{n:03}", "value": text} for n, text in enumerate(texts))
        for _ in range(2):
            for text in texts:
                assert set(keys(lake.search(text, limit=100))) == expected(lake, text), text[:50]
            lake.maintain()

    def test_texts_of_very_many_words(self, lake: Lake) -> None:
        random = Random(1)
        alphabets = {
            "latin": "abcdefghijklmnopqrstuvwxyz0123456789",
            "cyrillic": "".join(map(chr, range(0x430, 0x450))),
            "chinese": "".join(map(chr, range(0x4E00, 0x9FA0))),
        }
        for name, alphabet in alphabets.items():
            size = 4 if name != "chinese" else 5000
            words = ["".join(random.choices(alphabet, k=size)) for _ in range(400_000 // size)]
            lake.store(name, [name, " ".join(words)], {"first": words[0][:4]})
            lake.maintain()
            assert name in keys(lake.search(name))
            assert keys(lake.search(words[0][:4], limit=1)) == [name]
            assert lake.search(None).total == len(lake)

    @needs("versions")
    def test_a_snapshot_is_searched_as_it_was(self, indexed: Lake, clock: FakeClock) -> None:
        indexed.store("short", "a date", ttl=1)
        indexed.create_snapshot("s")
        ranked = sorted(keys(indexed.search("date")))
        indexed.store("note/1", "gone")
        indexed.delete("note/2")
        indexed.store("new", "date")
        clock.advance(1)
        view = indexed.at("s")
        for _ in range(2):
            hits = view.search("date")
            assert (sorted(keys(hits)), hits.total) == (ranked, 4)
            assert {hit.key: hit.value for hit in hits} == {key: view[key] for key in ranked}
            assert view.search("gone").total == 0
            assert keys(
                view.search("date", prefix="note/", metadata_filter={"package": "email"})
            ) == ["note/1"]
            indexed.maintain()
        assert sorted(keys(indexed.search("date"))) == ["new", "note/3"]
        indexed.drop_snapshot("s")
        with pytest.raises(NotFoundError):
            view.search("date")

    def test_mistakes_are_named(self, lake: Lake) -> None:
        wrong: Any
        for wrong in (1, b"date", ["date"]):
            with pytest.raises(ValidationError, match="query"):
                lake.search(wrong)
        for wrong in (-1, 1.0, "1", True, None):
            with pytest.raises(ValidationError, match="limit"):
                lake.search("date", limit=wrong)
            with pytest.raises(ValidationError, match="offset"):
                lake.search(None, offset=wrong)
        with pytest.raises(ValidationError, match="prefix"):
            lake.search("date", prefix="\0")
        for query in ("date", None, ""):
            with pytest.raises(ValidationError, match="filter"):
                lake.search(query, metadata_filter={"n": {"$regex": "x"}})

    def test_results_print_well(self, lake: Lake) -> None:
        lake.store("<b>", "date " * 500, {"html": "<script>date</script>"})
        lake.store_batch({"key": f"{n:03}", "value": "date"} for n in range(100))
        hits = lake.search("date", limit=50)
        assert repr(hits).startswith("<Hits: 50 of 101>")
        assert len(repr(hits)) < 10_000
        html = lake.search("script")._repr_html_()
        assert "<script>" not in html
        assert "&lt;script&gt;" in html
        assert "&lt;b&gt;" in html
        assert len(hits._repr_html_()) < 20_000
        assert repr(hits[0]).startswith("<Hit '")
