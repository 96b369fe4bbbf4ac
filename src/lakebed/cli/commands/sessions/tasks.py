"""session tasks, claim, complete, fail: the tasks in the queue."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, cast

import typer

from lakebed.cli.commands.sessions.opening import open_manager
from lakebed.cli.errors import NOT_FOUND
from lakebed.cli.printing.output import (
    Json,
    moment,
    print_json,
    print_json_array,
    printable,
    to_json,
)
from lakebed.cli.reading.values import json_or_text
from lakebed.sessions.manager import SessionManager
from lakebed.sessions.records import TaskStatus
from lakebed.sessions.tasks.task import LEASE, Task

if TYPE_CHECKING:
    from rich.table import Table

_EVERY = 1.0  # seconds
_SHOWN = 200
TaskId = Annotated[str, typer.Argument(metavar="TASK", help="The id of the task.")]
Claimed = Annotated[str | None, typer.Option("--claim", help="Only if the claim is this one.")]


def tasks(
    ctx: typer.Context,
    session_id: Annotated[
        str | None, typer.Argument(metavar="SESSION", help="Only tasks of this session.")
    ] = None,
    status: Annotated[
        str | None, typer.Option(help="Only pending, claimed, running, completed or failed tasks.")
    ] = None,
    agent: Annotated[str | None, typer.Option(help="Only tasks for this agent.")] = None,
    once: Annotated[
        bool, typer.Option("--once", help="Print the table once, even at a terminal.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List tasks in the order of their creation. At a terminal, the table is updated every second
    until Ctrl-C.

    Examples:

    \b
    lakebed session tasks
    lakebed session tasks 0hom9rw92a52l133 --status running --once
    """
    wanted = cast("TaskStatus", status)
    with open_manager(ctx) as manager:
        found = manager.tasks(session_id, status=wanted, agent_name=agent)
        if as_json:
            print_json_array(found)
        elif once or not sys.stdout.isatty():
            for task in found:
                print(_line(task))
        else:
            _watch(manager, session_id, wanted, agent)


def _line(task: Task) -> str:
    who = f"  by {printable(task.claimed_by)}" if task.claimed_by else ""
    return (
        f"{task.id}  {task.status:<9}  {task.priority:>4}  {task.attempts}/{task.max_attempts}  "
        f"{printable(task.agent_name)}  {printable(task.task_type)}{who}"
    )


def _watch(
    manager: SessionManager, session_id: str | None, status: TaskStatus, agent: str | None
) -> None:
    from rich.live import Live

    with Live(auto_refresh=False, screen=False) as live:
        while True:
            found = manager.tasks(session_id, status=status, agent_name=agent)
            live.update(_table(found), refresh=True)
            time.sleep(_EVERY)


def _table(tasks: Sequence[Task]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=f"{len(tasks):,} tasks", title_justify="left")
    for name in ("task", "status", "priority", "attempts", "agent", "type", "by", "until"):
        table.add_column(name)
    for task in tasks[-_SHOWN:]:
        until = "" if task.lease_until is None else moment(task.lease_until)
        cells = (
            task.id, task.status, str(task.priority), f"{task.attempts}/{task.max_attempts}",
            task.agent_name, task.task_type, task.claimed_by or "", until,
        )  # fmt: skip
        table.add_row(*(Text(printable(cell)) for cell in cells))
    return table


def claim(
    ctx: typer.Context,
    agent: Annotated[str, typer.Argument(metavar="AGENT", help="The agent whose task to claim.")],
    control: Annotated[
        str | None, typer.Option("--as", help="Who claims the task for the agent.")
    ] = None,
    lease: Annotated[float, typer.Option(help="How many seconds the claim lasts.")] = LEASE,
    wait: Annotated[float, typer.Option(help="Wait up to this many seconds for a task.")] = 0,
    as_json: Json = False,
) -> None:
    """Claim the most urgent task of an agent that is due, and print it.

    The exit code is 1 if no task is due.

    Examples:

    \b
    lakebed session claim researcher
    lakebed session claim researcher --as human --lease 3600 --wait 60 --json
    """
    with open_manager(ctx) as manager:
        task = manager.wait_for_task(agent, wait, control, lease)
        if task is None:
            if as_json:
                print_json(None)
            else:
                typer.echo(f"lakebed: no task for {agent!r} is due", err=True)
            raise typer.Exit(NOT_FOUND)
        if as_json:
            print_json(task)
        else:
            print(_line(task))
            print(printable(to_json(task.input)))


def complete(
    ctx: typer.Context,
    task_id: TaskId,
    output: Annotated[
        str | None, typer.Argument(metavar="OUTPUT", help="The result: JSON, else text.")
    ] = None,
    claimed: Claimed = None,
    as_json: Json = False,
) -> None:
    """Complete a claimed task.

    Examples:

    \b
    lakebed session complete 0hom9rw92a52l133.0hom9rw9w0scci0f '{"hotel": "at the lake"}'
    """
    with open_manager(ctx) as manager:
        result = None if output is None else json_or_text(output)
        task = manager.task(task_id, claim=claimed).complete(result)
        print_json(task) if as_json else print(_line(task))


def fail(
    ctx: typer.Context,
    task_id: TaskId,
    error: Annotated[str, typer.Argument(metavar="ERROR", help="What went wrong.")],
    for_good: Annotated[
        bool, typer.Option("--no-retry", help="Fail for good, even if attempts are left.")
    ] = False,
    claimed: Claimed = None,
    as_json: Json = False,
) -> None:
    """Report that a claimed task failed. It becomes pending again if attempts are left.

    Examples:

    \b
    lakebed session fail 0hom9rw92a52l133.0hom9rw9w0scci0f "no network"
    """
    with open_manager(ctx) as manager:
        task = manager.task(task_id, claim=claimed).fail(error, retry=not for_good)
        print_json(task) if as_json else print(_line(task))
