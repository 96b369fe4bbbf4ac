"""Logging in by a cloud's token: what it is signed with and for, and that the pool outlives it.

Postgres knows no tokens. What stands for the cloud's server here is a real one with TLS, whose role
gets each token that is issued as its password, after AWS's was checked as AWS does it.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, quote

import boto3
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import lakebed
from lakebed.config.reading.loading import load
from lakebed.errors import ConfigurationError, ConnectError, LakebedError
from lakebed.lake.lake import Lake
from tests.config.clouds import Clouds
from tests.config.conftest import Write, logs_in, opened_with
from tests.config.test_tls import doctor
from tests.config.tls_postgres import TLSPostgres

HOST = "memory.abc123.eu-west-1.rds.amazonaws.com"
ROLE = "token@user"


def aws_claims(token: str, key: str, secret: str) -> dict[str, str]:
    """What a token of RDS says, once its signature (Signature Version 4) is checked."""
    place, _, query = token.partition("/?")
    claims = dict(parse_qsl(query, keep_blank_values=True, strict_parsing=True))
    signature = claims.pop("X-Amz-Signature")
    scope = claims["X-Amz-Credential"].removeprefix(f"{key}/")
    day, region, service, _ = scope.split("/")
    assert service == "rds-db"
    assert scope.endswith("/aws4_request")
    canonical = "&".join(
        f"{quote(k, safe='')}={quote(v, safe='')}" for k, v in sorted(claims.items())
    )
    nothing = hashlib.sha256(b"").hexdigest()
    request = f"GET\n/\n{canonical}\nhost:{place}\n\nhost\n{nothing}"
    hashed = hashlib.sha256(request.encode()).hexdigest()
    text = f"AWS4-HMAC-SHA256\n{claims['X-Amz-Date']}\n{scope}\n{hashed}"
    derived = f"AWS4{secret}".encode()
    for part in (day, region, service, "aws4_request"):
        derived = hmac.new(derived, part.encode(), hashlib.sha256).digest()
    assert hmac.new(derived, text.encode(), hashlib.sha256).hexdigest() == signature
    return claims | {"place": place, "region": region}


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize(
    ("host", "region", "expected"),
    [
        (HOST, None, "eu-west-1"),
        ("proxy.proxy-abc.us-east-2.rds.amazonaws.com", None, "us-east-2"),
        ("db.example.org", "ap-south-1", "ap-south-1"),
        ("db.example.org", None, "sa-east-1"),
    ],
)
def test_the_token_of_rds(
    host: str, region: str | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "sa-east-1")
    settings = {"backend": "postgres", "provider": "aws", "iam": True, "user": "ada é+/"}
    login = logs_in(settings | {"host": host, "port": 5433, "region": region})
    claims = aws_claims(login["password"], "AKIATESTS", "CANARY-of-aws")
    assert login["user"] == claims["DBUser"] == "ada é+/"
    assert claims["place"] == f"{host}:5433"
    assert claims["region"] == expected
    assert claims["Action"] == "connect"
    assert claims["X-Amz-Expires"] == "900"


@pytest.mark.usefixtures("aws")
def test_the_token_of_rds_by_a_role(monkeypatch: pytest.MonkeyPatch) -> None:
    """STS, here Moto's, gives keys for a while; the token is signed with those."""
    role = "arn:aws:iam::123456789012:role/memory"
    sts = boto3.session.Session(region_name="eu-west-1").client("sts")
    keys = sts.assume_role(RoleArn=role, RoleSessionName="tests")["Credentials"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", keys["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", keys["SecretAccessKey"])
    monkeypatch.setenv("AWS_SESSION_TOKEN", keys["SessionToken"])
    settings = {"backend": "postgres", "provider": "aws", "iam": True, "user": "ada", "host": HOST}
    token = logs_in(settings)["password"]
    claims = aws_claims(token, keys["AccessKeyId"], keys["SecretAccessKey"])
    assert claims["X-Amz-Security-Token"] == keys["SessionToken"]


@pytest.mark.usefixtures("aws")
def test_no_token_of_rds(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"backend": "postgres", "provider": "aws", "iam": True, "user": "a", "host": "h"}
    with pytest.raises(ConfigurationError, match=r"catalog\.region is missing"):
        logs_in(settings)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(
        ConnectError, match="cannot get a token for RDS from AWS: Unable to locate"
    ) as seen:
        logs_in(settings | {"region": "eu-west-1"})
    assert seen.value.error_type == "auth_failed"


def test_the_token_of_cloud_sql(clouds: Clouds) -> None:
    settings = {"backend": "postgres", "provider": "gcp", "iam": True, "host": "10.0.0.3"}
    settings["user"] = "memory@lakebed-test.iam.gserviceaccount.com"
    login = opened_with(settings)["catalog"]["login"]  # type: ignore[index]
    assert login()["user"] == "memory@lakebed-test.iam"
    assert login()["password"] == clouds.issued["google"][0]
    assert clouds.scopes == ["https://www.googleapis.com/auth/sqlservice.login"]
    assert len(clouds.issued["google"]) == 1  # good for an hour
    assert 3500 < login.expires_at - time.time() <= 3600
    clouds.lifetime = 100
    other = opened_with(settings)["catalog"]["login"]  # type: ignore[index]
    assert other()["password"] != other()["password"]  # it would end in a moment
    assert len(clouds.issued["google"]) == 3


def test_the_token_of_azure(clouds: Clouds, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"backend": "postgres", "provider": "azure", "iam": True, "user": "memory-app"}
    login = opened_with(settings | {"host": "m.postgres.database.azure.com"})["catalog"]["login"]  # type: ignore[index]
    assert login() == {"user": "memory-app", "password": clouds.issued["azure"][0]}
    assert "https://ossrdbms-aad.database.windows.net/.default" in clouds.scopes[0]
    login()
    assert len(clouds.issued["azure"]) == 1
    assert 3500 < login.expires_at - time.time() <= 3600
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 3400)
    assert login()["password"] == clouds.issued["azure"][1]


@pytest.mark.parametrize(
    ("provider", "words"),
    [
        ("gcp", "cannot get a token for Cloud SQL from Google"),
        ("azure", "cannot get a token for Postgres from Azure"),
    ],
)
def test_a_cloud_that_refuses(clouds: Clouds, provider: str, words: str) -> None:
    clouds.forbidden = True
    settings = {"backend": "postgres", "provider": provider, "iam": True, "user": "u", "host": "h"}
    with pytest.raises(ConnectError, match=words) as caught:
        lakebed.open(settings | {"timeout": 2})
    assert caught.value.error_type == "auth_failed"
    assert "CANARY" not in str(caught.value)


class Role:
    """A role of a real server, and what its password is."""

    def __init__(self, tls: TLSPostgres) -> None:
        tls.show(tls.right)
        self.server = tls.server
        self.settings = tls.options(
            user=ROLE,
            password=None,
            sslmode="verify-full",
            sslrootcert=str(tls.trusted.certificate),
        )
        # One connection: another that the pool was making could log in with what was right before.
        self.settings |= {"max_size": 1}
        self.server.execute(
            f"""DO $$ BEGIN CREATE ROLE "{ROLE}" LOGIN SUPERUSER;
            EXCEPTION WHEN duplicate_object THEN NULL; END $$"""
        )

    def takes(self, password: str) -> None:
        quoted = password.replace("'", "''")
        self.server.execute(f"ALTER ROLE \"{ROLE}\" PASSWORD '{quoted}'")

    def cut(self) -> None:
        """End all its sessions, so that the pool has to connect anew."""
        self.server.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE usename = 'token@user'"
        )


@pytest.fixture
def role(tls_postgres: TLSPostgres) -> Role:
    return Role(tls_postgres)


def outlives(lake: Lake, role: Role, renew: Callable[[], object]) -> None:
    """The lake goes on when a token has ended and its connections with it."""
    for number in range(3):
        lake["k"] = number
        renew()
        role.cut()
        assert lake["k"] == number


def failure(lake: Lake, role: Role) -> LakebedError:
    """The error of a call that has to connect anew. A connection that the pool was making already,
    with what was right before, may still serve one."""
    for _ in range(10):
        role.cut()
        try:
            assert lake["k"] == 2
        except LakebedError as error:
            return error
    raise AssertionError("calls go on")


def test_the_pool_outlives_tokens_of_google(role: Role, clouds: Clouds) -> None:
    clouds.on_token = role.takes
    clouds.lifetime = 100  # so short that each new connection renews it
    with lakebed.open(role.settings | {"provider": "gcp", "iam": True}) as lake:
        before = len(clouds.issued["google"])
        outlives(lake, role, lambda: role.takes("no token any more"))
    assert len(clouds.issued["google"]) >= before + 3


def test_the_pool_outlives_tokens_of_azure(
    role: Role, clouds: Clouds, monkeypatch: pytest.MonkeyPatch
) -> None:
    clouds.on_token = role.takes
    now, hours = time.time, [0]
    monkeypatch.setattr(time, "time", lambda: now() + 3500 * hours[0])

    def renew() -> None:
        role.takes("no token any more")
        hours[0] += 1

    with lakebed.open(role.settings | {"provider": "azure", "iam": True}) as lake:
        outlives(lake, role, renew)
    assert len(clouds.issued["azure"]) >= 4


@pytest.mark.usefixtures("aws")
def test_the_pool_outlives_tokens_of_aws(role: Role) -> None:
    tokens = []
    catalog: Any = opened_with(
        role.settings | {"provider": "aws", "iam": True, "region": "eu-west-1"}
    )["catalog"]

    def as_rds(login: dict[str, str]) -> dict[str, str]:
        claims = aws_claims(login["password"], "AKIATESTS", "CANARY-of-aws")
        assert claims["DBUser"] == ROLE
        tokens.append(login["password"])
        role.takes(login["password"])
        return login

    asked = catalog["login"]
    with lakebed.open(catalog=catalog | {"login": lambda: as_rds(asked())}) as lake:
        outlives(lake, role, lambda: role.takes("no token any more"))
    assert len(tokens) >= 4


def test_a_changed_password_is_picked_up(role: Role, monkeypatch: pytest.MonkeyPatch) -> None:
    def change(password: str) -> None:
        monkeypatch.setenv("PGX_PASSWORD", password)
        role.takes(password)

    change("first '\\ é")
    credentials = {"source": "env", "prefix": "PGX_"}
    with lakebed.open(role.settings | {"credentials": credentials, "timeout": 2}) as lake:
        numbers = iter(range(10))
        outlives(lake, role, lambda: change(f"next {next(numbers)} %40:/@#"))
        role.takes("which nobody knows")
        assert failure(lake, role).error_type == "auth_failed"
        change("known again")
        assert lake["k"] == 2
        monkeypatch.delenv("PGX_PASSWORD")
        found = failure(lake, role)
        assert isinstance(found, ConfigurationError)
        assert "no secret 'password' in source env" in str(found)


def test_a_changed_password_in_secrets_manager(role: Role, aws: Any) -> None:
    name = f"rotating-{time.time_ns()}"
    aws.create_secret(Name=name, SecretString="first")
    role.takes("first")
    credentials = {"source": "aws", "region": "eu-west-1", "secret_name": name}
    with lakebed.open(role.settings | {"credentials": credentials}) as lake:
        numbers = iter(range(10))

        def rotate() -> None:
            password = f"next {next(numbers)}"
            aws.put_secret_value(SecretId=name, SecretString=password)
            role.takes(password)

        outlives(lake, role, rotate)


@pytest.mark.parametrize("provider", ["gcp", "azure"])
def test_the_doctor_tells_how_long(role: Role, clouds: Clouds, write: Write, provider: str) -> None:
    clouds.on_token = role.takes
    path = write(yaml.safe_dump(role.settings | {"provider": provider, "iam": True}))
    found = doctor(path)
    kind = {"gcp": "IAM token", "azure": "Entra ID token"}[provider]
    state, detail = found["login"]
    assert state == "ok"
    assert detail.startswith(f"{ROLE} by {kind}, valid for another 3")
    assert "CANARY" not in str(found)


PASSWORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)


@given(PASSWORDS)
def test_any_password_reaches_the_driver(password: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PGX_USER", password)
        patch.setenv("PGX_PASSWORD", password)
        credentials = {"source": "env", "prefix": "PGX_"}
        settings = {"backend": "postgres", "host": "h", "credentials": credentials}
        assert logs_in(settings) == {"user": password, "password": password}


def test_what_no_connection_carries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGX_USER", "u")
    monkeypatch.setenv("PGX_PASSWORD", "\udcff")  # a byte that is not UTF-8
    settings = {"backend": "postgres", "host": "h"}
    with pytest.raises(ConfigurationError, match="the password of the catalog contains NUL, or"):
        logs_in(settings | {"credentials": {"source": "env", "prefix": "PGX_"}})
    for name in ("user", "password", "host", "database"):
        with pytest.raises(ConfigurationError, match=f"{name}: the {name} of the catalog contains"):
            load(settings | {name: "a\0b"})
