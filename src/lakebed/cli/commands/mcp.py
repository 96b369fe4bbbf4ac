"""mcp: serve the lake to agents that speak the Model Context Protocol."""

from __future__ import annotations

import os
from typing import Annotated, Literal

import typer

from lakebed.cli.commands.sessions.opening import JSON, open_place
from lakebed.cli.opening import is_absent, lake_name, open_lake
from lakebed.cli.printing.output import Json, print_json
from lakebed.errors import DependencyMissingError

TOKEN = "LAKEBED_MCP_TOKEN"  # noqa: S105 - the name of a variable


def mcp(
    ctx: typer.Context,
    transport: Annotated[
        Literal["stdio", "http"],
        typer.Option(help="Standard input and output, or streamable HTTP at /mcp."),
    ] = "stdio",
    host: Annotated[str, typer.Option(help="With http: the address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="With http: the port.")] = 8765,
    prefix: Annotated[
        str | None, typer.Option(help="Serve only this scope, such as agency/acme/user/42.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Serve the lake over MCP: tools, resources and prompts for agents.

    Put --read-only before the command to offer only tools that read. For HTTP, set the environment
    variable LAKEBED_MCP_TOKEN to the bearer token that clients must send. --json lists the tools.

    Examples:

    \b
    lakebed mcp
    lakebed --read-only mcp --prefix agency/acme
    LAKEBED_MCP_TOKEN=… lakebed --lake postgresql://localhost/agents mcp --transport http
    """
    try:
        from lakebed.mcp.http import serve_http
        from lakebed.mcp.server import build_server
    except ImportError as error:
        raise DependencyMissingError(
            "lakebed mcp needs the mcp package: pip install 'lakebed[mcp]'"
        ) from error
    where = lake_name(ctx)
    read_only = bool(ctx.find_root().params.get("read_only"))
    if where.startswith(JSON):
        lake = open_place(where, create=not read_only)
    else:
        lake = open_lake(ctx, create=not read_only and is_absent(where))
    with lake:
        server = build_server(lake, prefix=prefix, read_only=read_only)
        if as_json:
            print_json(sorted(tool.name for tool in server._tool_manager.list_tools()))
        elif transport == "stdio":
            server.run("stdio")
        else:
            serve_http(server, host, port, os.environ.get(TOKEN))
