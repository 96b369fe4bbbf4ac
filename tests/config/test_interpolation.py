"""References in strings: what they give, and what is wrong with them."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakebed.config import create_secrets_backend
from lakebed.config.reading.loading import read
from lakebed.errors import ConfigurationError
from lakebed.ltm import expand_env_vars
from tests.config.conftest import refused


@pytest.fixture(autouse=True)
def variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"A": "a", "EMPTY": "", "ODD": "%40:/@#${A}{{ env.A }}$${"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NOPE", raising=False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${A}", "a"),
        ("x${A}y${A}z", "xayaz"),
        ("${A:-b}", "a"),
        ("${NOPE:-b c/d}", "b c/d"),
        ("${NOPE:-}", ""),
        ("${EMPTY}", ""),
        ("${EMPTY:-b}", "b"),
        ("{{ env.A }}{{env.A}}", "aa"),
        ("${ODD}", "%40:/@#${A}{{ env.A }}$${"),
        ("$${A}", "${A}"),
        ("$A $ {} } {x} 5$", "$A $ {} } {x} 5$"),
        ("{{ secrets.A }}", "{{ secrets.A }}"),
    ],
)
def test_expand(text: str, expected: str) -> None:
    assert expand_env_vars(text) == expected
    assert expand_env_vars({"k": [text, 1, None]}) == {"k": [expected, 1, None]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("${NOPE}", "the environment variable NOPE is not set"),
        ("{{ env.NOPE }}", "the environment variable NOPE is not set"),
        ("${NOPE", "'${' must be followed by NAME}"),
        ("${}", "'${' must be followed by NAME}"),
        ("${1A}", "'${' must be followed by NAME}"),
        ("${A:b}", "'${' must be followed by NAME}"),
        ("${NOPE:-${A}}", "'${' must be followed by NAME}"),
        ("{{ A }}", "'{{' must be followed by env.NAME"),
        ("{{ vault.A }}", "'{{' must be followed by env.NAME"),
    ],
)
def test_wrong_references(text: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=r"catalog\.hosts\[1\]: ") as caught:
        expand_env_vars({"catalog": {"hosts": ["a", text]}})
    assert message in str(caught.value)
    assert refused({"backend": "sqlite", "path": text}).paths == ["path"]


def test_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_token", "one")
    monkeypatch.setenv("APP_KEY", "two${A}")
    raw = {"backend": "sqlite", "path": "{{ secrets.token }}/{{ secrets.key }}"}
    with_source = raw | {"secrets": {"source": "env", "prefix": "${PREFIX:-APP_}"}}
    section = read(with_source)
    assert section.raw["path"] == "one/two${A}"
    assert section.secrets == {"one", "two${A}"}
    error = refused(raw)
    assert error.paths == ["path"]
    assert "no secret 'token' in source env" in error.text


def test_sources() -> None:
    with pytest.raises(
        ConfigurationError, match=r"unknown secrets source 'envv': did you mean 'env'"
    ):
        create_secrets_backend("envv")
    with pytest.raises(
        ConfigurationError, match=r"secrets source env: region: is an option of source aws"
    ):
        create_secrets_backend("env", region="x")


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_any_value_survives(value: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANY", value)
        assert expand_env_vars("<${ANY}>{{ env.ANY }}") == f"<{value}>{value}"


@given(st.text("ab${}:-_ envsecrts.", max_size=20))
def test_any_text_expands_or_is_refused(text: str) -> None:
    with suppress(ConfigurationError):
        assert isinstance(expand_env_vars(text), str)
