"""Providers: the connection that settings come to, and what does not go together, by path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import certifi
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict

from lakebed.config import build_provider_connection_string, resolve_catalog_credentials
from lakebed.config.providers.base import Token
from lakebed.config.reading.loading import load
from lakebed.errors import ConfigurationError
from lakebed.ltm import create_ltm_backend, parse_backend_config, parse_catalog_config
from tests.config.conftest import logs_in, opened_with, refused

LOGIN = {"username": "ada", "password": "p%40:/@#?&'\" \\ =;é🙂"}
CLOUD_SQL = {"project": "example.com:proj", "region": "europe-west3", "instance": "memory"}
VARIABLES = (
    "CLOUDSQL_CONNECTION_NAME",
    "RDS_HOSTNAME",
    "RDS_PORT",
    "RDS_DB_NAME",
    "AZURE_POSTGRESQL_HOST",
)


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def built(provider: str, **config: Any) -> dict[str, Any]:
    """The connection's parameters, without the login."""
    parts = conninfo_to_dict(build_provider_connection_string(provider, LOGIN, **config))
    assert parts.pop("user") == LOGIN["username"]
    assert parts.pop("password") == LOGIN["password"]
    return parts


@pytest.mark.parametrize(
    ("provider", "config", "expected"),
    [
        (
            "gcp",
            CLOUD_SQL | {"database": "d"},
            {
                "host": "/cloudsql/example.com:proj:europe-west3:memory",
                "dbname": "d",
                "sslmode": "require",
            },
        ),
        ("gcp", {"host": "10.0.0.3"}, {"host": "10.0.0.3", "sslmode": "require"}),
        (
            "aws",
            {"host": "h", "port": 5433, "region": "eu-west-1", "database": "a b"},
            {"host": "h", "port": "5433", "dbname": "a b", "sslmode": "require"},
        ),
        (
            "azure",
            {"host": "h", "sslmode": "verify-full", "sslrootcert": "/etc/ca s.pem"},
            {"host": "h", "sslmode": "verify-full", "sslrootcert": "/etc/ca s.pem"},
        ),
        (
            "aws",
            {"host": "h", "sslrootcert": "system"},
            {"host": "h", "sslmode": "verify-full", "sslrootcert": "system"},
        ),
        ("self-hosted", {"host": "h"}, {"host": "h"}),
        ("self-hosted", {"host": "h", "sslmode": "disable"}, {"host": "h", "sslmode": "disable"}),
        (
            "self-hosted",
            {"host": "h", "sslcert": "/c", "sslkey": "/k"},
            {"host": "h", "sslcert": "/c", "sslkey": "/k"},
        ),
    ],
)
def test_connections(provider: str, config: dict[str, Any], expected: dict[str, str]) -> None:
    assert built(provider, **config) == expected


def test_addresses_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "CLOUDSQL_CONNECTION_NAME": "p:r:i",
        "RDS_HOSTNAME": "rds",
        "RDS_PORT": "5433",
        "RDS_DB_NAME": "d",
        "AZURE_POSTGRESQL_HOST": "azure",
        "DATABASE_URL": "postgresql://other",
        "POSTGRES_HOST": "other",
    }.items():
        monkeypatch.setenv(name, value)
    assert built("gcp")["host"] == "/cloudsql/p:r:i"
    aws = {"host": "rds", "port": "5433", "dbname": "d", "sslmode": "require"}
    assert built("aws") == aws
    assert built("aws", database="e") == aws | {"dbname": "e"}
    assert built("aws", host="h") == {"host": "h", "sslmode": "require"}
    assert built("azure")["host"] == "azure"
    monkeypatch.setenv("CLOUDSQL_CONNECTION_NAME", "p:i")
    with pytest.raises(ConfigurationError, match="must have the form project:region:instance"):
        built("gcp")


def test_names_of_users() -> None:
    def user(provider: str, username: str, **config: Any) -> Any:
        credentials = {"username": username, "password": "x"}
        text = build_provider_connection_string(provider, credentials, **config)
        return conninfo_to_dict(text)["user"]

    azure = {"host": "memory.postgres.database.azure.com", "user_at_host": True}
    assert user("azure", "ada", **azure) == "ada@memory"
    assert user("azure", "ada@memory", **azure) == "ada@memory"
    assert user("azure", "ada@contoso.com", **azure) == "ada@contoso.com@memory"
    assert user("azure", "ada@contoso.com", host="h") == "ada@contoso.com"
    assert user("gcp", "m@p.iam.gserviceaccount.com", host="h") == "m@p.iam"


def test_the_older_azure_server_with_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGX_USER", "ada")
    monkeypatch.setenv("PGX_PASSWORD", "x")
    settings = {"backend": "postgres", "provider": "azure", "host": "memory.postgres.azure"}
    settings |= {"user_at_host": True, "credentials": {"source": "env", "prefix": "PGX_"}}
    assert logs_in(settings) == {"user": "ada@memory", "password": "x"}


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)


@given(TEXT, TEXT, TEXT)
def test_any_characters_survive(username: str, password: str, database: str) -> None:
    credentials = {"username": username, "password": password}
    text = build_provider_connection_string("aws", credentials, host="h", database=database)
    assert conninfo_to_dict(text) == {
        "host": "h",
        "dbname": database,
        "user": username,
        "password": password,
        "sslmode": "require",
    }
    settings = {"backend": "postgres", "url": "postgresql://h/d", "provider": "azure"}
    catalog: Any = opened_with(settings | {"user": username, "password": password})["catalog"]
    parts = conninfo_to_dict(catalog["connection_string"])
    assert (parts["user"], parts["password"]) == (username, password)
    assert parts["sslmode"] == "require"


def test_without_a_password() -> None:
    text = build_provider_connection_string("aws", {"username": "ada"}, host="h")
    assert conninfo_to_dict(text) == {"host": "h", "user": "ada", "sslmode": "require"}
    assert build_provider_connection_string(host="h") == "host='h'"


@pytest.mark.parametrize(
    ("provider", "credentials", "config", "message"),
    [
        ("gpc", {}, {"host": "h"}, "provider: 'gpc' is unknown: expected"),
        ("aws", {"user": "ada"}, {"host": "h"}, "credentials.user: unknown key: expected username"),
        ("aws", {"username": ""}, {"host": "h"}, "user: is empty"),
        ("aws", {}, {"host": "h", "hots": "h"}, "hots: unknown key: did you mean 'host'?"),
        ("aws", {}, {"host": "h", "iam": True}, "iam: cannot be used to build a connection string"),
        ("aws", "ada", {"host": "h"}, "credentials: expected a mapping, got text"),
        ("aws", {}, {}, "host: is missing: provider aws needs it, or RDS_HOSTNAME"),
        ("gcp", {}, {"instance": "i", "region": "r"}, "project: is missing"),
        ("gcp", {}, {"instance": "a:b:c"}, "project: is missing"),
        ("azure", {}, {"host": "h", "port": 0}, "port: expected 1 or more"),
    ],
)
def test_what_no_string_is_built_of(
    provider: str, credentials: Any, config: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        build_provider_connection_string(provider, credentials, **config)
    assert str(caught.value).startswith(message)


def test_credentials_from_a_mapping(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTGRES_USER", "ada")
    monkeypatch.setenv("POSTGRES_PASSWORD", LOGIN["password"])
    monkeypatch.setenv("WHICH", "POSTGRES_")
    credentials = {"source": "env", "prefix": "${WHICH}"}
    assert resolve_catalog_credentials({"credentials": credentials}) == LOGIN
    found = resolve_catalog_credentials({"user": "eve", "credentials": credentials})
    assert found == LOGIN | {"username": "eve"}
    assert built("aws", host="h")["host"] == "h"
    for wrong in ({"credentials": {}}, {"credentials": "env"}, {"user": "x"}):
        with pytest.raises(ConfigurationError, match=r"credentials\.source is missing"):
            resolve_catalog_credentials(wrong)
    for nothing in (None, "env", [1]):
        mistaken: Any = nothing
        with pytest.raises(ConfigurationError, match="expected the settings of a catalog"):
            resolve_catalog_credentials(mistaken)


def test_certificates(folder: Path) -> None:
    def root(value: str, **others: Any) -> Any:
        settings = {"backend": "postgres", "host": "h", "sslrootcert": value, **others}
        catalog: Any = opened_with(settings)["catalog"]
        return conninfo_to_dict(catalog["connection_string"])["sslrootcert"]

    assert root("certs/ca.pem") == str(folder / "certs" / "ca.pem")
    assert root("~/ca.pem") == str(Path.home() / "ca.pem")
    assert root("package:certifi/cacert.pem") == certifi.where()
    # What mounts secrets renews a file by changing a link: the link is what must be named.
    (folder / "new.pem").write_text("")
    (folder / "link.pem").symlink_to(folder / "new.pem")
    assert root("link.pem") == str(folder / "link.pem")


AWS = {"provider": "aws", "host": "h"}
IAM = AWS | {"iam": True, "user": "u"}
WRONG: list[tuple[dict[str, Any], str, str]] = [
    (IAM | {"password": "CANARY"}, "password", "cannot be combined with iam, which uses a token"),
    (IAM | {"credentials": {"source": "env"}}, "credentials", "cannot be combined with iam"),
    (IAM | {"user": None}, "user", "is missing: iam needs the name of the database user"),
    (IAM | {"host": "a,b"}, "host", "names several servers: iam needs exactly one"),
    (IAM | {"sslmode": "prefer"}, "sslmode", "expected require, verify-ca or verify-full with iam"),
    ({"host": "h", "iam": True, "user": "u"}, "iam", "provider self-hosted has no IAM"),
    (
        {"provider": "gcp", "iam": True, "url": "postgresql://u:CANARY@h/d"},
        "connection_string",
        "must not hold a password with iam",
    ),
    ({"provider": "aws"}, "host", "provider aws needs it, or RDS_HOSTNAME must be set"),
    ({"provider": "azure"}, "host", "or AZURE_POSTGRESQL_HOST must be set"),
    ({"provider": "gcp"}, "host", "or CLOUDSQL_CONNECTION_NAME must be set"),
    ({"provider": "gcp", "host": "h", "project": "p"}, "project", "requires instance"),
    ({"provider": "gcp", "host": "h", **CLOUD_SQL}, "host", "cannot be combined with instance"),
    (
        {"provider": "gcp", **CLOUD_SQL, "instance": "p:r:i"},
        "instance",
        "expected only the instance's name",
    ),
    (
        {"provider": "gcp", **CLOUD_SQL, "region": "../x"},
        "region",
        "expected only the region's name",
    ),
    ({"provider": "gcp", "url": "postgresql://h", **CLOUD_SQL}, "instance", "connection_string"),
    ({"provider": "gcp", **CLOUD_SQL, "sslmode": "verify-full"}, "sslmode", "a socket has no TLS"),
    (AWS | {"instance": "i"}, "instance", "is an option of provider gcp, not of this one"),
    (AWS | {"user_at_host": True}, "user_at_host", "is an option of provider azure"),
    ({"host": "h", "region": "r"}, "region", "is an option of provider gcp"),
    ({"provider": "azure", "host": "h", "sslmode": "disable"}, "sslmode", "enforces TLS"),
    ({"provider": "azure", "url": "postgresql://h?sslmode=prefer"}, "sslmode", "enforces TLS"),
    ({"provider": "gpc", "host": "h"}, "provider", "'gpc' is unknown: expected 'self-hosted'"),
    ({"host": "h", "sslmode": "on"}, "sslmode", "'on' is unknown: expected 'disable'"),
    ({"host": "h", "sslmode": False}, "sslmode", "is unknown: expected 'disable'"),
    ({"host": "h", "sslcert": "c.pem"}, "sslkey", "is missing: sslcert requires it"),
    ({"host": "h", "sslkey": "k.pem"}, "sslcert", "is missing: sslkey requires it"),
    ({"host": "h", "sslcert": "system", "sslkey": "k"}, "sslcert", "expected a PEM file"),
    (AWS | {"sslrootcert": "system", "sslmode": "require"}, "sslmode", "expected verify-full with"),
    (AWS | {"sslrootcert": "package:certifi"}, "sslrootcert", "expected package:NAME/PATH"),
    (AWS | {"sslrootcert": "package:certifi/x.pem"}, "sslrootcert", "has no file x.pem"),
    (AWS | {"sslrootcert": "package:nope_x/x"}, "sslrootcert", "pip install nope_x"),
    (
        AWS | {"password": "x", "credentials": {"source": "env"}},
        "password",
        "cannot be combined with credentials",
    ),
]


@pytest.mark.parametrize(("settings", "path", "message"), WRONG, ids=lambda part: str(part)[:40])
def test_what_does_not_go_together(settings: dict[str, Any], path: str, message: str) -> None:
    found = refused({"settings": {"ltm": {"backend": "postgres", **settings}}})
    assert found.paths == [f"settings.ltm.{path}"]
    assert message in found.text
    assert "CANARY" not in found.text
    catalog = {"type": "postgres", **settings}
    found = refused({"settings": {"ltm": {"catalog": catalog, "storage": "s"}}})
    assert found.paths == [f"settings.ltm.catalog.{path}"]


def test_settings_survive_their_way_through_the_interface() -> None:
    settings = {"host": "h", "provider": "gcp", "password": "CANARY"}
    kind, options = parse_catalog_config({"type": "postgres", **settings})
    assert kind == "postgres"
    assert {"type": kind, **options} == opened_with({"backend": "postgres", **settings})["catalog"]
    parts = conninfo_to_dict(options["connection_string"])
    assert parts == {"host": "h", "password": "CANARY", "sslmode": "require"}
    assert "CANARY" not in repr(options)
    kind, options = parse_backend_config({"backend": "postgres", "lazy": True, **settings})
    memory = create_ltm_backend(kind, **options)
    assert "CANARY" not in repr(options) + repr(memory)


@pytest.mark.parametrize(
    "settings",
    [
        {"provider": "gcp", **CLOUD_SQL, "iam": True, "user": "u"},
        {"provider": "gcp", "host": "h", "credentials": {"source": "gcp", "secret_name": "s"}},
        {"provider": "azure", "host": "h.x", "user": "u", "user_at_host": True},
        {"provider": "aws", "url": "host=h", "sslrootcert": "package:certifi/cacert.pem"},
        {"host": "h", "sslcert": "c.pem", "sslkey": "k.pem"},
    ],
    ids=str,
)
def test_what_is_shown_means_the_same(settings: dict[str, Any]) -> None:
    whole = {"backend": "postgres", **settings}
    shown = load(whole).settings.shown()
    assert repr(opened_with(shown)) == repr(opened_with(whole))
    kind, options = parse_backend_config(whole)
    assert repr(opened_with({"backend": kind, **options})) == repr(opened_with(whole))


def test_tokens_and_logins_print_without_their_secrets() -> None:
    assert "CANARY" not in repr(Token("CANARY", 1.0))
    settings = load({"backend": "postgres", **IAM}).settings
    assert "login by IAM token" in repr(settings.open_options())
