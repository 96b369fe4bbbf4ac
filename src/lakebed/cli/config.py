"""config check, show, schema; doctor."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from lakebed.cli.errors import FAILED
from lakebed.cli.opening import lake_name
from lakebed.cli.output import Json, print_json, printable
from lakebed.config.opening import CONFIGURATION_FILE, is_configuration_file

config = typer.Typer(help="Check and show a configuration file.", rich_markup_mode=None)

File = Annotated[
    Path | None,
    typer.Argument(
        metavar="[FILE]", help="The file; else what --lake or LAKEBED names, else ./lakebed.yaml."
    ),
]
_MARKS = {"ok": ("ok", "green"), "note": ("--", "yellow"), "wrong": ("!!", "red")}


def _file(ctx: typer.Context, file: Path | None) -> Path:
    if file is not None:
        return file
    named = str(ctx.find_root().params.get("lake"))
    return Path(named if is_configuration_file(named) else CONFIGURATION_FILE)


@config.command()
def check(ctx: typer.Context, file: File = None, as_json: Json = False) -> None:
    """Check a configuration file: every setting that is wrong, with its path and place.

    Nothing is connected; `lakebed doctor` does that.

    Examples:

    \b
    lakebed config check
    lakebed config check agent.yaml
    """
    from lakebed.config.loading import load
    from lakebed.config.problems import InvalidConfiguration

    path = _file(ctx, file)
    try:
        found = load(path).settings
    except InvalidConfiguration as error:
        if as_json:
            problems = [
                {"path": p.path, "message": p.message}
                | ({"line": p.place.line, "column": p.place.column} if p.place else {})
                for p in error.problems
            ]
            print_json({"file": str(path), "ok": False, "problems": problems})
        else:
            for problem in error.problems:
                typer.echo(printable(problem.text(str(path))), err=True)
        raise typer.Exit(FAILED) from None
    backend = found.shown()["backend"]
    if as_json:
        print_json({"file": str(path), "ok": True, "backend": backend})
    else:
        print(f"{printable(str(path))}: ok, backend {backend}")


@config.command()
def show(ctx: typer.Context, file: File = None, as_json: Json = False) -> None:
    """Show the settings in effect, with short forms written out and secrets masked.

    Examples:

    \b
    lakebed config show
    lakebed config show agent.yaml --json
    """
    import yaml

    from lakebed.config.loading import load

    shown = load(_file(ctx, file)).settings.shown()
    if as_json:
        print_json(shown)
    else:
        print(yaml.safe_dump(shown, sort_keys=False, allow_unicode=True), end="")


@config.command()
def schema(as_json: Json = False) -> None:  # noqa: ARG001 - only for its errors
    """Print the JSON Schema of configuration files, for editors.

    Examples:

    \b
    lakebed config schema > lakebed.schema.json
    """
    from lakebed.config.schema import json_schema

    print(json.dumps(json_schema(), indent=2, ensure_ascii=False))


def doctor(ctx: typer.Context, as_json: Json = False) -> None:
    """Explain the configuration in effect, try each connection, and say what is wrong.

    Makes no lake and changes none. Exit code 2 if something is wrong.

    Examples:

    \b
    lakebed doctor
    lakebed --lake lakebed.yaml doctor
    """
    from lakebed.config.doctor import diagnose

    findings = []
    for finding in diagnose(lake_name(ctx)):
        findings.append(finding)
        if not as_json:
            mark, colour = _MARKS[finding.state]
            typer.secho(mark, fg=colour, nl=False)
            print(f" {finding.check:<13} {printable(finding.detail)}", flush=True)
    if as_json:
        print_json([finding._asdict() for finding in findings])
    if any(finding.state == "wrong" for finding in findings):
        raise typer.Exit(FAILED)
