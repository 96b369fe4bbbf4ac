"""Watch a block of coroutines: keep the state before it, show what it changed, and undo it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from lakebed.aio.results import AsyncDiff, AsyncRestored
from lakebed.aio.streams import Pending
from lakebed.errors import ValidationError
from lakebed.lake.history.snapshot import Snapshot

if TYPE_CHECKING:
    from lakebed.aio.results import Difference


class Watched(Protocol):
    """The calls of a lake that a watch needs."""

    def diff(self, a: Snapshot, *, prefix: str = "") -> Pending[AsyncDiff, Difference]: ...

    def restore(
        self, snapshot: Snapshot, *, prefix: str = "", dry_run: bool = False
    ) -> Awaitable[AsyncRestored]: ...


class AsyncWatch:
    """The result of `AsyncLake.watch`. Use it once, in an `async with` block."""

    def __init__(self, lake: Watched, make: Callable[[], Awaitable[Snapshot]], prefix: str) -> None:
        self._lake = lake
        self._make = make
        self._prefix = prefix
        self._snapshot: Snapshot | None = None
        self._diff: AsyncDiff | None = None

    @property
    def snapshot(self) -> Snapshot:
        """The snapshot from the beginning of the block. Raises ValidationError before that."""
        if self._snapshot is None:
            raise ValidationError(
                "the watch has not begun: use it as `async with lake.watch() as run:`"
            )
        return self._snapshot

    @property
    def diff(self) -> Pending[AsyncDiff, Difference]:
        """The changes since the beginning of the block, as `Watch.diff`: `await run.diff`, or
        `async for difference in run.diff`."""
        found = self._diff
        if found is None:
            return self._lake.diff(self.snapshot, prefix=self._prefix)

        async def kept() -> AsyncDiff:
            return found

        return Pending(kept)

    async def undo(self, *, dry_run: bool = False) -> AsyncRestored:
        """Restore the state before the block, as `Watch.undo`."""
        return await self._lake.restore(self.snapshot, prefix=self._prefix, dry_run=dry_run)

    async def __aenter__(self) -> Self:
        if self._snapshot is not None:
            raise ValidationError("the watch has begun already: call lake.watch() again")
        self._snapshot = await self._make()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self._diff = await self.diff

    def __repr__(self) -> str:
        state = "not begun" if self._snapshot is None else f"since {self._snapshot.name}"
        return f"<AsyncWatch {state}>"
