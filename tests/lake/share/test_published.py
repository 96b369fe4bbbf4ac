"""A publication is searched by its own index, and answers as the lake did when it was written."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lakebed
from lakebed.errors import (
    ConfigurationError,
    ConflictError,
    CorruptionError,
    NotFoundError,
    ReadOnlyError,
    ValidationError,
)
from lakebed.lake.lake import Lake
from lakebed.lake.search import index as search_index
from lakebed.lake.searching import Hits, Searching
from lakebed.lake.share import publication, publication_segments
from lakebed.lake.share.published import Publication
from lakebed.search.words import word_hash
from lakebed.testing import FakeClock, open_lake
from lakebed.values.text import stem
from tests.lake.share.publications import WORDS, fill
from tests.servers import PostgresServer, S3Server

QUERIES = ["pear anna what", "café 東京", "nowhere", "?!", None]
FILTERS: list[dict[str, Any] | None] = [None, {"n": 1}, {"n": {"$gte": 2}}, {"s": "apple"}]


@pytest.fixture(params=["sqlite", "postgres"])
def lake(
    request: pytest.FixtureRequest, tmp_path: Path, postgres_18: PostgresServer
) -> Iterator[Lake]:
    if request.param == "sqlite":
        with lakebed.open(tmp_path / "lake", inline_threshold=40) as opened:
            yield opened
        return
    url = postgres_18.url(postgres_18.create_database())
    with lakebed.open(catalog=url, storage=tmp_path / "storage", inline_threshold=40) as opened:
        yield opened


def shown(hits: Hits) -> list[object]:
    return [
        hits.total,
        hits.unread,
        *((h.key, h.score, h.metadata, dict(h.explanation), h.value) for h in hits),
        *(
            [h.entry[name] for name in ("version", "content_hash", "format", "byte_size")]
            + [h.entry[name] for name in ("created_at", "updated_at", "expires_at")]
            for h in hits
        ),
    ]


def agree(lake: Searching, published: Publication, queries: Sequence[str | None] = QUERIES) -> None:
    """That a publication answers as a lake does."""
    for query in queries:
        for options in (
            *({"metadata_filter": each, "limit": 50} for each in FILTERS),
            {"prefix": "talk/1/", "limit": 5},
            {"offset": 3, "limit": 4},
            {"limit": 0},
            {"thread": True, "limit": 1000},
            {"thread": {"previous": 1.0, "speaker": 0}, "prefix": "talk/", "limit": 7},
        ):
            found = published.search(query, **options)  # type: ignore[arg-type]
            expected = lake.search(query, **options)  # type: ignore[arg-type]
            assert shown(found) == shown(expected), (query, options)


def test_the_present_and_a_snapshot(lake: Lake, tmp_path: Path) -> None:
    fill(lake)
    lake.create_snapshot("before")
    lake.store_batch({"key": f"more/{n}", "value": f"apple {n}"} for n in range(50))
    lake.delete("talk/0/0000")
    lake.store("talk/2/0002", {"speaker": "Anna", "text": "pear pear"})
    report = lake.publish(tmp_path / "p", search=True)
    assert (report.entries, report.segments) == (len(lake), 1)
    files = [*(tmp_path / "p").rglob("*"), *(tmp_path / "p-tables").rglob("*.*")]
    assert report.byte_size == sum(path.stat().st_size for path in files)
    assert [path.name for path in (tmp_path / "p").iterdir()] == ["entries.parquet"]
    now = lakebed.open_publication(tmp_path / "p")
    assert now.entries == len(lake)
    agree(lake, now)
    lake.publish(tmp_path / "q", snapshot="before", search=True)
    then = lakebed.open_publication(tmp_path / "q")
    agree(lake.at("before"), then)
    lake.maintain()
    del lake["talk/2/0002"]
    agree(lake.at("before"), then, ["apple"])
    lake.publish(tmp_path / "r", snapshot="before", search=True)
    agree(lake.at("before"), lakebed.open_publication(tmp_path / "r"), ["apple", "what anna"])


def test_what_is_not_in_the_index_is_not_analysed_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[int] = []
    real = publication_segments.documents
    monkeypatch.setattr(
        publication_segments,
        "documents",
        lambda read, embedder: taken.append(len(read)) or real(read, embedder),
    )
    with lakebed.open(tmp_path / "lake") as lake:
        fill(lake)
        waiting = lake._catalog.count_waiting(1000)
        before = lake._catalog.segments()
        lake.publish(tmp_path / "p", search=True)
        assert 0 < sum(taken) <= waiting < len(lake)
        assert lake._catalog.segments() == before
        lake.maintain()
        taken.clear()
        lake.publish(tmp_path / "p", search=True)
        assert not taken


@pytest.mark.parametrize("limit", [16, 100])
def test_many_segments_and_row_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(publication_segments, "_MOST", limit)
    monkeypatch.setattr(publication_segments, "_PAGE", 10)
    monkeypatch.setattr(publication, "_CHUNK_ROWS", 64)
    monkeypatch.setattr(publication, "_GROUP_BYTES", 2000)
    with lakebed.open(tmp_path / "lake") as lake:
        fill(lake)
        assert lake.publish(tmp_path / "p", search=True).segments > 1
        assert pq.ParquetFile(tmp_path / "p" / "entries.parquet").num_row_groups > 20
        agree(lake, lakebed.open_publication(tmp_path / "p"))


entries = st.dictionaries(
    st.sampled_from([f"{room}{name}" for room in ("a/", "b/", "") for name in "12é\U0001f600"]),
    st.tuples(
        st.lists(st.sampled_from(WORDS), max_size=6).map(" ".join) | st.integers() | st.binary(),
        st.fixed_dictionaries({}, optional={"n": st.integers(0, 3), "s": st.sampled_from(WORDS)}),
        st.sampled_from([None, None, 5, 50]),
    ),
    max_size=10,
)


@settings(max_examples=12)
@given(before=entries, after=entries, builds=st.tuples(st.booleans(), st.booleans()))
def test_any_entries(
    before: dict[str, Any],
    after: dict[str, Any],
    builds: tuple[bool, bool],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder, clock = tmp_path_factory.mktemp("published"), FakeClock()
    with open_lake(clock=clock) as lake:
        for stored, build in zip((before, after), builds, strict=True):
            lake.create_snapshot(f"{len(lake.snapshots())}")
            for key, (value, metadata, ttl) in stored.items():
                lake.store(key, value, metadata, ttl=ttl)
            clock.advance(10)
            if build:
                lake._searcher().build_waiting()
        lake.publish(folder / "p", search=True)
        agree(lake, lakebed.open_publication(folder / "p"))
        lake.publish(folder / "p", search=True, snapshot="1")
        clock.advance(1000)
        agree(lake.at("1"), lakebed.open_publication(folder / "p"))


def test_refusals_are_the_lakes(tmp_path: Path) -> None:
    with lakebed.open(":memory:") as lake:
        lake["a"] = "apple"
        lake.publish(tmp_path / "p", search=True)
        published = lakebed.open_publication(tmp_path / "p")
        for query, options in (
            (5, {}),
            ("a", {"limit": -1}),
            ("a", {"offset": True}),
            ("a", {"prefix": 3}),
            ("a", {"metadata_filter": {"a": {"$no": 1}}}),
            (None, {"metadata_filter": {"a": {"$no": 1}}}),
            ("a", {"thread": {"other": 1}}),
            ("a", {"thread": 3}),
            ("a", {"mode": "no"}),
        ):
            with pytest.raises(ValidationError) as expected:
                lake.search(query, **options)  # type: ignore[arg-type]
            with pytest.raises(ValidationError) as found:
                published.search(query, **options)  # type: ignore[arg-type]
            assert str(found.value) == str(expected.value)
        with pytest.raises(ValidationError, match="opened without an embedder"):
            published.search("a", mode="vector")
        with pytest.raises(ValidationError, match="search"):
            lake.publish(tmp_path / "p", search="yes")  # type: ignore[arg-type]
    assert published.search("apple", limit=2**70, offset=0).total == 1
    assert published.search(None, limit=2**70, offset=2**70).total == 1
    assert "1 entries" in repr(published)


def test_empty_and_without_an_index(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no publication at"):
        lakebed.open_publication(tmp_path / "p")
    with lakebed.open(":memory:") as lake:
        assert lake.publish(tmp_path / "p", search=True).segments == 0
        nothing = lakebed.open_publication(tmp_path / "p")
        assert (nothing.search("a").total, nothing.search().total) == (0, 0)
        lake["a"] = 1
        assert lake.publish(tmp_path / "p").segments == 0
        assert lake._search._index is None or not lake._catalog.segments()
    with pytest.raises(ConfigurationError, match="publish it with search=True"):
        lakebed.open_publication(tmp_path / "p")
    with pytest.raises(ConfigurationError, match="uri: expected"):
        lakebed.open_publication(5)  # type: ignore[arg-type]


def test_a_new_publication_takes_the_place(tmp_path: Path) -> None:
    place = tmp_path / "p"
    with lakebed.open(tmp_path / "lake") as lake:
        fill(lake)
        lake.publish(place, search=True)
        first = lakebed.open_publication(place)
        (old,) = tmp_path.glob("p-tables/*/*.segment")
        lake.store_batch({"key": f"a{n}", "value": "apple"} for n in range(100))
        lake.publish(place, search=True)
        with pytest.raises(ConflictError, match="open it again"):
            first.search("apple")
        assert first.search("nowhere").total == 0
        agree(lake, lakebed.open_publication(place))
        assert old.exists()
        for path in old.parent.iterdir():
            os.utime(path, (0, 0))
        (old.parent / "mine.segment").write_bytes(b"x")
        with pytest.raises(ConflictError, match="does not belong to a publication"):
            lake.publish(place, search=True)
        (old.parent / "mine.segment").unlink()
        lake.publish(place)
        assert not old.exists()
        # Searched without: the index of the last publication that had one goes as well.
        for path in tmp_path.glob("p-tables/*/*"):
            os.utime(path, (0, 0))
        lake.publish(place)
        assert not list(tmp_path.glob("p-tables/*/*.segment"))


def test_a_failure_leaves_no_segment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with lakebed.open(tmp_path / "lake") as lake:
        fill(lake)
        lake.publish(tmp_path / "p", search=True)
        before = set(tmp_path.glob("p-tables/*/*"))
        real = publication_segments.PublicationSegments.finish

        def fail(self: publication_segments.PublicationSegments) -> None:
            real(self)
            raise CorruptionError("now")

        monkeypatch.setattr(publication_segments.PublicationSegments, "finish", fail)
        with pytest.raises(CorruptionError, match="now"):
            lake.publish(tmp_path / "p", search=True)
        assert set(tmp_path.glob("p-tables/*/*")) == before
        agree(lake, lakebed.open_publication(tmp_path / "p"), ["apple"])


def test_a_damaged_segment_of_the_lake_does_no_harm(tmp_path: Path) -> None:
    with lakebed.open(tmp_path / "lake") as lake:
        fill(lake)
    for path in (tmp_path / "lake").rglob("*.segment"):
        path.write_bytes(b"x" * path.stat().st_size)
    with lakebed.open(tmp_path / "lake") as lake:
        lake.publish(tmp_path / "p", search=True)
        agree(lake, lakebed.open_publication(tmp_path / "p"), ["apple"])


def test_a_read_only_lake_publishes_a_snapshot(tmp_path: Path) -> None:
    with lakebed.open(tmp_path / "lake") as lake:
        fill(lake)
        lake.create_snapshot("s")
    with lakebed.open(tmp_path / "lake", read_only=True) as lake:
        with pytest.raises(ReadOnlyError):
            lake.publish(tmp_path / "p", search=True)
        lake.publish(tmp_path / "p", snapshot="s", search=True)
        agree(lake.at("s"), lakebed.open_publication(tmp_path / "p"), ["apple"])


def test_a_purge_leaves_no_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does one that was killed before it had cleaned the lake's segments."""
    number = word_hash(stem("canary")).to_bytes(8, "little")

    def holds() -> bool:
        return any(
            text in path.read_bytes()
            for path in tmp_path.glob("p-tables/*/*.segment")
            for text in (number, b"canar")
        )

    for killed in (False, True):
        with lakebed.open(tmp_path / f"lake{killed}") as lake:
            fill(lake)
            lake.store("secret/canary", "a canary", {"note": "canary"})
            lake._searcher().build_waiting()
            lake.publish(tmp_path / "p", search=True)
            assert holds()
            if killed:
                monkeypatch.setattr(search_index.SearchIndex, "forget", lambda *_, **__: False)
            lake.purge("secret/canary")
            shutil.rmtree(tmp_path / "p-tables")
            shutil.rmtree(tmp_path / "p")
            lake.publish(tmp_path / "p", search=True)
            assert not holds()
            assert lakebed.open_publication(tmp_path / "p").search("canary").total == 0


def test_s3(s3: S3Server, tmp_path: Path) -> None:
    bucket = s3.create_bucket()
    place = s3.storage(f"s3://{bucket}/published")
    with lakebed.open(
        catalog=f"sqlite:///{tmp_path}/c.db", storage=s3.storage(f"s3://{bucket}/lake")
    ) as lake:
        fill(lake)
        lake.publish(f"s3://{bucket}/published", search=True)
        published = lakebed.open_publication(place)
        agree(lake, published, ["pear anna what"])
        lake["one more"] = "apple"
        lake.publish(place, search=True)
        with pytest.raises(ConflictError, match="open it again"):
            published.search("apple")
        published = lakebed.open_publication(place)
        agree(lake, published, ["apple"])
        with lakebed.open(":memory:") as small:
            small["a"] = "apple"
            small.publish(place, search=True)
        with pytest.raises(ConflictError, match="open it again"):
            published.search("apple", prefix="talk/6")


def test_a_copy_elsewhere_needs_nothing_of_the_original(tmp_path: Path) -> None:
    with lakebed.open(tmp_path / "lake") as lake:
        fill(lake)
        lake.publish(tmp_path / "p", search=True)
        (tmp_path / "p").rename(tmp_path / "q")
        (tmp_path / "p-tables").rename(tmp_path / "q-tables")
        agree(lake, lakebed.open_publication(f"file://{tmp_path}/q"))


def letters(texts: Sequence[str]) -> list[list[float]]:
    return [[float(text.lower().count(letter)) for letter in "abcdefgh"] for text in texts]


def other(texts: Sequence[str]) -> list[list[float]]:
    return [[1.0] for _ in texts]


def test_by_meaning(tmp_path: Path) -> None:
    place = tmp_path / "p"
    with lakebed.open(tmp_path / "lake") as lake:
        fill(lake)
        lake.publish(place, search=True)
    with pytest.raises(ConfigurationError, match="lacks vectors for some entries"):
        lakebed.open_publication(place, embedder=letters)
    with lakebed.open(tmp_path / "lake", embedder=letters) as lake:
        lake.publish(place, search=True)
        published = lakebed.open_publication(place, embedder=letters)
        for options in ({}, {"mode": "vector"}, {"mode": "text"}, {"thread": True}):
            found = published.search("what has an apple?", limit=400, **options)  # type: ignore[arg-type]
            expected = lake.search("what has an apple?", limit=400, **options)  # type: ignore[arg-type]
            assert shown(found) == shown(expected)
        lake.publish(place, search=True)
        with pytest.raises(ConfigurationError, match="were made by"):
            lakebed.open_publication(place, embedder=other)
        words = lakebed.open_publication(place)
        assert shown(words.search("apple")) == shown(lake.search("apple", mode="text"))
