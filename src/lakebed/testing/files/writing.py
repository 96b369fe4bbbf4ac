"""Writing, conditions, deleting, copying."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lakebed.errors import ConflictError, LakebedError, NotFoundError, ValidationError
from lakebed.files import BlobStorage
from lakebed.testing.files.base import FilesSuite, good, paths, refused

CONTENTS = [b"", b"x", "naïve 日本語 \U0001f600".encode(), bytes(range(256)) * 41, b"--==0==--\r\n"]
NAMES = [
    "a",
    "a.txt",
    "a/b/c.txt",
    "a b/ c ",
    "naïve/日本語/\U0001f600.txt",
    "100%.txt",
    "%2e%2e/%2F",
    "a+b&c=d?e#f;g,h",
    "?versionId=7",
    'it\'s "quoted" $HOME `x` *.?[]{}()|^~!@',
    ".hidden",
    "...",
    "..a",
    "a..",
    "CON",
    "x" * 200,
    "a/" * 300 + "deep",
]
METADATA: list[dict[str, str]] = [
    {"author": "Ada"},
    {"k-v": "1", "k_w": "2", "kv": "3"},
    {"Author": "x", "author": "y"},
    {"naïve": "Zürich \U0001f600", "100%": "50%25 %zz"},
    {"_x41_": " spaces ", "tab": "a\tb\nc", "1": ""},
]


class Writing(FilesSuite):
    FEATURE = "writing"

    @pytest.mark.parametrize("content", CONTENTS, ids=len)
    def test_upload_and_download(self, storage: BlobStorage, content: bytes) -> None:
        written = good(storage.upload("a/b.bin", content))
        assert (written["path"], written["size"]) == ("a/b.bin", len(content))
        read = good(storage.download("a/b.bin"))
        assert read["content"] == content
        assert (read["etag"], read["size"]) == (written["etag"], len(content))
        assert read["content_type"] == "application/octet-stream"
        assert read["metadata"] == {}

    def test_text_is_stored_as_utf8(self, storage: BlobStorage) -> None:
        good(storage.upload("a.txt", "naïve"))
        read = storage.download("a.txt")
        assert (read["content"], read["content_type"]) == ("naïve".encode(), "text/plain")

    def test_upload_replaces_the_file_whole(self, storage: BlobStorage) -> None:
        first = good(storage.upload("a.json", b"{}", metadata={"a": "1"}))
        assert first["content_type"] == "application/json"
        second = good(storage.upload("a.json", b"[1]", content_type="text/x-mine; charset=utf-8"))
        assert second["etag"] != first["etag"]
        read = storage.download("a.json")
        assert (read["content"], read["metadata"]) == (b"[1]", {})
        assert read["content_type"] == "text/x-mine; charset=utf-8"

    @pytest.mark.parametrize("metadata", METADATA, ids=str)
    def test_metadata_comes_back_as_it_went_in(
        self, storage: BlobStorage, metadata: dict[str, str]
    ) -> None:
        good(storage.upload("a", b"x", metadata=metadata))
        assert good(storage.info("a"))["metadata"] == metadata
        assert good(storage.download("a"))["metadata"] == metadata

    @pytest.mark.parametrize("name", NAMES, ids=lambda name: name[:20])
    def test_names_are_data(self, storage: BlobStorage, name: str) -> None:
        good(storage.upload(name, name))
        assert good(storage.download(name))["content"] == name.encode()
        assert paths(storage.list()) == [name]
        good(storage.copy(name, "copy"))
        assert storage.download("copy")["content"] == name.encode()
        assert good(storage.delete(name))["deleted"] is True
        assert paths(storage.list()) == ["copy"]

    def test_missing_files(self, storage: BlobStorage) -> None:
        good(storage.upload("there/is", b"x"))
        for path in ("nothing", "there", "there/is/nothing"):
            for result in (
                storage.download(path),
                storage.info(path),
                storage.copy(path, "b"),
                storage.move(path, "b"),
                storage.presign(path),
            ):
                assert repr(path) in refused(result, "not_found")
            assert storage.exists(path) == {"success": True, "exists": False, "path": path}
            assert good(storage.delete(path))["deleted"] is False
            with pytest.raises(NotFoundError):
                storage.open(path)
            with pytest.raises(NotFoundError):
                storage.files.download(path)
        assert paths(storage.list()) == ["there/is"]

    def test_info(self, storage: BlobStorage) -> None:
        written = storage.upload("a.txt", b"12345", metadata={"k": "v"})
        info = good(storage.info("a.txt"))
        assert info.keys() == {
            "success", "path", "size", "etag", "content_type", "metadata", "last_modified",
            "storage_class", "archived", "restore", "restored_until", "encryption", "kms_key_id",
            "lifecycle_rule", "expires_at",
        }  # fmt: skip
        assert (info["path"], info["size"], info["etag"]) == ("a.txt", 5, written["etag"])
        assert (info["archived"], info["restore"], info["restored_until"]) == (False, None, None)
        assert (info["lifecycle_rule"], info["expires_at"]) == (None, None)
        modified = datetime.fromisoformat(info["last_modified"])
        assert abs(datetime.now(UTC) - modified) < timedelta(minutes=5)

    def test_delete(self, storage: BlobStorage) -> None:
        good(storage.upload("a/b", b"x"))
        assert storage.delete("a/b") == {"success": True, "deleted": True, "path": "a/b"}
        assert storage.delete("a/b") == {"success": True, "deleted": False, "path": "a/b"}
        assert storage.exists("a/b")["exists"] is False

    def test_delete_many(self, storage: BlobStorage) -> None:
        for number in range(12):
            good(storage.upload(f"d/{number}", b"x"))
        good(storage.upload("stays", b"x"))
        wrong = storage.delete_many([*(f"d/{n}" for n in range(12)), "../x"])
        assert "paths[12]" in refused(wrong, "validation_error")
        assert len(paths(storage.list("d/"))) == 12
        done = storage.delete_many(path for path in [*(f"d/{n}" for n in range(12)), "absent"])
        assert done == {"success": True, "deleted_count": 13, "failed_count": 0, "errors": {}}
        assert paths(storage.list()) == ["stays"]
        assert good(storage.delete_many([]))["deleted_count"] == 0
        refused(storage.delete_many("stays"), "validation_error")

    def test_copy_and_move(self, storage: BlobStorage) -> None:
        good(storage.upload("a/b", b"x", content_type="text/x-mine", metadata={"k-é": "ä v"}))
        good(storage.upload("old", b"other"))
        for result in (storage.copy("a/b", "c/d"), storage.move("a/b", "old")):
            assert good(result)["size"] == 1
        assert paths(storage.list()) == ["c/d", "old"]
        for path in ("c/d", "old"):
            read = storage.download(path)
            assert (read["content"], read["content_type"]) == (b"x", "text/x-mine")
            assert read["metadata"] == {"k-é": "ä v"}
        refused(storage.copy("old", "old"), "validation_error")
        refused(storage.move("old", "../x"), "validation_error")

    def test_the_face_that_raises(self, storage: BlobStorage) -> None:
        files = storage.files
        info = files.upload("a", b"x", metadata={"k": "v"})
        assert (info.path, info.size, info["metadata"]) == ("a", 1, {"k": "v"})
        assert files.download("a") == b"x"
        assert files.info("a").etag == info.etag
        assert (files.exists("a"), files.delete("a"), files.delete("a")) == (True, True, False)
        with pytest.raises(NotFoundError, match="'a'"):
            files.info("a")
        with pytest.raises(ValidationError, match=r"path '\.\./a'"):
            files.upload("../a", b"x")

    def test_calls_after_closing_fail(self, storage: BlobStorage) -> None:
        good(storage.upload("a", b"x"))
        storage.close()
        storage.close()
        result = storage.download("a")
        assert (result["success"], "closed" in result["error"]) == (False, True)


class Conditions(FilesSuite):
    FEATURE = "conditions"

    def test_if_absent(self, storage: BlobStorage) -> None:
        good(storage.upload("a", b"1", metadata={"k": "v"}, if_absent=True))
        assert "'a'" in refused(storage.upload("a", b"2", if_absent=True), "conflict")
        with pytest.raises(ConflictError):
            storage.files.upload("a", b"2", if_absent=True)
        read = storage.download("a")
        assert (read["content"], read["metadata"]) == (b"1", {"k": "v"})
        storage.delete("a")
        good(storage.upload("a", b"3", if_absent=True))

    def test_if_match(self, storage: BlobStorage) -> None:
        refused(storage.upload("a", b"1", if_match="0123"), "conflict")
        first = good(storage.upload("a", b"1"))["etag"]
        second = good(storage.upload("a", b"22", if_match=first, metadata={"k": "v"}))["etag"]
        refused(storage.upload("a", b"333", if_match=first), "conflict")
        info = storage.info("a")
        assert (info["etag"], info["metadata"]) == (second, {"k": "v"})
        storage.delete("a")
        refused(storage.upload("a", b"1", if_match=second), "conflict")

    @pytest.mark.parametrize(
        "arguments",
        [
            {"if_absent": 1},
            {"if_match": 7},
            {"if_match": ""},
            {"if_match": 'a"\r\nx: y'},
            {"if_match": "a", "if_absent": True},
        ],
        ids=str,
    )
    def test_wrong_conditions(self, storage: BlobStorage, arguments: dict[str, Any]) -> None:
        refused(storage.upload("a", b"x", **arguments), "validation_error")
        assert paths(storage.list()) == []

    def test_one_of_many_threads_wins(self, storage: BlobStorage) -> None:
        def attempt(number: int) -> bool:
            try:
                storage.files.upload("a", str(number), if_absent=True)
            except ConflictError:
                return False
            return True

        with ThreadPoolExecutor(8) as pool:
            for _ in range(3):
                won = [n for n, done in enumerate(pool.map(attempt, range(8))) if done]
                assert [storage.files.download("a")] == [str(number).encode() for number in won]
                storage.delete("a")

    def test_threads_lose_no_update(self, storage: BlobStorage) -> None:
        storage.files.upload("n", b"0")

        def increment(_: int) -> None:
            while True:
                info, content = storage.files.fetch("n")
                try:
                    storage.files.upload("n", str(int(content) + 1), if_match=info.etag)
                except ConflictError:
                    continue
                return

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(increment, range(12)))
        assert storage.files.download("n") == b"12"


REFUSED: list[object] = [
    "",
    "..",
    "../a",
    "a/../b",
    "a/..",
    ".",
    "./a",
    "a/./b",
    "/a",
    "/etc/passwd",
    "//host/share",
    "a//b",
    "a/",
    "a\0b",
    "a\nb",
    "a\x7fb",
    "..\\a",
    "C:/a",
    "c:",
    "file:///etc/passwd",
    "s3://bucket/key",
    ".lakebed/about/x",
    "a\ud800",
    "x" * 1025,
    None,
    7,
    b"a",
    ["a"],
]


class Paths(FilesSuite):
    FEATURE = "paths"

    @pytest.mark.parametrize("path", REFUSED, ids=lambda path: repr(path)[:20])
    def test_what_is_no_path_is_refused(self, storage: BlobStorage, path: Any) -> None:
        good(storage.upload("there", b"x"))
        for result in (
            storage.upload(path, b"x"),
            storage.upload_file(path, __file__),
            storage.download(path),
            storage.download_file(path, "never"),
            storage.delete(path),
            storage.delete_many(["there", path]),
            storage.exists(path),
            storage.info(path),
            storage.copy("there", path),
            storage.copy(path, "b"),
            storage.move("there", path),
            storage.presign(path, method="PUT"),
        ):
            refused(result, "validation_error")
        with pytest.raises(ValidationError):
            storage.open(path)
        if path not in ("", "a/"):
            refused(storage.list(path), "validation_error")
        assert paths(storage.list()) == ["there"]

    @pytest.mark.parametrize(
        ("arguments", "named"),
        [
            ({"content": None}, "content must be bytes or a string, got NoneType"),
            ({"content": {"a": 1}}, "content must be bytes or a string, got dict"),
            ({"content": "\ud800"}, "surrogate"),
            ({"content_type": "text/plain\r\nx-evil: 1"}, "content_type"),
            ({"content_type": ""}, "content_type"),
            ({"content_type": 5}, "content_type"),
            ({"metadata": "text"}, "metadata must be a mapping, got str"),
            ({"metadata": {"a": 1}}, "metadata.a must be a string, got int"),
            ({"metadata": {"": "x"}}, "metadata: a name must be non-empty text"),
            ({"metadata": {1: "x"}}, "metadata: a name must be non-empty text, got 1"),
            ({"metadata": {"a": "\0"}}, "metadata.a must not contain a NUL"),
            ({"metadata": {"a": "\ud800"}}, "surrogate"),
            ({"metadata": {"a": "x" * 3000}}, "metadata must have at most 2,048 bytes"),
            ({"metadata": {"lakebedupload": "x"}}, "reserved"),
        ],
        ids=lambda value: str(value)[:30],
    )
    def test_wrong_arguments(
        self, storage: BlobStorage, arguments: dict[str, Any], named: str
    ) -> None:
        message = refused(
            storage.upload("a", **({"content": b"x"} | arguments)), "validation_error"
        )
        assert named in message
        assert paths(storage.list()) == []

    def test_the_storage_path_comes_first(self, storage: BlobStorage) -> None:
        message = refused(storage.upload_file(__file__, "a.py"), "validation_error")
        assert "a path in the storage, not on this machine" in message

    def test_unknown_arguments(self, storage: BlobStorage) -> None:
        wrong: Any = storage
        message = refused(wrong.upload("a", b"x", contenttype="text/plain"), "validation_error")
        assert "did you mean 'content_type'?" in message

    def test_errors_are_of_one_family(self, storage: BlobStorage) -> None:
        for call in (storage.files.download, storage.files.info, storage.files.presign):
            with pytest.raises(LakebedError):
                call("absent")
