"""Sources of secrets: real clients, against Moto for AWS and our own endpoint for the others."""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Callable
from typing import Any

import pytest

from lakebed.config import create_secrets_backend, resolve_catalog_credentials
from lakebed.config.reading.loading import load, read
from lakebed.errors import ConfigurationError, ConnectError, DependencyMissingError
from tests.config.clouds import Clouds
from tests.config.conftest import refused

# What a URL, a shell, libpq's words and JSON each have a meaning for.
ODD = "p%40:/@#?&'\" \\ =;{{ env.HOME }}${HOME}é雪\n\t🙂CANARY"

Put = Callable[[str, str], None]


class Source:
    """A source, how to open it, and how a test puts a secret into it."""

    def __init__(self, name: str, put: Put, **options: str) -> None:
        self.name = name
        self.put = put
        self.options = options

    def settings(self, **more: str) -> dict[str, Any]:
        return {"source": self.name, **self.options, **more}


@pytest.fixture(params=["gcp", "aws", "azure"])
def source(request: pytest.FixtureRequest) -> Source:
    name: str = request.param
    if name == "aws":
        client = request.getfixturevalue("aws")
        return Source("aws", lambda key, text: put_aws(client, key, text), region="eu-west-1")
    clouds: Clouds = request.getfixturevalue("clouds")
    if name == "gcp":
        return Source("gcp", lambda key, text: clouds.google.update({key: text.encode()}))
    return Source(
        "azure",
        lambda key, text: clouds.azure.update({key: text}),
        vault_url="https://memory.vault.azure.net",
    )


def put_aws(client: Any, name: str, text: str) -> None:
    try:
        client.create_secret(Name=name, SecretString=text)
    except client.exceptions.ResourceExistsException:
        client.put_secret_value(SecretId=name, SecretString=text)


@pytest.fixture
def unique() -> str:
    """What stands before names that tests of other workers shall not meet."""
    return f"t{secrets.token_hex(6)}-"


def test_secrets_of_their_own(source: Source, unique: str) -> None:
    source.put(f"{unique}username", "ada@x")
    source.put(f"{unique}password", ODD)
    settings = source.settings(secret_prefix=unique)
    backend = create_secrets_backend(**settings)
    assert backend.get("password") == ODD
    assert backend.credentials() == {"username": "ada@x", "password": ODD}
    source.put(f"{unique}password", "changed")
    assert backend.credentials("bob") == {"username": "bob", "password": "changed"}
    source.put(f"{unique}pw", "other")
    keys = {"username_key": "password", "password_key": "pw"}
    named = create_secrets_backend(**settings, **keys)
    assert named.credentials() == {"username": "changed", "password": "other"}
    assert resolve_catalog_credentials({"credentials": settings}) == backend.credentials()
    assert resolve_catalog_credentials(settings) == backend.credentials()
    given = {"type": "postgres", "user": "eve", "credentials": settings}
    assert resolve_catalog_credentials(given)["username"] == "eve"


def test_one_secret_as_json(source: Source, unique: str) -> None:
    name = f"{unique}all"
    text = json.dumps({"username": "ada", "password": ODD, "port": 5432, "tls": True, "n": None})
    source.put(name, text)
    backend = create_secrets_backend(**source.settings(secret_name=name))
    assert backend.credentials() == {"username": "ada", "password": ODD}
    assert backend.get("port") == "5432"
    for missing in ("nope", "tls", "n"):
        with pytest.raises(ConfigurationError, match=f"no secret '{missing}' in source") as caught:
            backend.get(missing)
        assert "CANARY" not in str(caught.value)


@pytest.mark.parametrize("text", [ODD, "12345", '"quoted"', '{"no json', "[1]"])
def test_one_secret_as_plain_text(source: Source, unique: str, text: str) -> None:
    name = f"{unique}plain"
    source.put(name, text)
    backend = create_secrets_backend(**source.settings(secret_name=name))
    assert backend.credentials("ada") == {"username": "ada", "password": text}
    with pytest.raises(ConfigurationError, match=r"'username'.* is not a JSON object") as caught:
        backend.credentials()
    assert text not in str(caught.value)


def test_a_missing_secret_names_source_and_key(source: Source, unique: str) -> None:
    backend = create_secrets_backend(**source.settings(secret_prefix=unique))
    with pytest.raises(ConfigurationError) as caught:
        backend.get("password")
    assert f"no secret '{unique}password' in source {source.name}" in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("name", ["a/../b", "a b", "a:b", "é", "x" * 300])
def test_names_never_become_paths(clouds: Clouds, name: str) -> None:
    for backend in (
        create_secrets_backend("gcp"),
        create_secrets_backend("azure", vault_url="https://memory.vault.azure.net"),
    ):
        with pytest.raises(ConfigurationError, match="a name has up to"):
            backend.get(name)
    assert not clouds.asked


def test_references(source: Source, unique: str) -> None:
    source.put(f"{unique}db", ODD)
    source.put(f"{unique}key", "of-the-storage")
    section = read(
        {
            "backend": "duckdb",
            "catalog": {"type": "postgres", "host": "h", "password": "{{ secrets.db }}"},
            "storage": {"uri": "s3://b", "secret": "{{secrets.key}}"},
            "secrets": source.settings(secret_prefix=unique),
        }
    )
    assert section.raw["catalog"] == {"type": "postgres", "host": "h", "password": ODD}
    assert section.raw["storage"] == {"uri": "s3://b", "secret": "of-the-storage"}
    assert section.secrets == {ODD, "of-the-storage"}
    wrong = {"path": "{{ secrets.nope }}", "backend": "sqlite"}
    error = refused({"settings": {"ltm": wrong | {"secrets": source.settings()}}})
    assert error.paths == ["settings.ltm.path"]
    assert f"no secret 'nope' in source {source.name}" in error.text


def test_loading_asks_no_cloud_for_credentials(clouds: Clouds) -> None:
    """Whether a file is right can be told without a connection."""
    credentials = {"source": "azure", "vault_url": "https://memory.vault.azure.net"}
    load({"backend": "postgres", "host": "h", "credentials": credentials})
    assert not clouds.asked


@pytest.mark.parametrize("cloud", ["gcp", "azure"])
def test_a_cloud_that_refuses(clouds: Clouds, cloud: str) -> None:
    options = {"azure": {"vault_url": "https://memory.vault.azure.net"}}.get(cloud, {})
    clouds.google.update(password=b"CANARY")
    clouds.azure.update({"password": "CANARY"})
    clouds.forbidden = True
    with pytest.raises(
        ConnectError, match=f"source {cloud} .* refuses access to the secret"
    ) as caught:
        create_secrets_backend(cloud, **options).get("password")
    assert caught.value.error_type == "auth_failed"
    assert "CANARY" not in str(caught.value)


@pytest.mark.usefixtures("aws")
def test_aws_that_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(
        ConnectError, match=r"source aws .* refuses access to the secret 'x': Unable"
    ):
        create_secrets_backend("aws", region="eu-west-1").get("x")
    with pytest.raises(ConfigurationError, match="region is missing"):
        create_secrets_backend("aws").get("x")


@pytest.mark.usefixtures("aws")
def test_aws_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(ConnectError, match=r"cannot read the secret 'x' from source aws"):
        create_secrets_backend("aws", region="eu-west-1").get("x")


def test_bytes_are_no_text(aws: Any, clouds: Clouds, unique: str) -> None:
    aws.create_secret(Name=f"{unique}b", SecretBinary=b"\xff")
    with pytest.raises(ConfigurationError, match="it holds bytes"):
        create_secrets_backend("aws", region="eu-west-1").get(f"{unique}b")
    clouds.google["b"] = b"\xff"
    with pytest.raises(ConfigurationError, match="not valid UTF-8"):
        create_secrets_backend("gcp", project_id="lakebed-test").get("b")


@pytest.mark.parametrize(
    ("source_name", "module"),
    [("gcp", "google.auth"), ("aws", "boto3"), ("azure", "azure.identity")],
)
def test_a_client_that_is_not_installed(
    source_name: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"azure": {"vault_url": "https://v.vault.azure.net"}}.get(source_name, {})
    monkeypatch.setitem(sys.modules, module, None)
    backend = create_secrets_backend(source_name, **options)
    wanted = rf"pip install 'lakebed\[{source_name}-secrets\]'"
    with pytest.raises(DependencyMissingError, match=wanted):
        backend.get("x")


WRONG = [
    ({"source": "gcq"}, "credentials.source", "did you mean 'gcp'?"),
    ({"source": ["env"]}, "credentials.source", "is a list"),
    ({"source": "env", "region": "x"}, "credentials.region", "is an option of source aws"),
    ({"source": "azure"}, "credentials.vault_url", "is missing"),
    ({"source": "azure", "vault_url": "http://v"}, "credentials.vault_url", "expected https://"),
    ({"source": "aws", "regin": "x"}, "credentials.regin", "did you mean 'region'?"),
    (
        {"source": "gcp", "secret_name": "a", "secret_prefix": "b"},
        "credentials.secret_prefix",
        "cannot be combined with secret_name",
    ),
    ({"source": "gcp", "secret_name": 5}, "credentials.secret_name", "expected text"),
    ("env", "credentials", "expected a mapping, got text"),
]


@pytest.mark.parametrize(("credentials", "path", "message"), WRONG)
def test_what_is_wrong(credentials: Any, path: str, message: str) -> None:
    for settings, at in (
        ({"backend": "postgres", "host": "h"}, "settings.ltm"),
        ({"catalog": {"type": "postgres", "host": "h"}}, "settings.ltm.catalog"),
    ):
        place = settings.get("catalog", settings)
        assert isinstance(place, dict)
        place["credentials"] = credentials
        found = refused({"settings": {"ltm": settings}})
        assert found.paths == [f"{at}.{path}"]
        assert message in found.text
    if isinstance(credentials, dict):
        with pytest.raises(ConfigurationError, match="secrets source "):
            create_secrets_backend(**credentials)


class Vault:
    """A source as another package might offer it."""

    def __init__(self, path: str, token: str = "") -> None:
        self.path = path
        self.token = token

    def get(self, name: str) -> str:
        if name == "gone":
            raise ConfigurationError(f"no secret {name!r} in source testvault")
        return f"{self.path}/{self.token}/{name}"


def test_a_source_of_another_package(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib import metadata

    point = metadata.EntryPoint("testvault", f"{__name__}:Vault", "lakebed.secrets")
    installed = metadata.entry_points
    monkeypatch.setattr(
        metadata,
        "entry_points",
        lambda **by: (
            metadata.EntryPoints([point] if by.get("name") in (None, "testvault") else [])
            if by.get("group") == "lakebed.secrets"
            else installed(**by)
        ),
    )
    monkeypatch.setitem(sys.modules, __name__, sys.modules[Vault.__module__])
    settings = {"source": "testvault", "path": "kv", "token": "CANARY"}
    backend = create_secrets_backend(**settings)
    assert backend.credentials("ada") == {"username": "ada", "password": "kv/CANARY/password"}
    assert "CANARY" not in repr(backend)
    raw = {"backend": "sqlite", "path": "{{ secrets.x }}", "secrets": settings}
    assert read(raw).raw["path"] == "kv/CANARY/x"
    assert refused(raw | {"path": "{{ secrets.gone }}"}).paths == ["path"]


def test_aws_by_a_role(aws: Any, unique: str, tmp_path: Any) -> None:
    """A profile's role: the clients ask STS for it, here Moto's."""
    config = tmp_path / "aws-config"
    config.write_text(
        "[profile base]\naws_access_key_id = AKIABASE\naws_secret_access_key = of-tests\n"
        "[profile memory]\nrole_arn = arn:aws:iam::123456789012:role/memory\n"
        "source_profile = base\nregion = eu-west-1\n"
    )
    put_aws(aws, f"{unique}password", ODD)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("AWS_ACCESS_KEY_ID")
        patch.delenv("AWS_SECRET_ACCESS_KEY")
        patch.setenv("AWS_CONFIG_FILE", str(config))
        patch.setenv("AWS_PROFILE", "memory")
        assert create_secrets_backend("aws").get(f"{unique}password") == ODD
