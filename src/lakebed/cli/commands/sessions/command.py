"""The command `session` and its subcommands."""

from __future__ import annotations

import typer

from lakebed.cli.commands.sessions import moving, reading, tasks
from lakebed.cli.commands.sessions.adding import add

session = typer.Typer(
    help="Conversations, memories, tasks and artifacts that agents share.", rich_markup_mode=None
)
session.command("list")(reading.list_)
session.command("show")(reading.show)
session.command("create")(reading.create)
session.add_typer(add, name="add")
session.command("search")(reading.search)
session.command("tasks")(tasks.tasks)
session.command("claim")(tasks.claim)
session.command("complete")(tasks.complete)
session.command("fail")(tasks.fail)
session.command("artifacts")(reading.artifacts)
session.command("export")(moving.export)
session.command("import")(moving.import_)
session.command("migrate")(moving.migrate)
