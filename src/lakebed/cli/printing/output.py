"""The output of commands: JSON for programs, lines of text for people."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, BinaryIO

import typer
from rich.filesize import decimal

Json = Annotated[bool, typer.Option("--json", help="Print JSON, errors included.")]

_CONTROL = (*range(0x20), *range(0x7F, 0xA0))
_ESCAPED = {code: repr(chr(code))[1:-1] for code in _CONTROL}
_ESCAPED_IN_JSON = {code: f"\\u{code:04x}" for code in range(0x7F, 0xA0)}


class _Waiting(logging.Handler):
    """A log handler that says on standard error what a command waits for."""

    def emit(self, record: logging.LogRecord) -> None:
        typer.echo(f"lakebed: {printable(record.getMessage())}", err=True)


def show_waiting() -> None:
    """Report on standard error every wait that takes longer than 3 seconds."""
    log = logging.getLogger("lakebed.waiting")
    if not any(isinstance(handler, _Waiting) for handler in log.handlers):
        log.addHandler(_Waiting())
        log.setLevel(logging.INFO)
        log.propagate = False


def printable(text: str) -> str:
    """Return the text on one line. Control characters become escapes, so no terminal obeys them."""
    return text.translate(_ESCAPED)


def to_json(value: object, *, indent: int | None = None) -> str:
    """Return a value or a result as JSON text. Records become objects, times become ISO 8601."""
    return json.dumps(value, ensure_ascii=False, indent=indent, default=_plain)


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, type):  # DeepDiff names types that changed
        return value.__name__
    raise TypeError(f"no JSON for {type(value).__name__}")


def print_json(value: object) -> None:
    """Print a value as JSON: indented and coloured on a terminal, on one line elsewhere."""
    if not sys.stdout.isatty():
        print(to_json(value))
        return
    from rich.console import Console
    from rich.syntax import Syntax

    text = to_json(value, indent=2).translate(_ESCAPED_IN_JSON)
    if len(text) > 100_000:
        print(text)
        return
    Console().print(Syntax(text, "json", theme="ansi_dark", word_wrap=True))


def print_json_array(values: Iterable[object]) -> None:
    """Print a JSON array, one element per line, as the elements arrive."""
    before = "["
    for value in values:
        print(before, to_json(value), sep="\n", end="")
        before = ","
    print("[]" if before == "[" else "\n]")


def print_fields(fields: Mapping[str, object]) -> None:
    """Print names and values, one pair per line."""
    width = max(map(len, fields))
    for name, value in fields.items():
        typer.secho(f"{name:<{width}}  ", nl=False, dim=True)
        print(printable(value if isinstance(value, str) else to_json(value)))


def print_report(report: Mapping[str, object], estimated: Container[str] = ()) -> None:
    """Print the numbers of a report. The numbers named in `estimated` are marked "about"."""
    shown = {name: _counted(name, value) for name, value in report.items()}
    print_fields(
        {
            name.replace("_", " "): f"about {text}" if name in estimated else text
            for name, text in shown.items()
        }
    )


def _counted(name: str, value: object) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "-"}[value]
    if isinstance(value, int):
        return decimal(value) if name.endswith(("bytes", "byte_size")) else f"{value:,}"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or "-"
    return str(value)


def entries_in_words(count: int) -> str:
    """Return a number of entries in words, such as `1 entry`."""
    return f"{count:,} {'entry' if count == 1 else 'entries'}"


def moment(when: datetime) -> str:
    """Return a time in UTC, to the second."""
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}"


@contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """Open a file that appears under its name only if the block ends without an error."""
    # Only replace a regular file, not a device, a pipe, or a link such as /dev/stdout.
    if path.is_symlink() or (path.exists() and not path.is_file()):
        with path.open("wb") as file:
            yield file
        return
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            yield file
        part.replace(path)
    except OSError as error:
        if error.filename == str(part):  # the error must name the file that the user named
            error.filename = str(path)
        raise
    finally:
        part.unlink(missing_ok=True)
