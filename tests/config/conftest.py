"""Configuration files of these tests, in a folder and an environment of their own."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import NamedTuple

import pytest

from lakebed.config.loading import Configuration, load
from lakebed.config.problems import InvalidConfiguration
from lakebed.errors import ConfigurationError
from tests.config.tls_postgres import tls_postgres
from tests.servers import mariadb, postgres_18

__all__ = ["mariadb", "postgres_18", "tls_postgres"]

Write = Callable[..., Path]
CONNECTING = ("DATABASE_URL", "POSTGRES_", "PG", "LAKEBED")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory; no variable of the machine names a database."""
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.startswith(CONNECTING):
            monkeypatch.delenv(name)
    return tmp_path


@pytest.fixture
def write(folder: Path) -> Write:
    """Writes a configuration file, `lakebed.yaml` if no other is named."""

    def write(text: str | bytes, name: str = "lakebed.yaml") -> Path:
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else dedent(text).encode())
        return path

    return write


class Refusal(NamedTuple):
    """The paths of what was wrong, and the text of the error."""

    paths: list[str]
    text: str


def refused(where: object) -> Refusal:
    """What is wrong with a configuration."""
    with pytest.raises(ConfigurationError) as caught:
        load(where)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    problems = caught.value.problems if isinstance(caught.value, InvalidConfiguration) else ()
    return Refusal([problem.path for problem in problems], str(caught.value))


def opened_with(where: object) -> dict[str, object]:
    """The arguments that `lakebed.open` would get."""
    found: Configuration = load(where)  # type: ignore[arg-type]
    return {
        name: value
        for name, value in found.settings.open_options().items()
        if value not in (None, "normal", 60.0)
    }
