"""The rule for missing servers, without which a run could pass for want of one."""

from __future__ import annotations

import ast
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import NoReturn

import pytest

Missing = Callable[[str, str], NoReturn]
TESTS = Path(__file__).parent


def test_a_missing_server_skips(require_server: Missing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAKEBED_REQUIRE_SERVERS", raising=False)
    with pytest.raises(pytest.skip.Exception, match="Nonesuch is not available: never written"):
        require_server("Nonesuch", "never written")


def test_a_missing_server_fails_where_servers_are_required(
    require_server: Missing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAKEBED_REQUIRE_SERVERS", "1")
    with pytest.raises(pytest.fail.Exception, match="Nonesuch is not available: never written"):
        require_server("Nonesuch", "never written")


def test_a_server_is_started_once(request: pytest.FixtureRequest) -> None:
    """A fixture that a module imports is another one for pytest, which starts its server again."""
    fixture = type(pytest.fixture(lambda: None))
    (conftest,) = (
        module
        for module in request.config.pluginmanager.get_plugins()
        if getattr(module, "__file__", None) == str(TESTS / "conftest.py")
    )
    shared = conftest.pytest_plugins
    assert isinstance(vars(import_module("tests.servers"))["postgres_18"], fixture)
    again = [
        f"{path.relative_to(TESTS)}: {name.name}"
        for path in TESTS.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module in shared
        for name in node.names
        if isinstance(getattr(import_module(node.module), name.name), fixture)
    ]
    assert not again
