"""Values in packs are read in bulk, counted in requests; in order, and whatever fails."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import lakebed
from lakebed.errors import CorruptionError
from lakebed.lake.contents.windows import WINDOW_BYTES, in_windows
from lakebed.lake.lake import Lake
from lakebed.model import EntryRow
from tests.buckets import S3Server
from tests.http_proxy import HttpProxy, http_proxy

COUNT = 1_000
KEYS = [f"k{n:05}" for n in range(COUNT)]


def text(number: int) -> str:
    return f"{number} {random.Random(number).randbytes(2_500).hex()}"  # 5 kB that compress by half


def fill(lake: Lake) -> None:
    lake.store_batch({"key": key, "value": text(n)} for n, key in enumerate(KEYS))
    lake.create_snapshot("s")


@pytest.fixture(scope="module")
def bucket(
    s3: S3Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Lake, HttpProxy]]:
    uri = f"s3://{s3.create_bucket()}/lake"
    with http_proxy(s3.port) as proxy:
        storage = s3.storage(uri) | {"endpoint_url": proxy.url}
        catalog = f"sqlite:///{tmp_path_factory.mktemp('catalog') / 'c.db'}"
        with lakebed.open(catalog=catalog, storage=storage, inline_threshold=0) as lake:
            fill(lake)
            yield lake, proxy


READS: dict[str, Callable[[Lake], list[Any]]] = {
    "entries": lambda lake: [entry.value for entry in lake.list()],
    "kept entries": lambda lake: [entry.value for entry in list(lake.list())],
    "items": lambda lake: [value for _, value in lake.items()],
    "values": lambda lake: list(lake.values()),
    "a batch": lambda lake: list(lake.retrieve_batch(KEYS).values()),
    "entries of a snapshot": lambda lake: [entry.value for entry in lake.at("s").list()],
}


@pytest.mark.parametrize("name", READS)
def test_a_thousand_values_take_ten_requests(
    bucket: tuple[Lake, HttpProxy], name: str, record_property: Any
) -> None:
    lake, proxy = bucket
    proxy.heard.clear()
    assert READS[name](lake) == [text(n) for n in range(COUNT)]
    record_property(f"requests for {name}", len(proxy.heard))
    assert 1 <= len(proxy.heard) <= 10


def test_an_index_of_packed_values_reads_the_pack_a_few_times(
    s3: S3Server, tmp_path: Path, record_property: Any
) -> None:
    """A pack is in the order of its hashes, the index in that of versions."""
    with http_proxy(s3.port) as proxy:
        storage = s3.storage(f"s3://{s3.create_bucket()}/lake") | {"endpoint_url": proxy.url}
        catalog = f"sqlite:///{tmp_path / 'c.db'}"
        with lakebed.open(catalog=catalog, storage=storage, inline_threshold=0) as lake:
            lake.store_batch(
                {"key": f"k{n:05}", "value": f"words {n} {'padding ' * 60}"} for n in range(6_000)
            )
            proxy.heard.clear()
            assert lake.search("words").total == 6_000
            record_property("requests for a first search", len(proxy.heard))
            assert any("/packs/" in request.path for request in proxy.heard)
            assert len(proxy.heard) <= 10


def test_one_value_is_read_alone(bucket: tuple[Lake, HttpProxy]) -> None:
    lake, proxy = bucket
    entries = list(lake.list())
    proxy.heard.clear()
    assert entries[700].value == text(700)
    assert entries[3].value == text(3)  # before it: nobody reads in order
    ranges = [
        {n.lower(): v for n, v in request.headers.items()}["range"] for request in proxy.heard
    ]
    spans = [[int(end) for end in held.removeprefix("bytes=").split("-")] for held in ranges]
    assert len(spans) == 2
    assert all(last - first < 400_000 for first, last in spans)


def test_a_purge_reads_the_pack_once(bucket: tuple[Lake, HttpProxy], record_property: Any) -> None:
    lake, proxy = bucket
    lake.store_batch({"key": f"p{n}", "value": text(-n - 1)} for n in range(COUNT))
    for key in ("p1", "p500"):  # the second finds a pack with another dead value in it
        lake.delete(key)
    proxy.heard.clear()
    assert lake.purge("p7").entries == 1
    record_property("requests for a purge", len(proxy.heard))
    assert len(proxy.heard) <= 30
    assert [value for _, value in lake.items()][-1] == text(-1000)
    lake.purge(prefix="p")  # the other tests read what there was before


def damaged(folder: Path) -> Lake:
    """A lake of packed values, inline ones and files, of which one file is gone."""
    lake = lakebed.open(folder, inline_threshold=100)
    for number in range(300):
        kind = number % 3
        value = number if kind == 0 else text(number)
        if kind == 1:
            lake.store(f"k{number:03}", value)
    lake.store_batch(
        {"key": f"k{n:03}", "value": n if n % 3 == 0 else text(n)} for n in range(300) if n % 3 != 1
    )
    uri = lake.entry("k100").storage_uri  # type: ignore[union-attr]
    assert uri is not None
    Path(uri.removeprefix("file://")).unlink()
    return lake


def test_the_order_holds_and_errors_come_where_they_are(tmp_path: Path) -> None:
    with damaged(tmp_path / "lake") as lake:
        found = list(lake.read_in_order(lake.list().rows()))
        assert [row.key for row, _ in found] == [f"k{n:03}" for n in range(300)]
        for number, (_, value) in enumerate(found):
            if number == 100:
                assert isinstance(value, CorruptionError)
            else:
                assert value == (number if number % 3 == 0 else text(number))
        read: list[str] = []
        with pytest.raises(CorruptionError, match="k100"):
            read.extend(key for key, _ in iter(lake.items()))
        assert read == [f"k{n:03}" for n in range(100)]
        entries = iter(lake.list())
        assert [next(entries).value for _ in range(100)][99] == 99
        broken = next(entries)
        with pytest.raises(CorruptionError, match="k100"):
            broken.value  # noqa: B018 - reads it
        assert next(entries).value == text(101)


def test_what_is_purged_meanwhile_is_left_out(tmp_path: Path) -> None:
    with lakebed.open(tmp_path / "lake", inline_threshold=0) as lake:
        lake.store_batch({"key": f"k{n:04}", "value": text(n)} for n in range(1_500))
        items = lake.items()
        reading = iter(items)
        next(reading)
        lake.purge("k1200")
        lake.store("k1300", "new")
        found = dict(reading)
        assert "k1200" not in found
        assert len(found) == 1_498
        assert found["k1300"] in ("new", text(1300))


def row(number: int, size: int, inline: bytes | None = None) -> EntryRow:
    return EntryRow(
        f"k{number}", number, "{}", None, 0, 0, b"", "json", size, inline, None, None
    )  # fmt: skip


def test_windows_are_bounded_and_inline_values_wait_for_none() -> None:
    rows = iter([row(0, 1, b"1"), row(1, 1, b"2"), *(row(n, WINDOW_BYTES // 3) for n in range(8))])
    windows = in_windows(rows)
    assert len(next(windows)) == len(next(windows)) == 1
    assert len(list(rows)) == 8  # nothing was read ahead of them
    sizes = [len(w) for w in in_windows(row(n, WINDOW_BYTES // 3) for n in range(8))]
    assert sizes == [3, 3, 2]
    assert max(len(w) for w in in_windows(row(n, 1) for n in range(100_000))) == 16_000


def test_export_reads_as_a_listing_does(bucket: tuple[Lake, HttpProxy]) -> None:
    from lakebed.cli.commands.transfer import _line

    lake, proxy = bucket
    proxy.heard.clear()
    lines = [json.loads(_line(*item)) for item in lake.read_listing(lake.list("k"))]
    assert [line["value"] for line in lines] == [text(n) for n in range(COUNT)]
    assert len(proxy.heard) <= 10
