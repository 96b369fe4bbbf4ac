"""publish: the lake as plain Parquet; presign: one content by a URL."""

from __future__ import annotations

from typing import Annotated

import typer

from lakebed.cli.entries import Key
from lakebed.cli.opening import complete_snapshot, open_lake
from lakebed.cli.output import Json, print_json, print_report
from lakebed.cli.progress import progress_bar


def publish(
    ctx: typer.Context,
    uri: Annotated[str, typer.Argument(metavar="URI", help="A folder, or a place in a bucket.")],
    snapshot: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="A snapshot, in place of the lake as it is now.",
            autocompletion=complete_snapshot,
        ),
    ] = None,
    search: Annotated[
        bool,
        typer.Option("--search", help="Write the search index too, for `search --published`."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Write the lake as Parquet that any engine reads without the catalog.

    URI/entries.parquet has a row for each entry; the copies of stored tables lie in a folder of
    URI-tables. A publication that is there already is replaced at once when all is written.

    Examples:

    \b
    lakebed publish published
    lakebed publish s3://bucket/published --snapshot before-import
    lakebed publish published --search
    """
    with open_lake(ctx) as lake, progress_bar("Publishing") as advance:
        done = lake.publish(uri, snapshot=snapshot, search=search, progress=advance)
    print_json(done) if as_json else print_report(done)


def presign(
    ctx: typer.Context,
    key: Key,
    expires: Annotated[
        float, typer.Option(metavar="SECONDS", help="How long the URL works: up to seven days.")
    ] = 3600,
    as_json: Json = False,
) -> None:
    """Print a URL by which anybody reads the content of an entry for a while.

    The storage has to be in a bucket. The URL gives the content as it is now, whatever is stored
    later: canonical JSON, bytes, or a Parquet file.

    Examples:

    \b
    lakebed presign report
    curl -o report.json "$(lakebed presign report --expires 60)"
    """
    with open_lake(ctx) as lake:
        url = lake.presign(key, expires=expires)
    print_json({"key": key, "url": url, "expires": expires}) if as_json else print(url)
