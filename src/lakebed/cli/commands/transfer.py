"""import and export: read many entries from a file, or write them to one."""

from __future__ import annotations

import base64
import binascii
import io
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer

from lakebed.cli.arguments import RowsFile, RowsFormat
from lakebed.cli.errors import FAILED
from lakebed.cli.opening import open_lake
from lakebed.cli.printing.output import Json, entries_in_words, print_json, printable, writing
from lakebed.cli.printing.progress import progress_bar, reading_bar
from lakebed.cli.reading.rows import Format, Row, format_of, read_rows
from lakebed.cli.reading.values import STDIN, timestamp
from lakebed.clock import from_micros
from lakebed.errors import CorruptionError, ValidationError
from lakebed.lake.entries.batch_report import BatchReport
from lakebed.model import EntryRow
from lakebed.values.codec import decode_value, encode_value
from lakebed.values.json import MAX_DEPTH, encode
from lakebed.values.tables import is_table

_VALUES = ("value", "value_base64", "parquet_base64")
_FIELDS = {"key", *_VALUES, "metadata", "ttl", "expires_at"}
_ERRORS_KEPT = 1000
_ERRORS_SHOWN = 20


class _Refused:
    """The rows that could not be stored: how many there are, and why the first ones failed."""

    def __init__(self) -> None:
        self.count = 0
        self.first: list[dict[str, str]] = []

    def add(self, place: str, error: object) -> None:
        self.count += 1
        if len(self.first) < _ERRORS_KEPT:
            self.first.append({"place": place, "error": str(error)})


def import_(
    ctx: typer.Context,
    file: RowsFile,
    format: RowsFormat = None,
    key: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN", help="Store whole rows as values, under the keys in this column."
        ),
    ] = None,
    prefix: Annotated[str, typer.Option(help="Put this before every key.")] = "",
    as_json: Json = False,
) -> None:
    """Store many entries from NDJSON, JSON, CSV or Parquet.

    NDJSON and JSON files hold entries, as `lakebed export` writes them: objects with key, value,
    and optionally metadata, ttl (seconds) and expires_at. With --key, rows of any kind are
    accepted: each row is stored as a JSON object, and the named column holds its key.

    If rows cannot be stored, they are reported with their place, the others are stored, and the
    exit code is 2.

    Examples:

    \b
    lakebed import memories.ndjson
    lakebed import airports.csv --key faa --prefix airport/
    zcat dump.ndjson.gz | lakebed import -
    """
    kind = format or ("ndjson" if str(file) == STDIN else format_of(file))
    if key is None and kind in ("csv", "parquet") and (str(file) == STDIN or file.exists()):
        raise typer.BadParameter(
            f"a {kind} file needs --key with the name of its key column", param_hint="--key"
        )
    refused = _Refused()
    with ExitStack() as stack:
        source = _open(file, kind, stack)
        lake = stack.enter_context(open_lake(ctx, create=True))
        entries = _entries(read_rows(source, kind, key), key, prefix, refused)
        report = lake.store_batch(entries, atomic=False)
    for name, error in report.errors.items():
        refused.add(f"key {name}", error)
    _tell(report, refused, as_json)


def _open(file: Path, kind: Format, stack: ExitStack) -> BinaryIO:
    """Open the file for reading. A file with a name gets a progress bar."""
    if str(file) != STDIN:
        handle, total = stack.enter_context(file.open("rb")), file.stat().st_size
        return stack.enter_context(reading_bar(f"Importing {file.name}", handle, total))
    if kind == "parquet":  # reading begins at the end, so the input must be complete
        return io.BytesIO(sys.stdin.buffer.read())
    return sys.stdin.buffer  # no bar: the size is unknown, and `export` in a pipe may show its own


def _entries(
    rows: Iterator[Row], column: str | None, prefix: str, refused: _Refused
) -> Iterator[dict[str, Any]]:
    """Yield the entries in rows. Invalid rows go to `refused`."""
    for row in rows:
        try:
            if row.fields is None:
                raise ValidationError(row.error)
            entry = _entry(row.fields) if column is None else _keyed(row.fields, column)
        except ValidationError as error:
            refused.add(row.place, error)
        else:
            entry["key"] = prefix + entry["key"]
            yield entry


def _entry(fields: dict[str, Any]) -> dict[str, Any]:
    unknown = fields.keys() - _FIELDS
    if unknown:
        raise ValidationError(
            f"unknown field {min(unknown)!r}: expected an entry with {', '.join(sorted(_FIELDS))}; "
            "to import other rows, name their key column with --key"
        )
    if not isinstance(fields.get("key"), str) or not fields["key"]:
        raise ValidationError("the field 'key' must be a non-empty string")
    given = [name for name in _VALUES if name in fields]
    if len(given) != 1:
        raise ValidationError(f"expected one of the fields {', '.join(map(repr, _VALUES))}")
    entry = dict(fields)
    if given != ["value"]:
        entry["value"] = _decoded(given[0], entry.pop(given[0]))
    if entry.get("expires_at") is not None:
        entry["expires_at"] = timestamp(entry["expires_at"])
    return entry


def _decoded(field: str, text: Any) -> Any:
    """Return the bytes or the table in a field of base64."""
    try:
        data = base64.b64decode(text, validate=True)
        return data if field == "value_base64" else decode_value("parquet", data)
    except (binascii.Error, TypeError, ValueError) as error:
        raise ValidationError(f"{field} is not base64: {error}") from None
    except CorruptionError as error:
        raise ValidationError(f"{field}: {error}") from None


def _keyed(fields: dict[str, Any], column: str) -> dict[str, Any]:
    key = fields.get(column)
    if key is None or key == "":
        raise ValidationError(f"no key: the column {column!r} is missing or empty")
    if isinstance(key, bool) or not isinstance(key, (str, int)):
        raise ValidationError(
            f"the key column {column!r} holds {key!r}: expected a string or a whole number"
        )
    return {"key": str(key), "value": fields}


def _tell(report: BatchReport, refused: _Refused, as_json: bool) -> None:
    if as_json:
        counts = {name: value for name, value in report.items() if name != "errors"}
        print_json({**counts, "failed": refused.count, "errors": refused.first})
    else:
        for error in refused.first[:_ERRORS_SHOWN]:
            typer.echo(f"lakebed: {printable(error['place'] + ': ' + error['error'])}", err=True)
        if refused.count > _ERRORS_SHOWN:
            typer.echo(f"lakebed: … and {refused.count - _ERRORS_SHOWN:,} more", err=True)
        print(
            f"stored {entries_in_words(report.stored)}: {report.created:,} new, "
            f"{report.changed:,} changed, {report.unchanged:,} unchanged"
            + (
                f"; {report.replaced:,} replaced by a later row with the same key"
                if report.replaced
                else ""
            )
            + (f"; {refused.count:,} could not be stored" if refused.count else "")
        )
    if refused.count:
        raise typer.Exit(FAILED)


def export(
    ctx: typer.Context,
    prefix: Annotated[
        str,
        typer.Argument(
            metavar="PREFIX", help="Only keys that begin with this.", show_default=False
        ),
    ] = "",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file. Default: standard output.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write entries as NDJSON, one per line: key, value, metadata, and expires_at if set.

    Bytes are written as base64 in value_base64 instead of value, tables as Parquet in
    parquet_base64. `lakebed import` reads them back. With --json and --output, prints a report.

    Examples:

    \b
    lakebed export --output memories.ndjson
    lakebed export user/42/ | jq .key
    lakebed export | lakebed --lake copy import -
    """
    with ExitStack() as stack:
        lake = stack.enter_context(open_lake(ctx))
        if output is None:
            sys.stdout.flush()
        file = sys.stdout.buffer if output is None else stack.enter_context(writing(output))
        advance = stack.enter_context(progress_bar("Exporting")) if output else None
        count, total = 0, len(lake) if advance and not prefix else None
        for count, (row, value) in enumerate(lake.read_listing(lake.list(prefix)), 1):
            file.write(_line(row, value))
            if advance and count % 100 == 0:
                advance(count, total and max(count, total))
    if output is not None:
        if as_json:
            print_json({"exported": count, "output": str(output)})
        else:
            print(f"exported {entries_in_words(count)} to {output}")


def _line(row: EntryRow, value: Any) -> bytes:
    field = "value"
    if isinstance(value, bytes):
        field, value = "value_base64", base64.b64encode(value).decode()
    elif is_table(value):
        with closing(encode_value(value)) as encoded:
            field, value = "parquet_base64", base64.b64encode(encoded.data).decode()
    fields = {
        "key": row.key,
        field: value,
        "metadata": row.metadata_dict(),
        **({} if row.expires_at is None else {"expires_at": _shown(row.expires_at)}),
    }
    # A value can be as deep as allowed. Inside the entry it would be one level deeper.
    members = (
        encode(name) + b":" + encode(item, max_depth=MAX_DEPTH) for name, item in fields.items()
    )
    return b"{" + b",".join(members) + b"}\n"


def _shown(time: int) -> str:
    return from_micros(time).isoformat()
