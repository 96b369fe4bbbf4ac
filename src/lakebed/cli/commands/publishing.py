"""publish: write the lake as Parquet. presign: make a URL for one content."""

from __future__ import annotations

from typing import Annotated

import typer

from lakebed.cli.arguments import Key
from lakebed.cli.opening import complete_snapshot, open_lake
from lakebed.cli.printing.output import Json, print_json, print_report
from lakebed.cli.printing.progress import progress_bar


def publish(
    ctx: typer.Context,
    uri: Annotated[str, typer.Argument(metavar="URI", help="A folder, or a URI in a bucket.")],
    snapshot: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Publish this snapshot instead of the present state.",
            autocompletion=complete_snapshot,
        ),
    ] = None,
    search: Annotated[
        bool,
        typer.Option("--search", help="Also write the search index, for `search --published`."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Write the lake as Parquet files, which any engine can read without the catalog.

    URI/entries.parquet has one row per entry. Copies of the stored tables are in a folder inside
    URI-tables. An earlier publication stays readable until the new one is complete.

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
        float, typer.Option(metavar="SECONDS", help="How long the URL works, at most seven days.")
    ] = 3600,
    as_json: Json = False,
) -> None:
    """Print a URL with which anybody can read the content of an entry for a limited time.

    The storage must be a bucket. The URL gives the content as it is now, even if the entry changes
    later: canonical JSON, bytes, or a Parquet file.

    Examples:

    \b
    lakebed presign report
    curl -o report.json "$(lakebed presign report --expires 60)"
    """
    with open_lake(ctx) as lake:
        url = lake.presign(key, expires=expires)
    print_json({"key": key, "url": url, "expires": expires}) if as_json else print(url)
