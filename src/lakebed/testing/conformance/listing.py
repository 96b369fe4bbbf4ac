"""Listings: the order of keys, prefixes, limits and cursors."""

from __future__ import annotations

from itertools import cycle
from typing import ClassVar

import pytest

from lakebed.lake.lake import Lake
from lakebed.testing.conformance.base import Conformance
from lakebed.values.json import decode_text

ODD_KEYS = [
    " ",
    "!",
    "%",
    "'; DROP TABLE entry; --",
    "*",
    "A",
    "Z",
    "\\",
    "_",
    "a",
    "a ",
    "a/",
    "a/b",
    "a/b/c",
    "aa",
    "a\x01",
    "a\x7f",
    "a\n",
    "b\u0301",
    "\u00e9",
    "e\u0301",
    "\u00df",
    "ss",
    "\u0130",
    "\u4e2d",
    "\ud7ff",
    "\ud7ff\U0010ffff",
    "\ue000",
    "\ue000a",
    "\ufffd",
    "\uffff",
    "\U00010000",
    "\U0001f600",
    "\U0010ffff",
    "\U0010ffffa",
    "\U0010ffff\U0010ffff",
    "x" * 1024,
    "\u00e9" * 512,
    "\U0010ffff" * 256,
]
"""Keys that collations, case folding, UTF-16 and LIKE patterns would get wrong."""

PREFIXES = [
    "",
    "a",
    "a/",
    "a/b/c/d",
    "%",
    "_",
    "*",
    "A",
    "\\",
    "'",
    "\u00e9",
    "e",
    "\ud7ff",
    "\ue000",
    "\uffff",
    "\U0001f600",
    "\U0010ffff",
    "\U0010ffff\U0010ffff",
    "\U0010ffff" * 256,
    "\ud7ff\U0010ffff",
    "x" * 1023,
    "x" * 1024,
]


def by_bytes(keys: list[str]) -> list[str]:
    """Return keys in the order that every catalog must give them."""
    return sorted(keys, key=str.encode)


class Listing(Conformance):
    """Entries in the order of the UTF-8 bytes of their keys."""

    FEATURE: ClassVar[str] = "listing"

    @pytest.fixture
    def odd(self, lake: Lake) -> Lake:
        """A lake with all the odd keys. The value of each is the key itself."""
        for key in reversed(ODD_KEYS):
            lake.store(key, key)
        return lake

    def test_odd_keys_are_kept_apart(self, odd: Lake) -> None:
        assert {key: odd[key] for key in ODD_KEYS} == {key: key for key in ODD_KEYS}
        assert len(odd) == len(ODD_KEYS)

    def test_order(self, odd: Lake) -> None:
        assert [entry.key for entry in odd.list()] == by_bytes(ODD_KEYS)
        assert list(odd) == by_bytes(ODD_KEYS)

    @pytest.mark.parametrize("prefix", PREFIXES)
    def test_prefix(self, odd: Lake, prefix: str) -> None:
        expected = by_bytes([key for key in ODD_KEYS if key.startswith(prefix)])
        assert [entry.key for entry in odd.list(prefix)] == expected

    def test_cursor(self, odd: Lake) -> None:
        expected = by_bytes(ODD_KEYS)
        for number, key in enumerate(expected):
            assert [entry.key for entry in odd.list(after=key)] == expected[number + 1 :]

    def test_pages_by_cursor(self, odd: Lake) -> None:
        found: list[str] = []
        while page := [e.key for e in odd.list(limit=3, after=found[-1] if found else None)]:
            assert len(page) <= 3
            found += page
        assert found == by_bytes(ODD_KEYS)

    @pytest.mark.parametrize("after", ["a", "a/", "a/b", "aa", "b", "\x01", "\U0010ffff" * 256])
    def test_cursor_and_prefix(self, odd: Lake, after: str) -> None:
        expected = [k for k in by_bytes(ODD_KEYS) if k.startswith("a") and k > after]
        assert [entry.key for entry in odd.list("a", after=after)] == expected
        assert [entry.key for entry in odd.list("a", after=after, limit=2)] == expected[:2]

    def test_a_cursor_need_not_exist(self, lake: Lake) -> None:
        for key in ("a", "c"):
            lake.store(key, 1)
        assert [entry.key for entry in lake.list(after="b")] == ["c"]
        lake.delete("a")
        assert [entry.key for entry in lake.list(after="a")] == ["c"]

    @pytest.mark.parametrize("limit", [0, 1, 2, 3, 4, 10**30])
    def test_limit(self, lake: Lake, limit: int) -> None:
        for key in ("a", "b", "c"):
            lake.store(key, 1)
        assert [entry.key for entry in lake.list(limit=limit)] == ["a", "b", "c"][:limit]

    def test_a_listing_reads_anew(self, lake: Lake) -> None:
        listing = lake.list("a")
        assert list(listing) == []
        lake.store("a1", 1)
        assert [entry.key for entry in listing] == ["a1"]
        lake.delete("a1")
        assert list(listing) == []
        assert "a" in repr(listing)

    def test_many_pages(self, lake: Lake) -> None:
        keys = [f"k{number:05}" for number in range(2_500)]
        with lake.transaction() as tx:
            for key in keys:
                tx.store(key, None, {"even": int(key[1:]) % 2 == 0})
        assert list(lake) == keys
        assert [e.key for e in lake.list("k", metadata_filter={"even": True})] == keys[::2]
        found = lake.list("k01", metadata_filter={"even": False}, limit=5, after="k01500")
        assert [entry.key for entry in found] == keys[1501:1511:2]

    def test_changes_while_listing(self, lake: Lake) -> None:
        keys = [f"k{number:05}" for number in range(2_100)]
        with lake.transaction() as tx:
            for key in keys:
                tx.store(key, 1)
        seen = []
        for entry in lake.list():
            seen.append(entry.key)
            if entry.key == keys[0]:
                lake.delete(keys[-1])  # on a page that is not read yet
                lake.store("k", 1)  # behind the cursor
        assert seen == keys[:-1]

    def test_to_arrow(self, lake: Lake) -> None:
        lake.store("b", 1, {"ä": "é", "n": 10**30}, ttl=60)
        lake.store("a", b"bytes")
        table = lake.list().to_arrow()
        entries = list(lake.list())
        assert table.column("key").to_pylist() == ["a", "b"]
        assert table.column("metadata").to_pylist() == ["{}", f'{{"n":{10**30},"ä":"é"}}']
        for name in ("version", "content_hash", "format", "byte_size", "inlined", "expires_at"):
            assert table.column(name).to_pylist() == [entry[name] for entry in entries]
        assert lake.list("none").to_arrow().num_rows == 0

    def test_many_to_arrow(self, lake: Lake) -> None:
        # Longer than a page: a catalog may read several pages in its own way.
        large = "large" * 1000
        lake.store_batch(
            {
                "key": f"k{number:04}{odd}",
                "value": large + str(number) if number % 400 == 0 else number % 7,
                "metadata": {"n": number} if number % 2 else {},
            }
            for number, odd in zip(range(1500), cycle(["", "é", "'", "\\", "\n", "%(a)s", ":low"]))
        )
        lake.store("k0500 lasts", 1, ttl=60)
        lake.store("k0500 single", large)
        for prefix in ("", "k", "k0"):
            table = lake.list(prefix).to_arrow()
            entries = list(lake.list(prefix))
            for name in set(table.column_names) - {"metadata"}:
                assert table.column(name).to_pylist() == [entry[name] for entry in entries], name
            metadata = map(decode_text, table.column("metadata").to_pylist())
            assert list(metadata) == [entry.metadata for entry in entries]
        told: list[tuple[int, int | None]] = []
        for listing in (lake.list(), lake.list(limit=1200), lake.list(metadata_filter={"n": 3})):
            count = listing.to_arrow(progress=lambda *counts: told.append(counts)).num_rows
            assert told[-1] == (count, None if count == 1 else count)
