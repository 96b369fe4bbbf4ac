"""The rule for missing servers, without which a run could pass for want of one."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

import pytest

Missing = Callable[[str, str], NoReturn]


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
