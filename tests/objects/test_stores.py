"""What every store does: a folder, and filesystems of fsspec."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lakebed.errors import ConfigurationError, StorageError
from lakebed.objects.local import LocalStore
from lakebed.objects.names import object_path, pack_path
from lakebed.objects.opening import open_store
from lakebed.objects.remote import _modified
from lakebed.objects.store import ObjectStore, Range
from tests.buckets import BucketServer
from tests.servers import free_port

BUCKETS = {"s3": "s3", "gcs": "gs", "azure": "az"}
PATH = "objects/ab/abcd-1.json"


@pytest.fixture(params=["folder", "file", "memory", "local", *BUCKETS])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ObjectStore]:
    if request.param in BUCKETS:
        server: BucketServer = request.getfixturevalue(request.param)
        options = server.storage(f"{BUCKETS[request.param]}://{server.create_bucket()}/some/lake")
        store = open_store(str(options.pop("uri")), options)
        yield store
        store.close()
        return
    where = {
        "folder": str(tmp_path / "a folder"),
        "file": f"file://{tmp_path}/folder",
        "memory": f"memory://{uuid.uuid4().hex}/deeper",
        "local": f"local://{tmp_path}/folder",  # the same folder, through fsspec
    }
    store = open_store(where[request.param])
    yield store
    store.close()


def test_write_and_read(store: ObjectStore) -> None:
    store.write(PATH, b"0123456789")
    assert store.read(PATH) == b"0123456789"
    assert store.size(PATH) == 10
    store.write("objects/ab/empty.json", b"")
    assert store.read("objects/ab/empty.json") == b""
    assert store.size("objects/ab/empty.json") == 0


@pytest.mark.parametrize(
    ("offset", "length", "expected"),
    [
        (0, None, b"0123456789"),
        (3, None, b"3456789"),
        (0, 4, b"0123"),
        (3, 4, b"3456"),
        (8, 4, b"89"),
        (10, 4, b""),
        (0, 0, b""),
        (5, 0, b""),
    ],
)
def test_ranges(store: ObjectStore, offset: int, length: int | None, expected: bytes) -> None:
    store.write(PATH, b"0123456789")
    assert store.read(PATH, offset, length) == expected


def test_many_ranges(store: ObjectStore) -> None:
    store.write(PATH, b"0123456789")
    found = store.read_many([Range(PATH, 3, 4), Range("objects/no.json"), Range(PATH), Range(PATH)])
    assert [found[0], *found[2:]] == [b"3456", b"0123456789", b"0123456789"]
    assert isinstance(found[1], FileNotFoundError)
    assert store.read_many([]) == []


def test_writing_in_pieces(store: ObjectStore) -> None:
    with store.open_write("packs/p.parquet") as file:
        for number in range(100):
            file.write(b"%d\n" % number * 1000)
    assert store.read("packs/p.parquet") == b"".join(b"%d\n" % n * 1000 for n in range(100))


def test_a_failure_while_writing_leaves_no_file(store: ObjectStore) -> None:
    def write_and_fail(error: BaseException) -> None:
        with store.open_write("packs/p.parquet") as file:
            file.write(b"half of it")
            raise error

    for error, seen in ((ZeroDivisionError(), ZeroDivisionError), (OSError(5, "x"), StorageError)):
        with pytest.raises(seen):
            write_and_fail(error)
        assert list(store.list("packs")) == []
        with pytest.raises(FileNotFoundError):
            store.read("packs/p.parquet")


def test_what_is_not_there(store: ObjectStore) -> None:
    for _ in range(2):
        for offset, length in ((0, None), (3, 4)):
            with pytest.raises(FileNotFoundError):
                store.read(PATH, offset, length)
        with pytest.raises(FileNotFoundError):
            store.size(PATH)
        store.delete([PATH])
        assert list(store.list("objects")) == []
        store.write("objects/ab/other.json", b"x")
        store.delete(["objects/ab/other.json"])


def test_delete(store: ObjectStore) -> None:
    paths = [f"objects/a{n}/{n}.json" for n in range(5)]
    for path in paths:
        store.write(path, path.encode())
    store.delete([*paths[:2], "objects/zz/none.json", paths[4]])
    assert sorted(found.path for found in store.list("objects")) == paths[2:4]


def test_list(store: ObjectStore) -> None:
    store.write("objects/ab/1.json", b"1")
    store.write("objects/cd/22.bin", b"22")
    store.write("packs/3.parquet", b"333")
    found = {file.path: file.byte_size for file in store.list("objects")}
    assert found == {"objects/ab/1.json": 1, "objects/cd/22.bin": 2}
    assert {file.path: file.byte_size for file in store.list("packs")} == {"packs/3.parquet": 3}
    year_2020 = 1_577_836_800_000_000
    assert all(file.modified > year_2020 for file in store.list("objects"))


def test_uris_can_be_read_by_others(store: ObjectStore) -> None:
    import fsspec

    store.write(PATH, b"content")
    uri = store.uri(PATH)
    assert uri.endswith(f"/{PATH}")
    if " " not in uri and "%20" not in uri and not uri.startswith(("s3:", "gs:", "az:")):
        with fsspec.open(uri) as file:
            assert file.read() == b"content"


def test_local_uris_are_quoted(tmp_path: Path) -> None:
    from urllib.parse import unquote, urlparse

    store = LocalStore(tmp_path / "a b%20ä#?")
    store.write(PATH, b"content")
    parts = urlparse(store.uri(PATH))
    assert (parts.scheme, parts.fragment, parts.query) == ("file", "", "")
    assert Path(unquote(parts.path)).read_bytes() == b"content"


@pytest.mark.parametrize("size", [0, 65_535, 65_536, 65_537, 200_000])  # 64 KiB are read at first
@pytest.mark.parametrize("most", [65_536, 1_000])  # some filesystems read less than they are asked
def test_a_local_file_is_read_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, most: int
) -> None:
    store, data = LocalStore(tmp_path), os.urandom(size)
    store.write(PATH, data)
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda handle, n, at: pread(handle, min(n, most), at))
    assert store.read(PATH) == data
    for offset in (1, size // 2, size):
        assert store.read(PATH, offset) == data[offset:]


def test_a_local_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    with store.open_write(PATH) as file:
        file.write(b"half")
        file.flush()
        with pytest.raises(FileNotFoundError):
            store.read(PATH)
    assert store.read(PATH) == b"half"


@pytest.mark.parametrize(
    "told",
    [
        {"LastModified": datetime(2030, 1, 2, tzinfo=UTC)},
        {"last_modified": datetime(2030, 1, 2)},  # noqa: DTZ001 - as some filesystems tell it
        {"mtime": 1_893_542_400.0, "created": 1.0},
        {"updated": "2030-01-02T00:00:00.000Z"},
        {"created": "2030-01-02T00:00:00+00:00"},
    ],
)
def test_times_of_writing(told: dict[str, object]) -> None:
    assert _modified(told) == 1_893_542_400_000_000


def test_an_unknown_time_of_writing_is_the_present() -> None:
    assert abs(_modified({}) - time.time_ns() // 1000) < 60_000_000


def test_a_local_folder_takes_no_options(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="'mode'"):
        open_store(str(tmp_path), {"mode": "x"})


def test_local_writes_reach_the_disk_before_they_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file's bytes, then its name, then the folders that hold the name."""
    steps: list[str] = []
    fsync, rename = os.fsync, os.rename

    def shown(path: str) -> str:
        name = os.path.relpath(path, tmp_path)
        return "the file" if name.endswith(".tmp") else name

    def spy_fsync(handle: int) -> None:
        steps.append(f"fsync {shown(str(Path(f'/proc/self/fd/{handle}').readlink()))}")
        fsync(handle)

    def spy_rename(source: str, target: str) -> None:
        steps.append(f"rename {shown(source)}")
        rename(source, target)

    monkeypatch.setattr(os, "fsync", spy_fsync)
    monkeypatch.setattr(os, "rename", spy_rename)
    LocalStore(tmp_path / "lake").write(PATH, b"x")
    made, written = steps[:-3], steps[-3:]
    assert made == ["fsync .", "fsync lake", "fsync lake/objects"]
    assert written == ["fsync the file", "rename the file", "fsync lake/objects/ab"]
    steps.clear()
    LocalStore(tmp_path / "lake").write("objects/ab/next.json", b"x")
    assert steps == written


def test_names_are_used_once() -> None:
    content_hash = bytes(range(32))
    names = {object_path(content_hash, "json") for _ in range(1000)}
    assert len(names) == 1000
    assert all(name.startswith(f"objects/00/{content_hash.hex()}-") for name in names)
    assert {name.rpartition(".")[2] for name in names} == {"json"}
    assert object_path(content_hash, "bytes").endswith(".bin")
    assert object_path(content_hash, "parquet").endswith(".parquet")
    assert len({pack_path() for _ in range(1000)}) == 1000


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"client_kwargs": {"nonsense": 1}}, "'nonsense'"),
        ({"endpoint_url": "nonsense"}, "endpoint_url"),
    ],
)
def test_options_that_the_client_does_not_take(options: dict[str, object], named: str) -> None:
    store = open_store("s3://bucket/prefix", {"key": "k", "secret": "s", **options})
    try:
        with pytest.raises(ConfigurationError, match=named):
            store.write("objects/00/a.json", b"1")
    finally:
        store.close()


def test_a_password_in_an_address_is_not_shown() -> None:
    store = open_store("memory://ada:s3cret@host/lake")
    store.write(PATH, b"1")
    assert store.read(PATH) == b"1"
    assert store.uri(PATH) == f"memory://ada:***@host/lake/{PATH}"
    with pytest.raises(StorageError, match=r"cannot open ftp://…: .*refused") as caught:
        open_store(f"ftp://ada:s3cret@127.0.0.1:{free_port()}/lake")
    assert "s3cret" not in str(caught.value)
