"""adopt, relocate: copies of a catalog and of a storage."""

from __future__ import annotations

from typing import Annotated

import typer

import lakebed
from lakebed.cli.opening import lake_name, open_lake
from lakebed.cli.printing.output import Json, print_json, printable
from lakebed.cli.printing.progress import progress_bar
from lakebed.cli.reading.asking import Yes, refused
from lakebed.config.opening import is_configuration_file, open_settings
from lakebed.errors import ConfigurationError
from lakebed.model import Progress


def adopt(ctx: typer.Context, yes: Yes = False, as_json: Json = False) -> None:
    """Make this copy of a catalog the owner of its storage.

    A catalog that was copied, or restored from a dump, opens read-only: otherwise the copy and the
    original would delete each other's objects. This command makes the copy writable and the
    original read-only. First stop every program that writes to the original.

    Examples:

    \b
    lakebed adopt --yes
    lakebed --lake restored.yaml adopt
    """
    question = "Make this catalog the owner of its storage, and every other copy of it read-only?"
    if refused(question, dry_run=False, yes=yes, as_json=as_json):
        return
    with open_lake(ctx) as lake:
        done, name = lake.adopt(), lake.name
    if as_json:
        print_json({"lake": name, **done})
        return
    print(f"{printable(name)} now owns {printable(done.storage)}")
    if done.before not in (None, name):
        print(f"{printable(done.before or 'its former owner')} is read-only from now on")


def relocate(
    ctx: typer.Context,
    storage: Annotated[
        str, typer.Argument(metavar="NEW_STORAGE", help="A folder or a URI such as s3://bucket/x.")
    ],
    as_json: Json = False,
) -> None:
    """Tell a lake that its objects have been copied to another storage.

    First stop every program that writes, and copy the complete folders objects and packs. The
    command checks that the new storage has every object. If one is missing, the command names it
    and changes nothing. Credentials and other options come from the configuration file. Write the
    new storage into that file afterwards.

    Examples:

    \b
    lakebed relocate s3://new-bucket/memories
    lakebed --lake sqlite:///names.db relocate /mnt/backup/contents
    """
    where = lake_name(ctx)
    with progress_bar("Looking for objects") as advance:
        how: bool | Progress = True if advance is None else advance
        if is_configuration_file(where):
            from lakebed.config.reading.loading import load

            settings = load(where).settings
            lake = open_settings(settings, relocate=how, storage=storage)
        elif "://" in where:
            lake = lakebed.open(catalog=where, storage=storage, relocate=how)
        else:
            raise ConfigurationError(
                f"the lake in {where} keeps its objects in that folder: to move it, copy the "
                "whole folder"
            )
        with lake:
            name, objects = lake.name, lake.stats().objects
    if as_json:
        print_json({"lake": name, "storage": storage, "objects": objects})
        return
    print(f"{printable(name)} now keeps its objects in {printable(storage)}")
    if is_configuration_file(where):
        print(f"also set storage in {printable(where)}")
