"""The base of all parts of the suite for storages of files."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lakebed.files import BlobStorage
from lakebed.testing.gaps import GapSuite


class FilesSuite(GapSuite):
    """The method that a storage's test must implement, and the fixtures of the suite."""

    @abstractmethod
    def open_storage(self, folder: Path) -> BlobStorage:
        """Open the storage of this folder, which exists.

        The storage of a new folder must be empty. Opening the same folder twice must give the same
        files, unless `reopening` is a gap.
        """

    @pytest.fixture
    def storage(self, tmp_path: Path) -> Iterator[BlobStorage]:
        """An empty storage."""
        (tmp_path / "storage").mkdir()
        with self.open_storage(tmp_path / "storage") as storage:
            yield storage


def good(result: dict[str, Any]) -> dict[str, Any]:
    """Check that a result is a success, and return it."""
    assert result["success"] is True, result
    return result


def refused(result: dict[str, Any], error_type: str) -> str:
    """Check that a result is an error of this type, and return its message."""
    assert result.keys() >= {"success", "error", "error_type"}, result
    assert (result["success"], result["error_type"]) == (False, error_type), result
    message: str = result["error"]
    assert message
    return message


def paths(listed: dict[str, Any]) -> list[str]:
    """Return the paths of a listing."""
    return [file["path"] for file in good(listed)["files"]]
