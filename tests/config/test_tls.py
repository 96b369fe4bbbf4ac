"""TLS to a real server: what each `sslmode` lets pass, and what the doctor says of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

import lakebed
from lakebed.cli.app import app
from lakebed.errors import ConfigurationError, ConnectError
from tests.certificates import Certified
from tests.config.conftest import Write
from tests.config.tls_postgres import TLSPostgres

MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")


def outcome(settings: dict[str, Any]) -> str:
    """`works`, or why not."""
    try:
        with lakebed.open(settings) as lake:
            lake["k"] = 1
            assert lake["k"] == 1
    except (ConnectError, ConfigurationError) as error:
        return str(error)
    return "works"


def certificate(tls: TLSPostgres, name: str) -> Certified:
    found: Certified = getattr(tls, name)
    return found


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shown", ["right", "wrong_name", "expired"])
def test_every_mode(tls_postgres: TLSPostgres, mode: str, shown: str) -> None:
    tls_postgres.show(certificate(tls_postgres, shown))
    # A root beside require would make it verify-ca; the others do not look at it.
    root = {} if mode == "require" else {"sslrootcert": str(tls_postgres.trusted.certificate)}
    found = outcome(tls_postgres.options(sslmode=mode, **root))
    fails = {
        ("disable", "right"): "no encryption",
        ("disable", "wrong_name"): "no encryption",
        ("disable", "expired"): "no encryption",
        ("verify-ca", "expired"): "its certificate has expired, or",
        ("verify-full", "expired"): "its certificate has expired, or",
        ("verify-full", "wrong_name"): 'for "db.example.org"',
    }
    # As soon as a root is named these check as well; `allow` tries without TLS first.
    if shown == "expired":
        fails["allow", shown] = "no encryption"
        fails["prefer", shown] = "its certificate has expired, or"
    wanted = fails.get((mode, shown), "works")
    assert wanted in found


def test_an_unknown_authority(tls_postgres: TLSPostgres) -> None:
    tls_postgres.show(tls_postgres.right)
    stranger = {"sslrootcert": str(tls_postgres.stranger.certificate)}
    for mode in ("verify-ca", "verify-full"):
        found = outcome(tls_postgres.options(sslmode=mode, **stranger))
        assert "its certificate has expired, or is from" in found
    missing = {"sslrootcert": str(tls_postgres.trusted.certificate) + ".none"}
    found = outcome(tls_postgres.options(sslmode="verify-full", **missing))
    assert "does not exist" in found
    system = outcome(tls_postgres.options(sslrootcert="system"))
    assert "its certificate has expired, or is from" in system


def test_roots_in_a_package(
    tls_postgres: TLSPostgres, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls_postgres.show(tls_postgres.right)
    (folder / "our_roots").mkdir()
    (folder / "our_roots" / "__init__.py").write_text("")
    root = tls_postgres.trusted.certificate.read_text()
    (folder / "our_roots" / "bundle.pem").write_text(root)
    monkeypatch.syspath_prepend(str(folder))
    packaged = {"sslmode": "verify-full", "sslrootcert": "package:our_roots/bundle.pem"}
    assert outcome(tls_postgres.options(**packaged)) == "works"
    public = packaged | {"sslrootcert": "package:certifi/cacert.pem"}
    assert "its certificate has expired, or is from" in outcome(tls_postgres.options(**public))


def test_a_client_certificate(tls_postgres: TLSPostgres) -> None:
    tls_postgres.show(tls_postgres.right)
    login = {"user": "certified", "password": None}
    files = tls_postgres.client
    own = {"sslcert": str(files.certificate), "sslkey": str(files.key)}
    assert outcome(tls_postgres.options(**login, **own)) == "works"
    assert "certificate" in outcome(tls_postgres.options(**login))
    strange = tls_postgres.stranger.issue("strange", "certified")
    own = {"sslcert": str(strange.certificate), "sslkey": str(strange.key)}
    found = outcome(tls_postgres.options(**login, **own))
    assert found != "works"


@pytest.mark.parametrize("provider", ["gcp", "aws", "azure"])
def test_a_cloud_means_tls(
    tls_postgres: TLSPostgres, provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls_postgres.show(tls_postgres.right)
    # As if libpq were set up for no TLS: the provider's own default wins.
    monkeypatch.setenv("PGSSLMODE", "disable")
    assert "no encryption" in outcome(tls_postgres.options())
    assert outcome(tls_postgres.options(provider=provider)) == "works"


def doctor(path: Path, code: int = 0) -> dict[str, tuple[str, str]]:
    arguments = ["--lake", str(path), "doctor", "--json"]
    ran = CliRunner().invoke(app, arguments, prog_name="lakebed", catch_exceptions=False)
    assert ran.exit_code == code, ran.output
    return {item["check"]: (item["state"], item["detail"]) for item in json.loads(ran.stdout)}


def test_the_doctor_tells(tls_postgres: TLSPostgres, write: Write) -> None:
    tls_postgres.show(tls_postgres.right)
    root = str(tls_postgres.trusted.certificate)

    def told(**others: Any) -> dict[str, tuple[str, str]]:
        return doctor(write(yaml.safe_dump(tls_postgres.options(**others))))

    found = told(provider="aws", sslmode="verify-full", sslrootcert=root)
    assert found["server"][1].startswith("provider aws, PostgreSQL 15.")
    assert found["server"][1].endswith(" ms")
    assert found["tls"] == ("ok", "TLSv1.3, certificate and name checked (sslmode verify-full)")
    assert found["login"] == ("ok", "postgres by password")
    assert found["catalog"][0] == "ok"
    found = told(provider="gcp")
    assert found["tls"][0] == "note"
    assert "TLSv1.3, certificate not checked" in found["tls"][1]
    found = told(sslmode="require", sslrootcert=root)
    assert "but not its name" in found["tls"][1]
    files = tls_postgres.client
    own = {"sslcert": str(files.certificate), "sslkey": str(files.key)}
    found = told(user="certified", password=None, **own)
    assert found["login"] == ("ok", "certified by client certificate")
    tls_postgres.show(tls_postgres.wrong_name)
    wrong = tls_postgres.options(sslmode="verify-full", sslrootcert=root)
    found = doctor(write(yaml.safe_dump(wrong)), code=2)
    assert found["catalog"][0] == "wrong"
    assert "db.example.org" in found["catalog"][1]
