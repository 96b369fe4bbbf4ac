"""Configuration files of these tests, in a folder and an environment of their own."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any, NamedTuple

import pytest

import lakebed
from lakebed.config.problems import InvalidConfiguration
from lakebed.config.reading.loading import Configuration, load
from lakebed.errors import ConfigurationError
from tests.config.clouds import clouds, google_key
from tests.config.tls_postgres import tls_postgres
from tests.servers import S3Server

__all__ = ["clouds", "google_key", "tls_postgres"]

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


@pytest.fixture
def aws(s3: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """A client of Moto's Secrets Manager, and an environment in which all clients find Moto."""
    import boto3

    for name in [*os.environ]:
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    for name, value in {
        "AWS_ACCESS_KEY_ID": "AKIATESTS",
        "AWS_SECRET_ACCESS_KEY": "CANARY-of-aws",
        "AWS_ENDPOINT_URL": s3.endpoint_url,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
    }.items():
        monkeypatch.setenv(name, value)
    return boto3.session.Session(region_name="eu-west-1").client("secretsmanager")


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
        if value not in (None, "normal", 60.0, "light")
    }


def logs_in(settings: dict[str, Any]) -> dict[str, str]:
    """What a new connection would log in with."""
    catalog: Any = opened_with(settings)["catalog"]
    login: dict[str, str] = catalog["login"]()
    return login


def works(lake: lakebed.Lake) -> None:
    with lake:
        lake.store("k", {"a": "x" * 10_000})
        assert lake["k"] == {"a": "x" * 10_000}
