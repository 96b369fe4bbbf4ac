"""search: find the entries that match a question best."""

from __future__ import annotations

import base64
import shutil
import sys
from contextlib import ExitStack
from enum import StrEnum
from typing import Annotated

import typer

from lakebed.cli.opening import open_lake
from lakebed.cli.printing.output import Json, print_json, printable
from lakebed.cli.reading.values import json_object
from lakebed.lake.lake import Lake
from lakebed.lake.searching import Hit, Hits
from lakebed.lake.share.published import Publication, open_publication


class SearchMode(StrEnum):
    """How hits are ranked."""

    text = "text"
    vector = "vector"
    hybrid = "hybrid"


def search(
    ctx: typer.Context,
    query: Annotated[
        str | None,
        typer.Argument(
            metavar="QUERY",
            help="Words. Without any, lists all entries in the order of their keys.",
        ),
    ] = None,
    metadata_filter: Annotated[
        str | None,
        typer.Option(
            "--filter", help="Only entries whose metadata match this filter, a JSON object."
        ),
    ] = None,
    prefix: Annotated[str, typer.Option(help="Only keys that begin with this.")] = "",
    limit: Annotated[int, typer.Option(help="The most hits to show.")] = 10,
    offset: Annotated[int, typer.Option(help="Skip this many hits.")] = 0,
    thread: Annotated[
        bool, typer.Option("--thread", help="Also count neighbours in a conversation.")
    ] = False,
    mode: Annotated[
        SearchMode | None, typer.Option(help="Rank by words, by meaning, or by both.")
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show the parts of each score.")
    ] = False,
    published: Annotated[
        str | None,
        typer.Option(metavar="URI", help="Search this publication, without opening the lake."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Find the entries whose values or metadata have any of the words, the best first.

    Case, accents and English endings do not matter. Field names are searched too, but count less.

    Examples:

    \b
    lakebed search "parse a date string"
    lakebed search "parse a date" --filter '{"package": "email"}' --limit 3
    lakebed search prices --prefix user/42/ --json
    lakebed search "what tea does Ada drink" --thread --explain
    lakebed search prices --published s3://bucket/published
    """
    conditions = json_object(metadata_filter, "--filter")
    with ExitStack() as stack:
        source: Lake | Publication
        if published is None:
            source = stack.enter_context(open_lake(ctx))
        else:
            source = open_publication(published)
        hits = source.search(
            query,
            metadata_filter=conditions,
            prefix=prefix,
            limit=limit,
            offset=offset,
            thread=thread,
            mode=mode.value if mode else None,
        )
        if as_json:
            found = [_plain(hit) | _explanation(hit, explain) for hit in hits]
            print_json({"total": hits.total, "unread": hits.unread, "hits": found})
            return
        _print(hits, explain)
    if hits.unread:
        typer.echo(f"lakebed: {hits.unread:,} values could not be read", err=True)


def _print(hits: Hits, explain: bool) -> None:
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for hit in hits:
        typer.secho(f"{hit.score:>8.3g}  ", nl=False, dim=True)
        typer.secho(printable(hit.key), bold=True)
        print(f"         {printable(hit.preview())}"[:width])
        if explain and hit.explanation:
            parts = (f"{part:.3g} {word}" for word, part in hit.explanation.items())
            print(f"         = {' + '.join(parts)}"[:width])
    print(f"{len(hits):,} of {hits.total:,} hits")


def _explanation(hit: Hit, wanted: bool) -> dict[str, object]:
    return {"explanation": hit.explanation} if wanted else {}


def _plain(hit: Hit) -> dict[str, object]:
    """Return a hit as JSON. A table is left out."""
    told: dict[str, object] = {"key": hit.key, "score": hit.score, "metadata": hit.metadata}
    if hit.entry.format == "json":
        return {**told, "value": hit.value}
    if hit.entry.format == "bytes":
        return {**told, "value_base64": base64.b64encode(hit.value).decode()}
    return {**told, "format": hit.entry.format, "byte_size": hit.entry.byte_size}
