"""The guides' reference is current, and every YAML example is a configuration that works."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import jsonschema
import pytest
import yaml

import lakebed
from lakebed.config.loading import load
from lakebed.config.schema import json_schema
from tests.config.reference import GUIDE, current
from tests.config.test_settings import LOCAL, WRONG
from tests.servers import PASSWORD, MariaDBServer, PostgresServer

PROJECT = Path(__file__).parents[2]
PAGES = [PROJECT / "README.md", *sorted((PROJECT / "docs").rglob("*.md"))]
_BLOCK = re.compile(r"^```yaml\n(.*?)^```", re.MULTILINE | re.DOTALL)


class Example(NamedTuple):
    """A YAML block of the documentation."""

    name: str
    text: str


EXAMPLES = [
    Example(f"{page.relative_to(PROJECT)}:{text.count(chr(10), 0, found.start()) + 2}", found[1])
    for page in PAGES
    for text in [page.read_text("utf-8")]
    for found in _BLOCK.finditer(text)
]
IDS = [example.name for example in EXAMPLES]
# Where the examples' variables come from.
VARIABLES = {
    "DATABASE_URL": "postgresql://agent:secret@db.example.org/memory",
    "POSTGRES_USER": "agent",
    "POSTGRES_PASSWORD": "secret",
    "AGENT_DB_PASSWORD": "secret",
    "DB_PASSWORD": "secret",
    "S3_KEY": "key",
    "S3_SECRET": "secret",
}
NEEDS = {
    "s3://": "a bucket",
    "db.example.org": "a server of that name",
}


@pytest.fixture(autouse=True)
def variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)


def written(example: Example, folder: Path) -> Path:
    path = folder / "lakebed.yaml"
    path.write_text(example.text, "utf-8")
    return path


def test_the_reference_is_current() -> None:
    text = GUIDE.read_text("utf-8")
    assert current(text) == text, "write it anew: python -m tests.config.reference"


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 7


@pytest.mark.parametrize("example", EXAMPLES, ids=IDS)
def test_every_example_is_valid(example: Example, folder: Path) -> None:
    arguments = load(written(example, folder)).settings.open_options()
    assert "where" in arguments or "catalog" in arguments


@pytest.mark.parametrize("example", EXAMPLES, ids=IDS)
def test_every_example_that_can_runs(
    example: Example,
    folder: Path,
    postgres_18: PostgresServer,
    mariadb: MariaDBServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DB_HOST", "127.0.0.1")
    monkeypatch.setenv("DB_PORT", str(postgres_18.port))
    if "mysql+pymysql://agent" in example.text:
        mariadb.create_user("agent", "ALL ON *.*")
        mariadb.url("memory")
        monkeypatch.setenv("DB_PASSWORD", PASSWORD)
        here = f"127.0.0.1:{mariadb.port}"
        example = example._replace(text=example.text.replace("db.example.org", here))
    for missing, reason in NEEDS.items():
        if missing in example.text:
            pytest.skip(f"needs {reason}")
    if "agent" in example.text and "backend: postgres" in example.text:
        postgres_18.execute(
            "DO $$ BEGIN CREATE ROLE agent LOGIN SUPERUSER; EXCEPTION WHEN duplicate_object THEN "
            "NULL; END $$"
        )
        postgres_18.execute(f"ALTER ROLE agent PASSWORD '{PASSWORD}'")
        monkeypatch.setenv("AGENT_DB_PASSWORD", PASSWORD)
        name = postgres_18.create_database()
        example = example._replace(text=f"{example.text}\ndatabase: {name}\n")
    with lakebed.open(written(example, folder)) as lake:
        lake.store("k", "x" * 10_000)
        assert lake["k"] == "x" * 10_000


SCHEMA = jsonschema.Draft202012Validator(json_schema())


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA.schema)


@pytest.mark.parametrize("example", EXAMPLES, ids=IDS)
def test_the_schema_takes_every_example(example: Example) -> None:
    SCHEMA.validate(yaml.safe_load(example.text))


@pytest.mark.parametrize("settings", [settings for settings, _ in LOCAL], ids=str)
def test_the_schema_takes_what_is_right(settings: dict[str, Any]) -> None:
    SCHEMA.validate(settings)
    SCHEMA.validate({"agents": [1], "settings": {"ltm": settings, "more": True}})


# What only we can know: what the environment has, what is in a text, what goes together.
BEYOND = (
    "unknown catalog",
    "did you mean 'postgres'",
    "three slashes",
    "misplaced",
    "no settings of a lake",
    "is gone when",
    "a local folder takes no options",
    "without history",
    "expected more than 0",
    "given beside",
    "write it beside storage",
    "'setings'",
    "is empty",
    "finite number",
    "settings.lmt",
)


@pytest.mark.parametrize(
    "settings",
    [settings for settings, _, text in WRONG if not any(words in text for words in BEYOND)],
    ids=str,
)
def test_the_schema_refuses_what_is_wrong(settings: dict[str, Any]) -> None:
    assert not SCHEMA.is_valid(settings)
