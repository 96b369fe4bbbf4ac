"""The files of docs/deploy. No container engine runs here: a schema judges the compose file."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from lakebed.cli.mcp import TOKEN

PROJECT = Path(__file__).parents[1]
DEPLOY = PROJECT / "docs" / "deploy"
SCHEMA = json.loads((PROJECT / "tests" / "data" / "compose-spec.json").read_text())
VARIABLE = re.compile(r"(?<!\$)\$\{(?P<name>\w+)(?P<rest>[^}]*)\}")


def compose() -> Any:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())


def env() -> dict[str, str]:
    lines = (DEPLOY / ".env.example").read_text().splitlines()
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name: value for name, _, value in pairs}


def test_the_compose_file_is_well_formed() -> None:
    validator = jsonschema.Draft201909Validator(SCHEMA)
    validator.validate(compose())
    wrong = compose()
    wrong["services"]["postgres"]["healthcheck"]["test"] = 5
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(wrong)


def test_what_it_promises() -> None:
    services = compose()["services"]
    assert services["postgres"]["image"] == "postgres:15"
    assert "pg_isready" in services["postgres"]["healthcheck"]["test"][1]
    assert {name for name, service in services.items() if "profiles" in service} == {
        "pgadmin", "minio",
    }  # fmt: skip
    for service in services.values():
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        for volume in service["volumes"]:
            assert volume.partition(":")[0] in compose()["volumes"]


def test_every_variable_is_in_the_example() -> None:
    used = VARIABLE.findall((DEPLOY / "compose.yaml").read_text())
    assert {name for name, _ in used} <= env().keys()
    assert env()["STORAGE_BACKEND"] == "postgres"
    assert len(env()[TOKEN]) >= 16


def test_the_mcp_configuration() -> None:
    servers = json.loads((DEPLOY / "mcp-config.json").read_text())["mcpServers"]
    assert {"lakebed", "postgres", "github", "filesystem"} <= servers.keys()
    for server in servers.values():
        assert ("command" in server) != ("url" in server)
    assert servers["lakebed-over-http"]["headers"]["Authorization"] == f"Bearer ${{{TOKEN}}}"
