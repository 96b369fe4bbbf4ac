"""run: run the steps of a YAML file."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer

from lakebed.cli.errors import FAILED
from lakebed.cli.printing.output import Json, print_json, printable
from lakebed.cli.reading.asking import DryRun
from lakebed.errors import ValidationError


def run(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A YAML file with steps.")],
    given: Annotated[
        str | None,
        typer.Option("--input", metavar="JSON", help="A JSON object. Templates see it as `input`."),
    ] = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Run the steps of a YAML file with the settings in it, and print their results.

    Bytes that are not UTF-8 are printed in base64. The exit code is 2 if a step fails.

    Examples:

    \b
    lakebed run agent.yaml --input '{"name": "Ada"}'
    lakebed run agent.yaml --dry-run
    """
    from lakebed.engine import YAMLEngine

    with YAMLEngine.from_file(file) as engine:
        result = _printed(engine.run(_input(given), dry_run=dry_run))
    if as_json or not dry_run:
        print_json(result)
    else:
        for number, step in enumerate(result["steps"]):
            conditions = "".join(
                f" {name} {json.dumps(step[name], ensure_ascii=False)}"
                for name in ("for_each", "if")
                if name in step
            )
            name = f" as {step['as']}" if "as" in step else ""
            print(printable(f"{number}: {step['uses']}{conditions}{name}"))
    if not result["success"]:
        raise typer.Exit(FAILED)


def _input(text: str | None) -> Mapping[str, Any]:
    if text is None:
        return {}
    try:
        found = json.loads(text)
    except ValueError as error:
        raise ValidationError(f"--input is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise ValidationError("--input must be a JSON object")
    return found


def _printed(value: Any) -> Any:
    """Return a result as data that JSON can represent."""
    if isinstance(value, Mapping):
        return {key: _printed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_printed(item) for item in value]
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return base64.b64encode(value).decode()
    return value
