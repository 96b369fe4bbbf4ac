"""The guides' reference is current, and every YAML example is a configuration that works."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import jsonschema
import pytest
import yaml
from psycopg.conninfo import conninfo_to_dict

import lakebed
from lakebed.config.reading.loading import load
from lakebed.config.schema import json_schema
from tests.config.documented_connections import CONNECTIONS
from tests.config.reference import GUIDE, current
from tests.config.test_secret_sources import put_aws
from tests.config.test_settings import LOCAL
from tests.config.test_wrong_settings import WRONG
from tests.servers import PASSWORD, MariaDBServer, PostgresServer, S3Server

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
    "DB_USER": "memory_app",
    "DB_PASSWORD": "secret",
    "CLOUDSQL_CONNECTION_NAME": "my-project:europe-west3:memory",
    "RDS_HOSTNAME": "memory.abc123.eu-west-1.rds.amazonaws.com",
    "RDS_PORT": "5433",
    "RDS_DB_NAME": "memory",
    "AZURE_POSTGRESQL_HOST": "memory.postgres.database.azure.com",
    "S3_KEY": "key",
    "S3_SECRET": "secret",
}
AWS_LOGIN = {
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_DEFAULT_REGION": "us-east-1",
}
NEEDS = {
    "db.example.org": "a server of that name",
    "provider:": "a server of that cloud",
}
_JSON = '{"username": "memory_app", "password": "of-json"}'
# What the examples' sources of secrets hold.
GOOGLE = {"memory-db": _JSON, "memory-db-username": "memory_app", "memory-db-password": "of-gcp"}
AWS = {
    "memory/db": _JSON,
    "rds!db-memory": _JSON,
    "memory/password": "of-aws",
    "memory/s3-key": "key",
    "memory/s3-secret": "secret",
}
AZURE = {
    "db-username": "memory_app",
    "db-password": "of-azure",
    "memory-app-name": "memory_app",
    "memory-app-key": "of-azure",
}


@pytest.fixture(autouse=True)
def variables(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The examples' variables, and the services of the clouds that one of them asks."""
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    example = getattr(request.node, "callspec", None) and request.node.callspec.params.get(
        "example"
    )
    text = example.text if example else ""
    if re.search(r"(source|provider): aws", text):
        client = request.getfixturevalue("aws")
        for name, value in AWS.items():
            put_aws(client, name, value)
    if re.search(r"(source|provider): (gcp|azure)", text):
        clouds = request.getfixturevalue("clouds")
        clouds.google |= {name: value.encode() for name, value in GOOGLE.items()}
        clouds.azure |= AZURE


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
    s3: S3Server,
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
    if "s3://" in example.text:  # the private server stands for every service
        for name, value in AWS_LOGIN.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("S3_ENDPOINT_URL", s3.endpoint_url)
        monkeypatch.setenv("DATABASE_URL", postgres_18.url(postgres_18.create_database()))
        text = example.text.replace("s3://my-bucket", f"s3://{s3.create_bucket()}")
        endpoint = f"endpoint_url: {s3.endpoint_url}"
        example = example._replace(text=re.sub(r"endpoint_url: \S+", endpoint, text))
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


@pytest.mark.parametrize("example", EXAMPLES, ids=IDS)
def test_every_connection_is_the_one_meant(example: Example, folder: Path) -> None:
    """To which server, how protected, and as whom; a token shows by how it begins."""
    page, _line = example.name.rsplit(":", 1)
    before = [other for other in EXAMPLES if other.name.startswith(f"{page}:")].index(example)
    catalog = load(written(example, folder)).settings.open_options().get("catalog")
    if catalog is None or catalog["type"] != "postgres":
        assert (page, before) not in CONNECTIONS
        return
    found = conninfo_to_dict(catalog["connection_string"])
    if "login" in catalog:
        found |= catalog["login"]() | {"by": catalog["login"].kind}
    if "token" in found.get("by", ""):
        found["password"] = found["password"][:13]
    if str(found.get("sslrootcert", "")).startswith(str(folder)):
        found["sslrootcert"] = Path(found["sslrootcert"]).name
    assert CONNECTIONS.get((page, before)) == found, f"{example.name} in CONNECTIONS"


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
    "expected type sqlite",
    "must be one of sse-s3",
    "unknown catalog",
    "did you mean 'postgres'",
    "three slashes",
    "misplaced",
    "no settings of a lake",
    "is lost when",
    "a local folder has no options",
    "requires history",
    "expected more than 0",
    "cannot be combined",
    "expected min_size",
    "write it beside storage",
    "'setings'",
    "is empty",
    "finite number",
    "settings.lmt",
    # Options of a filesystem, which its package knows:
    "did you mean 'endpoint_url'?",
    "did you mean 'token'?",
    "did you mean 'account_key'?",
    "neither Lakebed nor the filesystem knows it",
)


@pytest.mark.parametrize(
    "settings",
    [settings for settings, _, text in WRONG if not any(words in text for words in BEYOND)],
    ids=str,
)
def test_the_schema_refuses_what_is_wrong(settings: dict[str, Any]) -> None:
    assert not SCHEMA.is_valid(settings)
