"""A block of work: the state before it, what it changed, and the way back."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, Self

from lakebed.errors import ValidationError

if TYPE_CHECKING:
    from lakebed.lake.history.diff import Diff, Restored
    from lakebed.lake.history.snapshot import Snapshot


class Watched(Protocol):
    """What a watch asks of its lake."""

    def diff(self, a: Snapshot, *, prefix: str = "") -> Diff: ...

    def restore(
        self, snapshot: Snapshot, *, prefix: str = "", dry_run: bool = False
    ) -> Restored: ...


class Watch:
    """What `Lake.watch` gives; used as a `with` block, once."""

    def __init__(self, lake: Watched, make: Callable[[], Snapshot], prefix: str) -> None:
        self._lake = lake
        self._make = make
        self._prefix = prefix
        self._snapshot: Snapshot | None = None
        self._diff: Diff | None = None

    @property
    def snapshot(self) -> Snapshot:
        """The snapshot that was made when the block began."""
        if self._snapshot is None:
            raise ValidationError("the watch has not begun: use it as `with lake.watch() as run:`")
        return self._snapshot

    @property
    def diff(self) -> Diff:
        """What changed since the block began: until now while it runs, until its end afterwards.

        Changes of other writers in that time are among them. If the block raised, it goes on until
        now.
        """
        if self._diff is not None:
            return self._diff
        return self._lake.diff(self.snapshot, prefix=self._prefix)

    def undo(self, *, dry_run: bool = False) -> Restored:
        """Go back to the state before the block; gives what `Lake.restore` gives.

        All changes since then are undone, those of other writers and those that came after the
        block as well. The state before the undo is kept as a snapshot that the result names.
        `dry_run` changes nothing.

        Raises NotFoundError if the snapshot was dropped.
        """
        return self._lake.restore(self.snapshot, prefix=self._prefix, dry_run=dry_run)

    def __enter__(self) -> Self:
        if self._snapshot is not None:
            raise ValidationError("the watch has begun already: call lake.watch() again")
        self._snapshot = self._make()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._diff = self.diff

    def __repr__(self) -> str:
        state = "not begun" if self._snapshot is None else f"since {self._snapshot.name}"
        return f"<Watch {state}>"
