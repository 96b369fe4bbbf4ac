"""Documents of the engine, in a folder and an environment of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from lakebed.engine import YAMLEngine
from lakebed.errors import ConfigurationError
from tests.config.conftest import CONNECTING

NAMING = (
    *CONNECTING, "TURSO_", "LIBSQL_", "CLOUDFLARE_", "MONGO", "REDIS_", "DYNAMODB_", "FIRESTORE_",
    "GOOGLE_CLOUD_", "S3_", "AWS_", "GCS_", "AZURE_",
)  # fmt: skip
Write = Callable[..., Path]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory; no variable of the machine names a service."""
    import os

    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.startswith(NAMING):
            monkeypatch.delenv(name)
    return tmp_path


@pytest.fixture
def write(folder: Path) -> Write:
    """Writes a document, `agent.yaml` if no other is named."""

    def write(text: str, name: str = "agent.yaml") -> Path:
        path = folder / name
        path.write_text(dedent(text), "utf-8")
        return path

    return write


def refused(document: object, **words: Any) -> str:
    """What is wrong with a document."""
    with pytest.raises(ConfigurationError) as caught:
        YAMLEngine(document, **words)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    return str(caught.value)


def run(steps: list[dict[str, Any]], given: dict[str, Any] | None = None, **root: Any) -> Any:
    """Run steps over a memory of their own."""
    with YAMLEngine(
        {"settings": {"ltm": {"backend": "sqlite", "path": ":memory:"}}, "steps": steps, **root}
    ) as engine:
        return engine.run(given)
