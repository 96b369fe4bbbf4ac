"""SQLite whose commits wait for the replica. Only the holder of the fence writes."""

from __future__ import annotations

import threading
from types import TracebackType

from lakebed.catalog.litestream.child import Litestream
from lakebed.catalog.opened import Durability
from lakebed.catalog.sqlite.connections import WRITE
from lakebed.catalog.sqlite.executor import SQLiteExecutor
from lakebed.catalog.sqlite.transaction import SQLiteTransaction
from lakebed.catalog.statements.hiding import Mask
from lakebed.clock import Clock
from lakebed.errors import LakebedError, LockLostError
from lakebed.locks.base import Lock


class Keeper:
    """Keeps a fence that was acquired before."""

    def __init__(self, fence: Lock) -> None:
        self.fence = fence
        self.ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lakebed-fence", daemon=True)
        self._thread.start()

    def _keep(self) -> None:
        while not self.ended.wait(self.fence.ttl / 4):
            try:
                self.fence.refresh()
            except LockLostError:
                return
            except LakebedError:  # tried again; once the fence has expired, writes are refused
                continue

    def stop(self) -> None:
        """Stop holding the fence, without releasing it."""
        self.ended.set()
        self._thread.join()

    def release(self) -> None:
        """Release the fence."""
        self.stop()
        self.fence.release()
        self.fence.close()


class LitestreamExecutor(SQLiteExecutor):
    """A SQLite file with its child process and its fence.

    With durability "full", a commit returns once it is in the replica. With "normal", the commits
    of about the last second may be lost if the disk is.
    """

    def __init__(
        self,
        path: str,
        child: Litestream,
        keeper: Keeper,
        *,
        durability: Durability,
        lock_timeout: float,
        clock: Clock,
        mask: Mask,
    ) -> None:
        self.child = child
        self.keeper = keeper
        self.waits = durability == "full"
        super().__init__(
            path, durability=durability, lock_timeout=lock_timeout, clock=clock, mask=mask
        )

    def identity(self) -> None:
        """Return None. The file is restored on any node, and the fence lets only one node write."""
        return

    def check_fence(self) -> None:
        """Raise LockLostError if another node may be writing to the replica."""
        if not self.keeper.fence.is_held:
            raise LockLostError(
                f"the fence of the replica {self.child.shown} was lost, and another node may write "
                "to it: open the lake again"
            )

    def _write(self, wait: float) -> SQLiteTransaction:
        return _Replicated(self, WRITE, self._gate, wait)

    def close(self) -> None:
        if not self._closed:
            super().close()
            self.child.stop()
            self.keeper.release()


class _Replicated(SQLiteTransaction):
    """A transaction that ends once its commit is where the durability requires it."""

    __slots__ = ()

    def __enter__(self) -> SQLiteTransaction:
        executor = self._connections
        assert isinstance(executor, LitestreamExecutor)
        executor.check_fence()
        return super().__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        super().__exit__(kind, error, trace)
        executor = self._connections
        assert isinstance(executor, LitestreamExecutor)
        if error is None and executor.waits:
            executor.child.sync()
            executor.check_fence()
