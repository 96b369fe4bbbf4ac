"""config check, show, schema; doctor."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lakebed.cli.errors import FAILED
from lakebed.cli.opening import lake_name
from lakebed.cli.printing.output import Json, print_json, printable
from lakebed.config.opening import CONFIGURATION_FILE, is_configuration_file

if TYPE_CHECKING:
    from lakebed.config.extras import MissingExtra

config = typer.Typer(help="Check and show a configuration file.", rich_markup_mode=None)

File = Annotated[
    Path | None,
    typer.Argument(
        metavar="[FILE]",
        help="The file. Default: the file that --lake or LAKEBED names, else ./lakebed.yaml.",
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
    """Check a configuration file, and its steps if it has any.

    Prints every invalid setting with its path and its place, and every package that is missing.
    Connects to nothing. To try the connections, use `lakebed doctor`.

    Examples:

    \b
    lakebed config check
    lakebed config check agent.yaml
    """
    from lakebed.config.problems import InvalidConfiguration

    path = _file(ctx, file)
    try:
        found, missing = _found(path)
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
    if missing:
        if as_json:
            print_json({"file": str(path), "ok": False, "problems": [m._asdict() for m in missing]})
        else:
            for extra in missing:
                typer.echo(printable(f"{path}: {extra.path} {extra.message}"), err=True)
        raise typer.Exit(FAILED)
    if as_json:
        print_json({"file": str(path), "ok": True, **found})
    else:
        parts = ", ".join(f"{name} {value}" for name, value in found.items())
        print(f"{printable(str(path))}: ok, {parts}")


def _found(path: Path) -> tuple[dict[str, object], list[MissingExtra]]:
    """Return what a valid file configures, and the missing packages that it needs.

    A file configures a lake, or the parts and steps of an engine.
    """
    from lakebed.config.extras import missing_extras
    from lakebed.config.reading.document import read_document
    from lakebed.config.reading.loading import load, validate
    from lakebed.config.settings.backends import BACKENDS
    from lakebed.engine.document import is_engine_document, plan_of
    from lakebed.ltm.registry import backend_in

    document = read_document(path)
    if not is_engine_document(document):
        settings = load(path).settings
        return {"backend": settings.shown()["backend"]}, list(missing_extras(settings))
    plan = plan_of(document)
    backend = "auto" if plan.ltm is None else backend_in(plan.ltm)[0]
    found: dict[str, object] = {
        "ltm": backend,
        "metadata": "auto" if plan.metadata is None else plan.metadata.kind,
        "blob": "auto" if plan.blob is None else plan.blob.kind,
        "steps": len(plan.steps),
    }
    if plan.ltm is None or backend not in BACKENDS:
        return found, []
    return found, list(missing_extras(validate(plan.ltm).settings))


@config.command()
def show(ctx: typer.Context, file: File = None, as_json: Json = False) -> None:
    """Show the settings in effect, with short forms written out and secrets masked.

    Examples:

    \b
    lakebed config show
    lakebed config show agent.yaml --json
    """
    import yaml

    from lakebed.config.reading.loading import load

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
    from lakebed.engine.schema import engine_schema

    print(json.dumps(engine_schema(), indent=2, ensure_ascii=False))


def doctor(ctx: typer.Context, as_json: Json = False) -> None:
    """Show the configuration in effect, try each connection, and report what is wrong.

    Neither creates nor changes a lake. The exit code is 2 if something is wrong.

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
