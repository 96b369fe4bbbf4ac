"""The server over streamable HTTP, for clients with the token."""

from __future__ import annotations

import hmac
from typing import Any

from lakebed.errors import ConfigurationError
from lakebed.mcp.server import LakeServer

_LOCAL = frozenset({"127.0.0.1", "localhost", "::1"})
LEAST_TOKEN = 16
"""The fewest characters of a token."""


class BearerToken:
    """Passes on requests with the token, and answers 401 to all others."""

    def __init__(self, app: Any, token: str) -> None:
        self._app = app
        self._token = f"Bearer {token}".encode()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or self._may_pass(scope):
            await self._app(scope, receive, send)
            return
        headers = [
            (b"content-type", b"application/json"),
            (b"www-authenticate", b'Bearer realm="lakebed"'),
        ]
        await send({"type": "http.response.start", "status": 401, "headers": headers})
        await send({"type": "http.response.body", "body": b'{"error": "a bearer token is needed"}'})

    def _may_pass(self, scope: Any) -> bool:
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        return len(given) == 1 and hmac.compare_digest(given[0], self._token)


def http_app(server: LakeServer, host: str, token: str | None) -> Any:
    """Return the server as an ASGI application at `/mcp`.

    Raises ConfigurationError if the token is too short or has other characters than ASCII, and if
    there is none although other machines can connect.
    """
    if token is None and host not in _LOCAL:
        raise ConfigurationError(
            f"--host {host} lets other machines connect: set LAKEBED_MCP_TOKEN to a bearer token"
        )
    if token is not None and (len(token) < LEAST_TOKEN or not token.isascii() or " " in token):
        raise ConfigurationError(
            f"LAKEBED_MCP_TOKEN must have {LEAST_TOKEN} characters or more, all ASCII and no spaces"
        )
    app = server.streamable_http_app(host=host)
    return app if token is None else BearerToken(app, token)


def serve_http(server: LakeServer, host: str, port: int, token: str | None) -> None:
    """Serve until interrupted."""
    import uvicorn

    uvicorn.run(http_app(server, host, token), host=host, port=port, log_level="warning")
