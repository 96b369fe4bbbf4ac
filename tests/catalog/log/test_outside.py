"""The store of the guide "A log store of your own" is what it says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import lakebed
from lakebed.testing import LogStoreConformance

GUIDE = Path(__file__).parents[3] / "docs" / "guides" / "log-store.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", GUIDE.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def guide(*blocks: str) -> dict[str, Any]:
    """The names that blocks of the guide define."""
    names: dict[str, Any] = {}
    for block in blocks:
        exec(block, names)  # noqa: S102 - it is our own page
    return names


class TestGuide(LogStoreConformance):
    def open_store(self, folder: Path, prefix: str) -> Any:
        return guide(BLOCKS[0])["RowStore"](str(folder / prefix))


def test_the_page_is_short() -> None:
    assert len(GUIDE.read_text("utf-8").splitlines()) < 60


def test_the_catalog_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    guide(*BLOCKS)
    with lakebed.open(catalog="rows:///names.db", cache=tmp_path / "other") as lake:
        assert lake.retrieve("user/42/name") == "Ada"
        assert not lake.verify().problems
