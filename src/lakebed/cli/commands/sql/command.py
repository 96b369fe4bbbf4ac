"""sql: query the lake."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lakebed.cli.opening import open_lake
from lakebed.cli.printing.cells import cell
from lakebed.cli.printing.grid import print_grid
from lakebed.cli.printing.output import Json, print_json, print_json_array, to_json, writing
from lakebed.values.json import decode_text

if TYPE_CHECKING:
    from lakebed.duckdb.result import QueryResult

_ROWS_SHOWN = 100


def sql(
    ctx: typer.Context,
    query: Annotated[
        str | None,
        typer.Argument(
            metavar="[QUERY]",
            help="A SELECT. `-` reads it from standard input. Without it, a terminal gets a shell.",
        ),
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print all rows as CSV.")] = False,
    parquet: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write all rows to a Parquet file.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Query the lake with a SELECT in DuckDB's SQL. Without a query, opens a shell.

    Tables: entries, documents (entries with their value as JSON), history, snapshots, objects,
    entries_at('snapshot'), changes('a', 'b').

    Examples:

    \b
    lakebed sql "SELECT format, count(*), sum(byte_size) FROM entries GROUP BY format"
    lakebed sql "SELECT key, value->>'name' AS name FROM documents WHERE key LIKE 'user/%'" --csv
    lakebed sql "SELECT * FROM changes('yesterday', NULL)" --parquet changes.parquet
    lakebed sql
    """
    if as_csv + as_json > 1 or (as_csv and parquet):
        raise typer.BadParameter("cannot be combined with --json or --parquet", param_hint="--csv")
    if query is None and sys.stdin.isatty():
        if as_csv or as_json or parquet:
            raise typer.BadParameter("expected a query", param_hint="QUERY")
        from lakebed.cli.commands.sql.shell import run_shell

        with open_lake(ctx) as lake:
            run_shell(lake, lambda text: _show(lake.sql(text)))
        return
    text = sys.stdin.read() if query is None or query == "-" else query
    if not text.strip():
        raise typer.BadParameter("expected a query, here or on standard input", param_hint="QUERY")
    with open_lake(ctx) as lake:
        result = lake.sql(text)
        if parquet is not None:
            rows = _write(result, parquet)
            told = {"output": str(parquet), "rows": rows, "byte_size": parquet.stat().st_size}
            print_json(told) if as_json else print(f"{rows:,} rows in {parquet}")
        elif as_json:
            print_json_array(_objects(result))
        elif as_csv:
            writer = csv.writer(sys.stdout, lineterminator="\n")
            writer.writerow(result.columns)
            writer.writerows([_field(value) for value in row] for row in result)
        else:
            _show(result)


def _objects(result: QueryResult) -> Iterator[dict[str, object]]:
    """Yield the rows as objects. The values of a JSON column are parsed."""
    is_json = [kind == "JSON" for kind in result.types]
    for row in result:
        yield {
            name: decode_text(value) if nested and value is not None else cell(value)
            for name, nested, value in zip(result.columns, is_json, row, strict=True)
        }


def _field(value: Any) -> Any:
    """Return a value for CSV. A null becomes empty, a nested value becomes JSON."""
    plain = cell(value)
    return to_json(plain) if isinstance(plain, (dict, list)) else plain


def _write(result: QueryResult, path: Path) -> int:
    import pyarrow.parquet as pq

    rows = 0
    batches = result.batches()
    with writing(path) as file, pq.ParquetWriter(file, batches.schema, compression="zstd") as sink:
        for batch in batches:
            sink.write_batch(batch)
            rows += batch.num_rows
    return rows


def _show(result: QueryResult) -> None:
    """Print all rows into a pipe, and the first rows on a terminal."""
    if not sys.stdout.isatty():
        print_grid(result.columns, result.fetchall())
        return
    rows = result.fetchmany(_ROWS_SHOWN + 1)
    print_grid(result.columns, rows[:_ROWS_SHOWN])
    if len(rows) > _ROWS_SHOWN:
        print(f"the first {_ROWS_SHOWN} rows; all with --json, --csv or --parquet FILE")
