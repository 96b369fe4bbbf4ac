"""The command line, called as the shell would, in an empty folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from lakebed.cli.app import app

Cli = Callable[..., Result]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the commands run: `./lakebed` is the lake."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LAKEBED", raising=False)
    return tmp_path


@pytest.fixture
def cli() -> Cli:
    """Calls `lakebed` with arguments; `code` is the exit code that it must have.

    What the user did wrong must be told in one line on standard error, and never as a traceback.
    """

    def run(*arguments: str, input: str | bytes | None = None, code: int = 0) -> Result:  # noqa: A002
        result = CliRunner().invoke(
            app, list(arguments), input=input, prog_name="lakebed", catch_exceptions=False
        )
        assert result.exit_code == code, (arguments, result.stdout, result.stderr)
        return result

    return run


@pytest.fixture
def data(cli: Cli) -> Callable[..., Any]:
    """Calls a command with --json and gives what it printed."""

    def run(*arguments: str, input: str | bytes | None = None, code: int = 0) -> Any:  # noqa: A002
        return json.loads(cli(*arguments, "--json", input=input, code=code).stdout)

    return run
