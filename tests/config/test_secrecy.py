"""No secret shows: canaries in every secret field, searched in all that can be printed."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import lakebed
from lakebed.cli.app import app
from lakebed.config.masking import mask_address
from lakebed.config.reading.loading import load
from lakebed.errors import LakebedError
from lakebed.ltm import create_ltm_backend, parse_backend_config, parse_catalog_config
from tests.config.clouds import Clouds
from tests.config.conftest import Write

CANARY = "hunter2%40:/@#CANARY"
QUOTED = "hunter2%2540%3A%2F%40%23CANARY"
SPLIT = "CANARY"

# Each holds secrets wherever a configuration of its kind may.
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "postgres by URL": {
        "backend": "postgres",
        "connection_string": f"postgresql://ada:{QUOTED}@127.0.0.1:1/d?sslpassword={SPLIT}",
    },
    "postgres by URL with raw signs": {
        "backend": "postgres",
        "url": f"postgresql://ada:{CANARY}@127.0.0.1:1/d",
    },
    "postgres by libpq's words": {
        "backend": "postgres",
        "connection_string": f"host=127.0.0.1 port=1 password='{CANARY} \\' {SPLIT}'",
    },
    "postgres by libpq's words, malformed": {
        "backend": "postgres",
        "connection_string": f"host=127.0.0.1 port=1 password='{SPLIT}",
    },
    "postgres by nothing that is an address": {"backend": "postgres", "url": CANARY},
    "postgres by options": {
        "backend": "postgres",
        "host": "127.0.0.1",
        "port": 1,
        "user": "ada",
        "password": CANARY,
    },
    "postgres with credentials": {
        "backend": "postgres",
        "host": "127.0.0.1",
        "port": 1,
        "credentials": {"source": "env", "prefix": "PLANTED_"},
    },
    "a catalog by URL": {
        "catalog": f"postgresql://ada:{QUOTED}@127.0.0.1:1/d",
        "storage": "contents",
    },
    "sqlalchemy": {
        "backend": "sqlalchemy",
        "url": f"mysql+pymysql://u:{QUOTED}@127.0.0.1:1/d",
        "timeout": 1,
    },
    "storage": {
        "storage": {
            "uri": f"s3://key:{QUOTED}@bucket/prefix?sig={SPLIT}",
            "key": CANARY,
            "secret": CANARY,
            "token": CANARY,
            "endpoint_url": f"http://u:{QUOTED}@127.0.0.1:1",
            "client_kwargs": {"aws_secret_access_key": CANARY, "list": [CANARY]},
        },
    },
    "a provider's token beside a password": {
        "backend": "postgres",
        "provider": "aws",
        "host": "127.0.0.1",
        "iam": True,
        "user": "ada",
        "password": CANARY,
    },
    "a provider's token beside a password in a URL": {
        "backend": "postgres",
        "provider": "gcp",
        "url": f"postgresql://ada:{QUOTED}@127.0.0.1:1/d",
        "iam": True,
    },
    "a provider by URL": {
        "backend": "postgres",
        "provider": "azure",
        "url": f"postgresql://ada:{QUOTED}@127.0.0.1:1/d",
    },
    "credentials with a key that is none": {
        "backend": "postgres",
        "host": "127.0.0.1",
        "credentials": {"source": "aws", "secret": CANARY, "secret_name": [CANARY]},
    },
    "credentials of a source that is none": {
        "backend": "postgres",
        "host": "127.0.0.1",
        "credentials": {"source": CANARY},
    },
    "secrets of a wrong type": {
        "inline_threshold": CANARY,
        "history": CANARY,
        "lazy": CANARY,
        "durability": "{{ secrets.password }}",
        "lock_timeout": "${PLANTED_PASSWORD}",
    },
    "a secret for a word": {"backend": CANARY},
    "a secret for a catalog": {"catalog": CANARY},
    "a secret for a catalog's type": {"catalog": {"type": CANARY}},
    "a secret for a storage": {"storage": {"uri": 5, "secret": CANARY}},
    "a secret for a source": {"secrets": {"source": CANARY}},
}


@pytest.fixture(autouse=True)
def planted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANTED_USER", "ada")
    monkeypatch.setenv("PLANTED_PASSWORD", CANARY)
    monkeypatch.setenv("PASSWORD", CANARY)


def printed(act: Callable[[], object]) -> str:
    """All that something shows: what it prints, its result, its error with all that hangs on it."""
    out = io.StringIO()
    with redirect_stdout(out), redirect_stderr(out):
        try:
            result = act()
        except LakebedError as error:
            traceback.print_exception(error, file=out)
            print(repr(error), error.args, error.__dict__, file=out)
        else:
            print(repr(result), str(result), file=out)
    return out.getvalue()


def acts(path: Path, settings: dict[str, Any]) -> Iterator[tuple[str, Callable[[], object]]]:
    yield "load", lambda: load(path)
    yield "settings", lambda: load(path).settings
    yield "shown", lambda: load(path).settings.shown()
    yield "options", lambda: parse_backend_config(str(path))
    yield "open a file", lambda: lakebed.open(path)
    yield "open a mapping", lambda: lakebed.open(settings)
    kind = str(settings.get("backend", "duckdb"))
    options = {key: value for key, value in settings.items() if key != "backend"}
    lazily = options | {"lazy": True}
    yield "backend", lambda: create_ltm_backend(kind, **options)
    yield "lazy backend", lambda: create_ltm_backend(kind, **lazily)
    yield "its store", lambda: create_ltm_backend(kind, **lazily).store("k", "x" * 10_000)
    if "catalog" in settings:
        yield "catalog", lambda: parse_catalog_config(settings["catalog"])
    for arguments in (
        ["config", "check", str(path)],
        ["config", "check", str(path), "--json"],
        ["config", "show", str(path)],
        ["config", "show", str(path), "--json"],
        ["--lake", str(path), "doctor"],
        ["--lake", str(path), "doctor", "--json"],
        ["--lake", str(path), "ls"],
        ["--lake", str(path), "stats", "--json"],
        ["--lake", str(path), "init"],
    ):
        yield " ".join(arguments), lambda arguments=arguments: run(arguments)


def run(arguments: list[str]) -> str:
    from typer.testing import CliRunner

    result = CliRunner().invoke(app, arguments, prog_name="lakebed", catch_exceptions=False)
    return result.output


def leaks(text: str) -> list[str]:
    return [line for line in text.splitlines() if "CANARY" in line or "hunter2" in line]


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_no_canary_shows(
    write: Write, name: str, caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    caplog.set_level(logging.DEBUG, "lakebed")
    settings = CONFIGURATIONS[name]
    path = write(yaml.safe_dump({"settings": {"ltm": settings}}))
    for what, act in acts(path, settings):
        assert not leaks(printed(act)), what
    assert not leaks(caplog.text)
    assert not leaks(" ".join(str(warning.message) for warning in recwarn))


# What a cloud gives: a secret, or a token for Postgres.
CLOUDY: dict[str, dict[str, Any]] = {
    "gcp secret": {"credentials": {"source": "gcp", "secret_prefix": "db-"}},
    "gcp secret as JSON": {"credentials": {"source": "gcp", "secret_name": "all"}},
    "gcp secret that lacks a part": {
        "credentials": {"source": "gcp", "secret_name": "all", "username_key": "nope"}
    },
    "azure secret": {
        "credentials": {
            "source": "azure",
            "vault_url": "https://memory.vault.azure.net",
            "secret_prefix": "db-",
        }
    },
    "a reference": {
        "user": "ada",
        "password": "{{ secrets.db-password }}",
        "secrets": {"source": "gcp"},
    },
    "gcp token": {"provider": "gcp", "iam": True, "user": "ada"},
    "azure token": {"provider": "azure", "iam": True, "user": "ada"},
    "aws token": {"provider": "aws", "iam": True, "user": "ada", "region": "eu-west-1"},
}
REFUSED = ("gcp secret", "a reference", "azure token")


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize(
    ("name", "works"),
    [*((name, True) for name in CLOUDY), *((name, False) for name in REFUSED)],
)
def test_no_canary_of_a_cloud_shows(
    write: Write, name: str, works: bool, clouds: Clouds, caplog: pytest.LogCaptureFixture
) -> None:
    """Secrets, tokens, and what the clients themselves log in with; also when they are refused."""
    caplog.set_level(logging.INFO)
    clouds.google["db-username"] = b"ada"
    clouds.google["db-password"] = CANARY.encode()
    clouds.google["all"] = json.dumps({"username": "ada", "password": CANARY}).encode()
    clouds.azure.update({"db-username": "ada", "db-password": CANARY})
    clouds.forbidden = not works
    settings = {"backend": "postgres", "host": "127.0.0.1", "port": 1, **CLOUDY[name]}
    path = write(yaml.safe_dump({"settings": {"ltm": settings}}))
    signed = "X-Amz-Signature"
    for what, act in acts(path, settings):
        shown = printed(act)
        assert not leaks(shown), what
        assert signed not in shown, what
    assert not leaks(caplog.text)
    assert signed not in caplog.text


def test_secrets_in_settings_that_are_none(write: Write) -> None:
    """A secret stays one wherever a configuration puts it."""
    path = write("backend: sqlite\npath: '{{ secrets.password }}/x'\nhistory: a")
    assert not leaks(printed(lambda: load(path)) + run(["config", "check", str(path)]))
    path = write("backend: sqlite\npath: '{{ secrets.password }}/x'")
    assert not leaks(printed(lambda: load(path)) + printed(lambda: load(path).settings))
    assert not leaks(printed(lambda: parse_backend_config(str(path))))
    for arguments in (["config", "show", str(path)], ["--lake", str(path), "doctor"]):
        shown = run(arguments)
        assert "***/x" in shown
        assert not leaks(shown)


@pytest.mark.parametrize(
    "settings",
    [
        "backend: postgres\nhost: '{{ secrets.password }}'",
        "backend: postgres\nhost: '{{ secrets.password }}'\nlazy: true",
        "backend: postgres\nurl: 'postgresql://{{ secrets.plain }}@127.0.0.1:1/d'",
        "backend: postgres\nhost: 127.0.0.1\nport: 1\nuser: '{{ secrets.plain }}'\nlazy: true",
        "backend: postgres\nhost: 127.0.0.1\nport: 1\ndatabase: '{{ secrets.plain }}'",
        "backend: sqlalchemy\nurl: 'mysql+pymysql://{{ secrets.plain }}@127.0.0.1:1/d'",
        "backend: sqlite\npath: 'file.txt/{{ secrets.plain }}/x'",
        "backend: ducklake\npath: 'file.txt/{{ secrets.plain }}'",
        "storage: '{{ secrets.plain }}://bucket'\ncatalog: ':memory:'",
    ],
)
def test_errors_of_connecting_show_no_secret(
    write: Write, monkeypatch: pytest.MonkeyPatch, settings: str
) -> None:
    monkeypatch.setenv("PLAIN", "xCANARYx")
    write("a file, where a folder is asked for", "file.txt")
    path = write(f"{settings}\ntimeout: 1" if "host" in settings else settings)

    def use() -> None:
        with lakebed.open(path) as lake:
            lake.store("k", 1)

    for arguments in (["doctor"], ["ls"], ["put", "k", "1"], ["stats", "--json"]):
        assert not leaks(run(["--lake", str(path), *arguments])), arguments
    with pytest.raises(LakebedError):
        use()
    assert not leaks(printed(use))


@pytest.mark.parametrize(
    "text",
    [
        f"password: *{SPLIT}",
        f"password: !{SPLIT} x",
        f"password: !!{SPLIT} x",
        f"password: !{SPLIT}!x y",
        f"password: %{SPLIT}",
        f"password: &{SPLIT} &{SPLIT} x",
        f"password: '{SPLIT}",
        f'password: "{SPLIT}\\q"',
        f"password: {{{SPLIT}",
        f"password: {SPLIT}: x",
        f"password: {SPLIT}\x07",
        f"password: {SPLIT}\nx: [",
        f"password: |{SPLIT}",
        f"backend: postgres\npassword: {SPLIT}\npassword: {SPLIT}",
    ],
)
def test_malformed_files_show_none(write: Write, text: str) -> None:
    path = write(text)
    shown = printed(lambda: load(path)) + run(["config", "check", str(path)])
    assert not leaks(shown)
    assert "lakebed.yaml:" in shown


def test_a_traceback_of_the_process_shows_none(write: Write) -> None:
    path = write(yaml.safe_dump(CONFIGURATIONS["postgres by options"]))
    code = f"import lakebed; lakebed.open({str(path)!r})"
    ran = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=False)
    assert ran.returncode == 1
    assert "Traceback" in ran.stderr
    assert not leaks(ran.stdout + ran.stderr)


PASSWORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)


@given(PASSWORDS)
def test_any_password_is_masked(password: str) -> None:
    secret = f"~{password}~"  # so that no part of the rest happens to be it
    for address in (
        f"postgresql://ada:{secret}@host/d",
        f"postgresql://ada:{secret}@host/d?sslmode=require",
    ):
        assert secret not in mask_address(address)
    quoted = secret.replace("\\", "\\\\").replace("'", "\\'")
    assert quoted not in mask_address(f"host=h password='{quoted}' dbname=d")


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        (
            "postgresql://ada:x@h:5/d?sslmode=require&password=y",
            "postgresql://ada:***@h:5/d?sslmode=require&password=***",
        ),
        ("postgresql://ada@h/d", "postgresql://ada@h/d"),
        (
            "host=h port=5 user=ada password=x dbname=d",
            "host=h port=5 user=ada password=*** dbname=d",
        ),
        ("host = 'h' password = 'a b'", "host='h' password=***"),
        ("s3://bucket/prefix", "s3://bucket/prefix"),
        ("https://h/c?sv=1&sig=x", "https://h/c?sv=***&sig=***"),
        ("secret", "***"),
    ],
)
def test_what_stays_readable(address: str, shown: str) -> None:
    assert mask_address(address) == shown
