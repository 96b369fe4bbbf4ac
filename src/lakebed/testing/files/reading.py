"""Listing, presigned URLs, rules, cleaning up, and optional features."""

from __future__ import annotations

import urllib.request
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lakebed.files import BlobStorage
from lakebed.testing.files.base import FilesSuite, good, paths, refused

FILES = ["a", "b/1", "b/2", "b/c/3", "b/c/4", "b-", "b0", "d/e/f/5", "é/ä", "z/1"]


class Listing(FilesSuite):
    FEATURE = "listing"

    @pytest.fixture
    def filled(self, storage: BlobStorage) -> BlobStorage:
        for path in FILES:
            good(storage.upload(path, path))
        return storage

    def test_everything_in_the_order_of_bytes(self, filled: BlobStorage) -> None:
        listed = filled.list()
        assert paths(listed) == sorted(FILES, key=str.encode)
        assert (listed["prefixes"], listed["count"], listed["after"]) == ([], len(FILES), None)
        first = listed["files"][0]
        assert first.keys() == {"path", "size", "etag", "last_modified", "storage_class"}
        info = filled.info("a")
        assert (first["size"], first["etag"]) == (1, info["etag"])
        listed_at = datetime.fromisoformat(first["last_modified"])
        known_at = datetime.fromisoformat(info["last_modified"])
        assert abs(listed_at - known_at) < timedelta(seconds=2)

    @pytest.mark.parametrize("delimiter", [None, "/", "-", "c"])
    @pytest.mark.parametrize("prefix", ["", "b", "b/", "b/c", "b/c/", "d/e/f/5", "x", "é"])
    def test_as_a_model_lists(
        self, filled: BlobStorage, prefix: str, delimiter: str | None
    ) -> None:
        """Whole listings and pages of each size agree with a model."""
        expected = _model(prefix, delimiter)
        for limit in (1, 2, 1000):
            found: list[str] = []
            after: str | None = None
            while True:
                page = good(filled.list(prefix, delimiter=delimiter, limit=limit, after=after))
                found += sorted([*paths(page), *page["prefixes"]], key=str.encode)
                assert page["count"] == len(page["files"]) + len(page["prefixes"]) <= limit
                after = page["after"]
                if after is None:
                    break
            assert found == expected

    def test_after_any_text(self, filled: BlobStorage) -> None:
        ordered = sorted(FILES, key=str.encode)
        for after in ("b", "b/c/3", "b/c/30", "zz"):
            expected = [path for path in ordered if path.encode() > after.encode()]
            assert paths(filled.list(after=after)) == expected

    def test_an_empty_storage(self, storage: BlobStorage) -> None:
        assert storage.list() == {
            "success": True, "files": [], "prefixes": [], "count": 0, "after": None,
        }  # fmt: skip

    @pytest.mark.parametrize(
        "arguments",
        [
            {"limit": 0},
            {"limit": "5"},
            {"delimiter": ""},
            {"delimiter": "//"},
            {"delimiter": 5},
            {"after": "../x"},
        ],
        ids=str,
    )
    def test_wrong_arguments_of_list(self, storage: BlobStorage, arguments: dict[str, Any]) -> None:
        refused(storage.list(**arguments), "validation_error")


def _model(prefix: str, delimiter: str | None) -> list[str]:
    found = set()
    for path in FILES:
        if path.startswith(prefix):
            head, cut, _ = path[len(prefix) :].partition(delimiter) if delimiter else ("", "", "")
            found.add(f"{prefix}{head}{cut}" if cut else path)
    return sorted(found, key=str.encode)


class Presigning(FilesSuite):
    FEATURE = "presigning"

    def test_urls(self, storage: BlobStorage) -> None:
        good(storage.upload("a b/ä%.txt", "content"))
        signed = good(storage.presign("a b/ä%.txt", expires=60))
        assert signed.keys() == {"success", "url", "expires_at", "method", "headers"}
        left = datetime.fromisoformat(signed["expires_at"]) - datetime.now().astimezone()
        assert timedelta(seconds=50) < left <= timedelta(seconds=60)
        with urllib.request.urlopen(signed["url"], timeout=30) as answer:
            assert answer.read() == b"content"
        put = good(storage.presign("new/file", timedelta(minutes=1), "PUT"))
        assert put["method"] == "PUT"
        request = urllib.request.Request(
            put["url"], data=b"from outside", method="PUT",
            headers=put["headers"] | {"content-type": "application/octet-stream"},
        )  # fmt: skip
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert answer.status in (200, 201)
        assert storage.download("new/file")["content"] == b"from outside"


class PresigningRefusals(FilesSuite):
    FEATURE = "refusals of presign"

    @pytest.mark.parametrize(
        "arguments",
        [{"expires": 0}, {"expires": 604_801}, {"expires": "1h"}, {"method": "DELETE"}],
        ids=str,
    )
    def test_wrong_arguments_of_presign(
        self, storage: BlobStorage, arguments: dict[str, Any]
    ) -> None:
        good(storage.upload("a", b"x"))
        refused(storage.presign("a", **arguments), "validation_error")


class Rules(FilesSuite):
    FEATURE = "rules"

    def test_expiry_by_prefix(self, storage: BlobStorage) -> None:
        assert storage.lifecycle() == {"success": True, "rules": []}
        rules = [
            {"id": "logs", "prefix": "logs/", "expire_days": 30},
            {"prefix": "logs/debug/", "expire_days": 3, "abort_days": 1},
            {"id": "off", "prefix": "", "expire_days": 1, "enabled": False},
        ]
        full = [
            {
                "id": "under logs/debug/", "transitions": [], "abort_days": None, "enabled": True,
            }
            | rule
            for rule in rules
        ]  # fmt: skip
        assert good(storage.set_lifecycle(rules))["rules"] == full
        assert good(storage.lifecycle())["rules"] == full
        assert [rule._asdict()["prefix"] for rule in storage.files.lifecycle()] == [
            "logs/", "logs/debug/", "",
        ]  # fmt: skip
        for path, rule, days in (
            ("logs/a", "logs", 30),
            ("logs/debug/a", "under logs/debug/", 3),
            ("other", None, None),
        ):
            good(storage.upload(path, b"x"))
            info = good(storage.info(path))
            assert info["lifecycle_rule"] == rule
            if days is None:
                assert info["expires_at"] is None
            else:
                begin = datetime.fromisoformat(info["last_modified"])
                assert datetime.fromisoformat(info["expires_at"]) == begin + timedelta(days=days)
        assert good(storage.set_lifecycle([]))["rules"] == []
        assert storage.info("logs/a")["lifecycle_rule"] is None


class RuleRefusals(FilesSuite):
    FEATURE = "refusals of rules"

    @pytest.mark.parametrize(
        ("rules", "named"),
        [
            (None, "rules"),
            ({"prefix": "a"}, "rules must be a list"),
            ([5], "rules[0] must be a mapping, got int"),
            ([{"prefix": "a"}], "rules[0] must have expire_days"),
            ([{"expire_days": 0}], "rules[0].expire_days must be 1 or more"),
            ([{"expire_days": "30"}], "rules[0].expire_days must be an integer"),
            ([{"expire_days": 1, "prefix": "../x"}], "rules[0].prefix"),
            ([{"expire_days": 1, "colour": 1}], "rules[0].colour is unknown"),
            ([{"expire_days": 1, "id": ""}], "rules[0].id"),
            ([{"expire_days": 1}, {"expire_days": 2}], "used twice"),
            ([{"transitions": [{"days": 1}]}], "rules[0].transitions[0].storage_class"),
            ([{"transitions": [{"days": -1, "storage_class": "X"}]}], "transitions[0].days"),
        ],
        ids=lambda value: str(value)[:40],
    )
    def test_wrong_rules(self, storage: BlobStorage, rules: Any, named: str) -> None:
        assert named in refused(storage.set_lifecycle(rules), "validation_error")
        assert storage.lifecycle().get("rules", []) == []


class Transitions(FilesSuite):
    FEATURE = "transitions"
    storage_class = "GLACIER"
    """A storage class that the service knows."""

    def test_transitions(self, storage: BlobStorage) -> None:
        rule = {
            "id": "old", "prefix": "a/", "expire_days": 400,
            "transitions": [{"days": 90, "storage_class": self.storage_class}],
            "abort_days": None, "enabled": True,
        }  # fmt: skip
        assert good(storage.set_lifecycle([rule]))["rules"] == [rule]
        assert good(storage.lifecycle())["rules"] == [rule]


class CleaningUp(FilesSuite):
    FEATURE = "cleaning up"

    def test_nothing_to_clean(self, storage: BlobStorage) -> None:
        good(storage.upload("a", b"x"))
        assert storage.cleanup() == {"success": True, "aborted_count": 0, "expired_count": 0}
        refused(storage.cleanup(-1), "validation_error")
        refused(storage.cleanup("1d"), "validation_error")  # type: ignore[arg-type]
        assert paths(storage.list()) == ["a"]


class Nesting(FilesSuite):
    FEATURE = "a file and a folder of one name"

    def test_a_file_under_a_file(self, storage: BlobStorage) -> None:
        good(storage.upload("a/b", b"2"))
        good(storage.upload("a", b"1"))
        assert paths(storage.list()) == ["a", "a/b"]
        assert good(storage.list(delimiter="/"))["prefixes"] == ["a/"]


class Reopening(FilesSuite):
    FEATURE = "reopening"

    def test_reopening(self, storage: BlobStorage, tmp_path: Path) -> None:
        written = good(storage.upload("a/b", b"x", metadata={"k": "v"}))
        with self.open_storage(tmp_path / "storage") as other:
            read = good(other.download("a/b"))
            assert (read["content"], read["metadata"]) == (b"x", {"k": "v"})
            assert read["etag"] == written["etag"]
