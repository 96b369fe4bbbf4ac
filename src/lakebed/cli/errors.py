"""Exit codes, and errors on one line of standard error."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperGroup

from lakebed.cli.printing.output import printable
from lakebed.errors import (
    ConflictError,
    ConnectError,
    LakebedError,
    NotFoundError,
    QueryError,
    StorageError,
    ValidationError,
)

NOT_FOUND = 1
FAILED = 2
INTERRUPTED = 130
BROKEN_PIPE = 141


def report(error: LakebedError, *, as_json: bool, hint: str = "") -> int:
    """Print an error on one line of standard error. Return its exit code."""
    if as_json:
        shown = {"error": str(error), "error_type": error.error_type}
        print(json.dumps(shown, ensure_ascii=False), file=sys.stderr)
    else:
        typer.secho("lakebed: ", fg="red", err=True, nl=False)
        # An error of DuckDB has several lines: one of them points at the mistake.
        lines = str(error).split("\n") if isinstance(error, QueryError) else [str(error)]
        typer.echo("\n".join(map(printable, lines)) + (hint or _next_step(error)), err=True)
    return NOT_FOUND if isinstance(error, NotFoundError) else FAILED


def _next_step(error: LakebedError) -> str:
    """Return a command that helps with an error, or "". The library does not know the commands."""
    text = str(error)
    if isinstance(error, NotFoundError) and text.startswith("no entry"):
        return " (`lakebed ls` lists the keys)"
    if isinstance(error, NotFoundError) and text.startswith("no snapshot"):
        return " (`lakebed snapshot list` lists them)"
    if isinstance(error, ConflictError) and text.startswith("a snapshot named"):
        return " (--replace replaces it)"
    if isinstance(error, ConnectError):
        return " (`lakebed doctor` tries each part of the configuration)"
    return ""


class ReportingGroup(TyperGroup):
    """The group of all commands. It reports errors of Lakebed and of the system on one line."""

    def main(self, args: Sequence[str] | None = None, *rest: Any, **options: Any) -> Any:
        """Run the command that the arguments name, and exit with its code."""
        arguments = list(sys.argv[1:] if args is None else args)
        as_json = "--json" in arguments
        options["standalone_mode"] = False
        try:
            code = super().main(arguments, *rest, **options)
        except LakebedError as error:
            code = report(error, as_json=as_json)
        except OSError as error:
            code = report(_of_the_system(error), as_json=as_json)
        except typer.TyperException as error:
            # A message about choices has several lines.
            message = " ".join(error.format_message().split())
            context = getattr(error, "ctx", None)
            path = context.command_path if context else "lakebed"
            code = report(ValidationError(message), as_json=as_json, hint=f" (see {path} --help)")
        except typer.Abort:
            code = INTERRUPTED
        if code == INTERRUPTED:
            typer.echo("lakebed: interrupted", err=True)
        sys.exit(code or 0)

    def invoke(self, ctx: Any) -> Any:
        """Run a command. End quietly if nobody reads the output any more (`lakebed ls | head`)."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            # The interpreter flushes the buffer at its end, which would fail again.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(BROKEN_PIPE) from None
        return result


def _of_the_system(error: OSError) -> StorageError:
    reason = error.strerror or str(error)
    return StorageError(f"{error.filename}: {reason}" if error.filename else reason)
