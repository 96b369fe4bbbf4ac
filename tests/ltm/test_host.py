"""The memory of a host that has a registry of backends of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import lakebed
from lakebed.errors import ConfigurationError
from lakebed.ltm import LakebedMemory

BACKENDS: dict[str, type[Any]] = {}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def register_backend(name: str, kind: type[Any]) -> None:
    """The host's."""
    BACKENDS[name] = kind


CONFIGURATIONS: list[tuple[Any, dict[str, Any]]] = [
    ({"backend": "sqlite", "path": "memory.db"}, {}),
    ({"settings": {"ltm": {"backend": "duckdb", "storage": "memory"}}}, {}),
    (None, {"backend": "sqlite", "path": "memory.db"}),
    (None, {"path": "memory"}),
    (None, {}),
    ("agent.yaml", {}),
    ("agent.yaml", {"path": "other.db"}),
]


@pytest.mark.parametrize(("config", "options"), CONFIGURATIONS, ids=str)
def test_a_host_registers_it_in_one_line(config: Any, options: dict[str, Any]) -> None:
    Path("agent.yaml").write_text("settings: {ltm: {backend: sqlite, path: memory.db}}")
    register_backend("lakebed", LakebedMemory)
    memory = BACKENDS["lakebed"](config, **options)
    assert [each.name for each in Path().iterdir()] == ["agent.yaml"]  # it connects when used
    assert memory.store("user/42", "Ada likes tea", {"kind": "fact"})["success"]
    assert memory.retrieve("user/42")["value"] == "Ada likes tea"
    assert memory.search("tea")["results"][0]["key"] == "user/42"
    assert memory.delete("user/42")["deleted"]
    assert memory.store("", 1)["error_type"] == "validation_error"
    memory.close()
    assert memory.retrieve("user/42")["error_type"] == "catalog_error"


def test_a_host_s_mistakes(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match="pth: unknown key: did you mean 'path'"):
        LakebedMemory({"backend": "sqlite", "pth": "a"})
    (folder / "lakebed.yaml").write_text("backend: sqlite\npath: there.db\n")
    with LakebedMemory() as memory:
        memory.store("k", 1)
    with lakebed.open(catalog="sqlite:///there.db") as lake:
        assert lake["k"] == 1
