"""Large files: in parts, in ranges, and as file objects."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from random import Random
from typing import Any, BinaryIO, cast

import pytest

from lakebed.errors import ConflictError, NotFoundError, ValidationError
from lakebed.files import BlobStorage
from lakebed.testing.files.base import FilesSuite, good, paths, refused

PART = 5 << 20
LARGE = Random(7).randbytes(PART + (1 << 20) + 1234)


class Transfers(FilesSuite):
    FEATURE = "transfers"

    @pytest.mark.parametrize("size", [0, 1, PART, PART + 1, len(LARGE)])
    def test_local_files(self, storage: BlobStorage, tmp_path: Path, size: int) -> None:
        (tmp_path / "source.bin").write_bytes(LARGE[:size])
        told: list[tuple[int, int | None]] = []
        written = good(
            storage.upload_file(
                "a/large.txt", tmp_path / "source.bin", metadata={"k": "v"}, part_size=PART,
                progress=lambda done, total: told.append((done, total)),
            )
        )  # fmt: skip
        assert (written["size"], written["content_type"]) == (size, "text/plain")
        assert told == sorted(told)
        assert told[-1] == (size, size)
        info = storage.info("a/large.txt")
        assert (info["size"], info["metadata"]) == (size, {"k": "v"})
        told.clear()
        target = tmp_path / "target.bin"
        read = good(
            storage.download_file(
                "a/large.txt", str(target), part_size=1 << 20,
                progress=lambda done, total: told.append((done, total)),
            )
        )  # fmt: skip
        assert (read["etag"], read["size"]) == (info["etag"], size)
        assert target.read_bytes() == LARGE[:size]
        assert told == sorted(told)
        assert [total for _, total in told] == [size] * -(-size // (1 << 20))
        assert {path.name for path in tmp_path.iterdir()} >= {"source.bin", "target.bin"}
        assert not list(tmp_path.glob(".target*"))
        assert storage.download("a/large.txt")["content"] == LARGE[:size]

    @pytest.mark.parametrize("size", [0, 7, PART, len(LARGE)])
    def test_streams(self, storage: BlobStorage, size: int) -> None:
        good(storage.upload_file("a", _stream(LARGE[:size]), part_size=PART))
        assert storage.download("a")["content"] == LARGE[:size]

    def test_a_stream_that_fails_leaves_the_old_file(self, storage: BlobStorage) -> None:
        good(storage.upload("a", b"old"))
        for fail_at in (10, len(LARGE) - 10):
            with pytest.raises(ZeroDivisionError):
                storage.files.upload_file("a", _stream(LARGE, fail_at), part_size=PART)
        assert storage.download("a")["content"] == b"old"
        with pytest.raises(ZeroDivisionError):
            storage.files.upload_file("b", _stream(LARGE, len(LARGE) - 10), part_size=PART)
        assert paths(storage.list()) == ["a"]

    def test_conditions_of_large_files(self, storage: BlobStorage) -> None:
        stream = io.BytesIO
        first = good(storage.upload_file("a", stream(LARGE), if_absent=True, part_size=PART))
        refused(
            storage.upload_file("a", stream(LARGE[:-1]), if_absent=True, part_size=PART),
            "conflict",
        )
        changed = good(
            storage.upload_file("a", stream(LARGE[:-2]), if_match=first["etag"], part_size=PART)
        )
        again = storage.upload_file("a", stream(LARGE[:-3]), if_match=first["etag"], part_size=PART)
        refused(again, "conflict")
        info = storage.info("a")
        assert (info["etag"], info["size"]) == (changed["etag"], len(LARGE) - 2)
        assert info["metadata"] == {}

    def test_a_download_continues(self, storage: BlobStorage, tmp_path: Path) -> None:
        good(storage.upload_file("a", io.BytesIO(LARGE), part_size=PART))
        target = tmp_path / "target"

        def stop(done: int, total: int | None) -> None:
            assert total == len(LARGE)
            if done > total // 2:
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            storage.files.download_file("a", target, part_size=1 << 20, progress=stop)
        assert not target.exists()
        told: list[int] = []
        storage.files.download_file(
            "a", target, part_size=1 << 20, progress=lambda done, _: told.append(done)
        )
        assert told[0] > len(LARGE) // 2
        assert told[-1] == len(LARGE)
        assert target.read_bytes() == LARGE

    def test_a_download_of_a_new_version_begins_anew(
        self, storage: BlobStorage, tmp_path: Path
    ) -> None:
        good(storage.upload_file("a", io.BytesIO(LARGE), part_size=PART))

        def stop(done: int, total: int | None) -> None:
            raise ZeroDivisionError(done, total)

        target = tmp_path / "target"
        target.write_bytes(b"old")
        with pytest.raises(ZeroDivisionError):
            storage.files.download_file("a", target, part_size=1 << 20, progress=stop)
        assert target.read_bytes() == b"old"
        new = LARGE[::-1]
        good(storage.upload_file("a", io.BytesIO(new), part_size=PART))
        good(storage.download_file("a", target, part_size=1 << 20))
        assert hashlib.sha256(target.read_bytes()).digest() == hashlib.sha256(new).digest()

    def test_file_objects(self, storage: BlobStorage) -> None:
        good(storage.upload_file("a", io.BytesIO(LARGE), part_size=PART))
        with storage.open("a") as file:
            assert (file.readable(), file.seekable(), file.writable()) == (True, True, False)
            assert file.read(10) == LARGE[:10]
            assert file.seek(-10, io.SEEK_END) == len(LARGE) - 10
            assert file.read() == LARGE[-10:]
            assert file.read() == b""
            file.seek(PART - 5)
            assert (file.read(10), file.tell()) == (LARGE[PART - 5 : PART + 5], PART + 5)
            file.seek(0)
            assert file.read() == LARGE
        good(storage.upload("lines", "one\ntwo\n"))
        with storage.open("lines", "rb") as file:
            assert list(file) == [b"one\n", b"two\n"]
        with pytest.raises(ValidationError, match="mode"):
            storage.open("lines", "wb")

    def test_a_file_object_reads_one_version(self, storage: BlobStorage) -> None:
        good(storage.upload_file("a", io.BytesIO(LARGE), part_size=PART))
        with storage.open("a") as file:
            assert file.read(5) == LARGE[:5]
            good(storage.upload("a", b"new"))
            file.seek(PART)
            with pytest.raises((ConflictError, NotFoundError)):
                file.read(5)

    @pytest.mark.parametrize(
        ("arguments", "error_type"),
        [
            ({"part_size": 1}, "validation_error"),
            ({"part_size": "8MB"}, "validation_error"),
            ({"file": 5}, "validation_error"),
            ({"file": io.StringIO("text")}, "validation_error"),
            ({"file": "/nowhere/at/all"}, "not_found"),
            ({"file": "/"}, "validation_error"),
        ],
        ids=["small part", "text", "number", "not binary", "missing", "folder"],
    )
    def test_wrong_arguments_of_transfers(
        self, storage: BlobStorage, arguments: dict[str, Any], error_type: str
    ) -> None:
        refused(storage.upload_file("a", **({"file": __file__} | arguments)), error_type)
        assert paths(storage.list()) == []

    def test_where_no_file_can_be(self, storage: BlobStorage, tmp_path: Path) -> None:
        good(storage.upload("a", b"x"))
        refused(storage.download_file("a", tmp_path), "storage_error")
        refused(storage.download_file("a", tmp_path / "no" / "folder"), "storage_error")
        refused(storage.download_file("absent", tmp_path / "b"), "not_found")
        assert not (tmp_path / "b").exists()
        assert not list(tmp_path.glob(".*"))


class _Stream(io.RawIOBase):
    """A stream that returns few bytes at a time, and can be told to fail."""

    def __init__(self, data: bytes, fail_at: int | None = None) -> None:
        self._data, self._fail_at, self._position = data, fail_at, 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if self._fail_at is not None and self._position >= self._fail_at:
            raise ZeroDivisionError
        most = 100_000 if size < 0 else min(size, 100_000)
        data = self._data[self._position : self._position + most]
        self._position += len(data)
        return data


def _stream(data: bytes, fail_at: int | None = None) -> BinaryIO:
    return cast(BinaryIO, _Stream(data, fail_at))
