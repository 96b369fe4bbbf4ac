"""`lakebed run`, and what the commands on configurations know of documents of the engine."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml
from typer.testing import CliRunner

from lakebed.cli.app import app
from lakebed.engine.schema import engine_schema
from tests.engine.conftest import Write

DOCUMENT = """
settings:
  ltm: {backend: sqlite, path: memory.db}
  backends:
    blob: {type: local, root: files}
steps:
  - uses: ltm.store
    with: {key: "user/{{ input.name }}", value: "{{ input.n }}"}
    as: stored
  - uses: blob.upload
    with: {path: a.txt, content: hi}
    if: input.n > 1
  - uses: blob.download
    with: {path: a.txt}
    as: file
"""


def lakebed(*arguments: str | Path) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return done.exit_code, done.stdout, done.stderr


def test_run(write: Write, folder: Path) -> None:
    path = write(DOCUMENT)
    code, out, _ = lakebed("run", path, "--dry-run")
    assert (code, out) == (
        0,
        '0: ltm.store as stored\n1: blob.upload if "input.n > 1"\n2: blob.download as file\n',
    )
    assert [each.name for each in folder.iterdir()] == ["agent.yaml"]
    code, out, _ = lakebed("run", path, "--input", '{"name": "Ada", "n": 2}')
    assert code == 0
    result = json.loads(out)
    assert result["stored"]["key"] == "user/Ada"
    assert result["file"]["content"] == "hi"
    code, out, _ = lakebed("--lake", path, "get", "user/Ada")
    assert out.strip() == "2"
    code, out, _ = lakebed("run", path, "--input", '{"name": "", "n": []}')
    assert code == 2
    assert not json.loads(out)["success"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--input", "{"], "--input is not JSON"),
        (["--input", "[1]"], "--input must be a JSON object"),
    ],
)
def test_wrong_input(arguments: list[str], message: str, write: Write) -> None:
    code, _, told = lakebed("run", write(DOCUMENT), *arguments)
    assert code == 2
    assert message in told


def test_config_check(write: Write) -> None:
    path = write(DOCUMENT)
    assert lakebed("config", "check", path)[1] == (
        f"{path}: ok, ltm sqlite, metadata auto, blob local, steps 3\n"
    )
    assert json.loads(lakebed("config", "check", path, "--json")[1]) == {
        "file": str(path), "ok": True, "ltm": "sqlite", "metadata": "auto", "blob": "local",
        "steps": 3,
    }  # fmt: skip
    path = write(DOCUMENT.replace("content: hi", "contnt: hi"))
    code, _, told = lakebed("config", "check", path)
    assert code == 2
    assert told == (
        f"{path}:11:25: steps[1].with.contnt: unknown argument: did you mean 'content'?\n"
    )
    flat = write("ltm_backend: sqlite\nltm_path: a.db\n", "flat.yaml")
    assert lakebed("config", "check", flat)[1].startswith(f"{flat}: ok, ltm sqlite, metadata auto")


SCHEMA = jsonschema.Draft202012Validator(engine_schema())
RIGHT = [
    DOCUMENT,
    "ltm_backend: turso\nltm_url: libsql://h\nltm_auth_token: ${T}\n",
    "settings: {ltm_backend: sqlite, postgres_pool_size: 5, postgres_async: true}",
    "settings: {backends: {metadata: {type: postgres, url: a, async: true, pool_size: 3}}}",
    "settings: {backends: {blob: {type: s3, bucket: b, encryption: SSE-S3}}, agents: []}",
    "steps: [{uses: greet}]",
    "backend: sqlite",
    "settings: {ltm: {backend: sqlite}, sessions: {backend: json}}",
]
WRONG = [
    "steps: []",
    "steps: [{use: greet}]",
    "steps: [{uses: greet, on_error: panic}]",
    "settings: {backends: {metdata: {}}}",
    "settings: {backends: {blob: {type: local, rot: a}}}",
    "settings: {backends: {blob: {}}}",
    "settings: {ltm: {backend: sqlite, pth: a}, backends: {}}",
    "ltm_backend: 5",
]


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA.schema)
    assert json.loads(lakebed("config", "schema")[1]) == SCHEMA.schema


@pytest.mark.parametrize("text", RIGHT)
def test_the_schema_takes_what_is_right(text: str) -> None:
    SCHEMA.validate(yaml.safe_load(text))


@pytest.mark.parametrize("text", WRONG)
def test_the_schema_refuses_what_is_wrong(text: str) -> None:
    assert not SCHEMA.is_valid(yaml.safe_load(text))
