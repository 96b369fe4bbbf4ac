"""Subscriptions: a client that subscribes to a resource is notified when anybody changes its
entry."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any
from urllib.parse import unquote

import anyio.to_thread
from mcp.server.subscriptions import ResourceUpdated, SubscriptionBus
from mcp_types import EmptyResult

from lakebed.errors import LakebedError
from lakebed.lake.lake import Lake

SCHEME = "lakebed://"
_EVERY = 0.5  # seconds between two checks
Tell = Callable[[str], Awaitable[None]]


def key_of(uri: str) -> str | None:
    """Return the key of a resource, or None if the URI is not one of ours."""
    return unquote(uri[len(SCHEME) :]) if uri.startswith(SCHEME) else None


class Watch:
    """Checks the entries of subscribed resources while there are any."""

    def __init__(self, lake: Lake, bus: SubscriptionBus) -> None:
        self._lake = lake
        self._bus = bus
        self._listeners = dict[str, dict[object, Tell]]()
        self._seen = dict[str, int | None]()
        self._task: asyncio.Task[None] | None = None

    async def add(self, uri: str, who: object, tell: Tell) -> None:
        """Notify a client of changes from now on."""
        if uri not in self._seen:
            self._seen[uri] = await self._version(uri)
        self._listeners.setdefault(uri, {})[who] = tell
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())

    def remove(self, uri: str, who: object) -> None:
        """Stop notifying a client."""
        listeners = self._listeners.get(uri, {})
        listeners.pop(who, None)
        if not listeners:
            self._listeners.pop(uri, None)
            self._seen.pop(uri, None)

    async def middleware(self, ctx: Any, call_next: Callable[[Any], Awaitable[Any]]) -> Any:
        """Watch the resources of a `subscriptions/listen` stream, while the stream lasts."""
        if ctx.method != "subscriptions/listen":
            return await call_next(ctx)
        wanted = ((ctx.params or {}).get("notifications") or {}).get("resourceSubscriptions") or []
        uris, stream = [uri for uri in wanted if isinstance(uri, str)], object()
        try:
            for uri in uris:
                await self.add(uri, stream, self._publish)
            return await call_next(ctx)
        finally:
            for uri in uris:
                self.remove(uri, stream)

    async def subscribe(self, ctx: Any, params: Any) -> EmptyResult:
        """Handle `resources/subscribe`, a request of earlier versions of the protocol."""
        session = ctx.session  # this object is made for the request, but its connection stays
        await self.add(str(params.uri), session._connection, session.send_resource_updated)
        return EmptyResult()

    async def unsubscribe(self, ctx: Any, params: Any) -> EmptyResult:
        """Handle `resources/unsubscribe`."""
        self.remove(str(params.uri), ctx.session._connection)
        return EmptyResult()

    async def _publish(self, uri: str) -> None:
        await self._bus.publish(ResourceUpdated(uri=uri))

    async def _version(self, uri: str) -> int | None:
        key = key_of(uri)
        if not key:
            return None

        def look() -> int | None:
            # An invalid key, or a lake that cannot be reached now, is checked again later.
            with suppress(LakebedError):
                entry = self._lake.entry(key)
                return None if entry is None else entry.version
            return None

        version: int | None = await anyio.to_thread.run_sync(look)
        return version

    async def _run(self) -> None:
        while self._listeners:
            await asyncio.sleep(_EVERY)
            for uri in list(self._listeners):
                version = await self._version(uri)
                if uri in self._seen and version != self._seen[uri]:
                    self._seen[uri] = version
                    await self._tell(uri)

    async def _tell(self, uri: str) -> None:
        told = set[Tell]()
        for who, tell in list(self._listeners.get(uri, {}).items()):
            if tell == self._publish and tell in told:
                continue  # one call of the bus reaches all streams
            told.add(tell)
            try:
                await tell(uri)
            except Exception:  # noqa: BLE001 - a client that is gone is dropped
                self.remove(uri, who)
