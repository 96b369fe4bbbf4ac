"""Every command and option stands in the guide, and every command explains itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from lakebed.cli.app import app
from tests.cli.conftest import Cli

GUIDE = (Path(__file__).parents[2] / "docs" / "guides" / "command-line.md").read_text("utf-8")
COMMON = {"--json", "--help", "-h", "--output", "-o", "--yes", "-y", "-m", "--author", "-l"}


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, inner in getattr(command, "commands", {}).items():
        if hasattr(inner, "commands"):
            yield from commands(inner, (*path, name))
        else:
            yield (*path, name), inner


COMMANDS = dict(commands(get_command(app)))


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_the_guide_has_every_command_and_option(path: tuple[str, ...]) -> None:
    assert re.search(rf"^## .*`{path[0]}`", GUIDE, re.MULTILINE)
    assert " ".join(path) in GUIDE
    options = {name for parameter in COMMANDS[path].params for name in parameter.opts}
    options = {name for name in options if name.startswith("-")} - COMMON
    assert not {name for name in options if name not in GUIDE}


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_explains_itself(cli: Cli, path: tuple[str, ...]) -> None:
    shown = cli(*path, "--help").stdout
    assert f"lakebed {' '.join(path)}" in shown.partition("Examples:")[2]
    assert "--json" in shown
    assert all(len(line) <= 100 for line in shown.splitlines())
    hidden = [p.name for p in COMMANDS[path].params if not getattr(p, "help", None)]
    assert not hidden, "parameters without a help text"


def test_the_list_of_commands_cuts_nothing() -> None:
    shown = CliRunner().invoke(app, ["--help"], terminal_width=80).stdout
    listed = shown.partition("Commands:")[2]
    assert len(listed.splitlines()) > len(app.registered_commands)
    assert "..." not in listed
