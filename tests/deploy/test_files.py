"""The files of docs/deploy. No container engine runs here, no cluster: schemas judge the files."""

from __future__ import annotations

import configparser
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import promql_parser
import pytest
import yaml

import lakebed
from lakebed.cli.commands.mcp import TOKEN
from lakebed.config.reading.loading import load

PROJECT = Path(__file__).parents[2]
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


def test_the_service_and_the_job_run_a_command_that_exists() -> None:
    """Neither systemd nor Kubernetes runs here: the command that they start is judged."""
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(DEPLOY / "lakebed-maintain.service")
    text = (DEPLOY / "kubernetes" / "maintain.yaml").read_text()
    _, job = yaml.safe_load_all(text)
    (container,) = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    for words in (unit["Service"]["ExecStart"].split(), container["args"]):
        assert words[0].endswith("lakebed")
        options = {word for word in words if word.startswith("--")}
        assert options <= {"--lake", "--every", "--max-seconds", "--yes", "--json"}
        ran = subprocess.run(
            [Path(sys.executable).with_name("lakebed"), "maintain", "--help"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert all(option in ran.stdout for option in options - {"--lake"})
    assert job["spec"]["concurrencyPolicy"] == "Forbid"


def test_the_manifests_are_well_formed() -> None:
    manifests = [
        manifest
        for path in sorted((DEPLOY / "kubernetes").glob("*.yaml"))
        for manifest in yaml.safe_load_all(path.read_text())
    ]
    assert len(manifests) == 7
    version = kubernetes_validate.latest_version()
    for manifest in manifests:
        kubernetes_validate.validate(manifest, version, strict=True)
    wrong = next(manifest for manifest in manifests if manifest["kind"] == "Deployment")
    wrong["spec"]["replicas"] = "twenty"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, version, strict=True)


def test_the_configuration_of_the_pods(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Only the job that migrates may migrate."""
    made, _ = yaml.safe_load_all((DEPLOY / "kubernetes" / "configuration.yaml").read_text())
    (tmp_path / "lakebed.yaml").write_text(made["data"]["lakebed.yaml"])
    job = yaml.safe_load((DEPLOY / "kubernetes" / "migrate.yaml").read_text())
    (container,) = job["spec"]["template"]["spec"]["containers"]
    monkeypatch.setenv("DATABASE_URL", "postgresql://lake_writer@db.example.com/memory")
    for variables, migrates in ([], False), (container["env"], True):
        for variable in variables:
            monkeypatch.setenv(variable["name"], variable["value"])
        settings = load(tmp_path / "lakebed.yaml").settings
        assert settings.catalog.auto_migrate is migrates


def test_no_rule_of_the_bucket_eats_live_objects() -> None:
    """What expires are versions that are not the current ones, markers, and parts of uploads."""
    rules = json.loads((DEPLOY / "aws" / "lifecycle.json").read_text())["Rules"]
    assert rules
    for rule in rules:
        actions = rule.keys() - {"ID", "Status", "Filter"}
        assert actions <= {
            "NoncurrentVersionExpiration", "Expiration", "AbortIncompleteMultipartUpload",
        }  # fmt: skip
        assert rule.get("Expiration", {"ExpiredObjectDeleteMarker": True}) == {
            "ExpiredObjectDeleteMarker": True
        }


def names_in(expression: object) -> set[str]:
    """The metrics that a parsed PromQL expression reads."""
    return set(re.findall(r"\b((?:lakebed|node)_\w+)", str(expression)))


def test_the_alerts_are_about_figures_that_there_are(tmp_path: Path) -> None:
    with lakebed.open(tmp_path / "lake") as lake:
        lake["a"] = 1
    command = [Path(sys.executable).with_name("lakebed"), "--lake", tmp_path / "lake"]
    ran = subprocess.run(
        [*command, "stats", "--prometheus"], capture_output=True, text=True, check=True
    )
    figures = set(re.findall(r"^# TYPE (\w+) gauge$", ran.stdout, re.MULTILINE))
    (group,) = yaml.safe_load((DEPLOY / "monitoring" / "alerts.yaml").read_text())["groups"]
    guide = (DEPLOY / "monitoring.md").read_text("utf-8")
    for rule in group["rules"]:
        read = names_in(promql_parser.parse(rule["expr"]))
        assert read
        assert read <= figures | {"node_textfile_mtime_seconds"}
        assert f"| `{rule['alert']}` |" in guide


def test_what_a_reader_of_the_bucket_sees(tmp_path: Path) -> None:
    """Keys and metadata are in the segments of the search index, as the checklist warns."""
    with lakebed.open(tmp_path / "lake") as lake:
        text = "text " * 2000
        entries = [
            {"key": f"canary/{n}", "value": f"{n} {text}", "metadata": {"of": "quokka"}}
            for n in range(300)
        ]
        lake.store_batch(entries)
        lake.search("text")
        lake.maintain()
    segments = [path.read_bytes() for path in (tmp_path / "lake" / "objects").rglob("*.segment")]
    assert segments
    assert all(b"canary" in segment and b"quokka" in segment for segment in segments)
    guide = (DEPLOY / "security.md").read_text("utf-8")
    assert "keys, metadata and words of entries" in guide
