"""Opens a SQLite catalog that Litestream copies: acquires the fence, restores, copies, opens."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Literal
from urllib.parse import urlsplit

from lakebed.catalog.litestream.child import Litestream
from lakebed.catalog.litestream.executor import Keeper, LitestreamExecutor
from lakebed.catalog.opened import CatalogOptions, OpenedCatalog, refuse_unknown
from lakebed.catalog.options import seconds
from lakebed.catalog.sqlite.catalog import SQLiteCatalog
from lakebed.errors import (
    ConfigurationError,
    ConnectError,
    LockTimeoutError,
    RateLimitedError,
    StorageError,
)
from lakebed.locks.base import Lock
from lakebed.locks.bucket import BucketLock
from lakebed.objects.opening import open_store
from lakebed.objects.places import local_path
from lakebed.paths import absolute
from lakebed.waiting import waiting

_KNOWN = ("replica", "endpoint_url", "region", "fence_ttl", "fence_timeout")
_Options = dict[str, object]
_PATIENCE = (5.0, 20.0)  # the least and the most seconds for which a replica may be silent
_LOOK = 1.0  # seconds for which our own request is repeated after Litestream's failed
_FENCE = "/fence"  # the folder of the lock, in the replica
_NOTE = "-fence"  # ends the name of a file with the token under which the catalog was last written


class LitestreamCatalog(SQLiteCatalog):
    """`SQLiteCatalog` on a file with a replica."""

    _executor: LitestreamExecutor

    def examine(self) -> Iterator[tuple[str, Literal["ok", "note", "wrong"], str]]:
        """Check the replica and its lag."""
        child = self._executor.child
        yield "replica", "ok", f"{child.shown}, last copied {child.lag()}"


def open_litestream(given: Mapping[str, object], options: CatalogOptions) -> OpenedCatalog:
    """Open the catalog of `{"type": "litestream", "path": …, "replica": …}`.

    `path`: the file. `replica`: a folder, or `s3://bucket/prefix`, with `endpoint_url` and `region`
    if needed. Credentials come from the environment. All other options may be left out. `fence_ttl`
    (60): seconds after which another node may take over the replica of a dead node. `fence_timeout`
    (90): seconds to wait for that.

    Raises ConfigurationError for wrong options, ConnectError if the replica cannot be reached, and
    LockTimeoutError if another node writes to it.
    """
    refuse_unknown({"path" if name == "url" else name: None for name in given}, ("path", *_KNOWN))
    if options.read_only:
        raise ConfigurationError(
            "read_only: open the file itself, catalog='sqlite:///…', or a restored copy of it"
        )
    path, replica = given.get("url"), given.get("replica")
    if not isinstance(path, (str, os.PathLike)) or not os.fspath(path):
        raise ConfigurationError("catalog.path: expected the path of the SQLite file")
    if not isinstance(replica, (str, os.PathLike)) or not os.fspath(replica):
        raise ConfigurationError("catalog.replica: expected a folder, or s3://bucket/prefix")
    where, place = absolute(path), os.fspath(replica)
    least, most = _PATIENCE
    patience = max(least, min(options.lock_timeout, most))
    described, (at, storage) = _replica(place, given, patience)
    ttl, wait = seconds(given, "fence_ttl", 60.0), seconds(given, "fence_timeout", 90.0)
    child = Litestream(where, described, options.mask(place))
    with ExitStack() as undo:
        undo.callback(child.stop)
        fence = BucketLock("litestream", ttl, uri=at, **storage)  # type: ignore[arg-type]
        undo.callback(fence.close)
        _hold(fence, wait, child.shown)
        undo.pop_all()
    keeper = Keeper(fence)
    with ExitStack() as undo:
        undo.callback(keeper.release)
        undo.callback(child.stop)  # runs before the release
        try:
            _bring(where, child, fence, patience)
        except ConnectError as error:
            if error.error_type == "connection_timeout":  # else Litestream has said why
                _explain(error, at, storage)
            raise
        child.start()
        executor = LitestreamExecutor(
            where,
            child,
            keeper,
            durability=options.durability,
            lock_timeout=options.lock_timeout,
            clock=options.clock,
            mask=options.mask,
        )
        undo.pop_all()
    return OpenedCatalog(LitestreamCatalog(executor), f"litestream:{where}", True)


def _replica(
    place: str, given: Mapping[str, object], patience: float
) -> tuple[_Options, tuple[str, _Options]]:
    """Return the replica in the form of Litestream's configuration, and the place of the fence.

    The place comes with the options of its filesystem.
    """
    more = {name: given[name] for name in ("endpoint_url", "region") if given.get(name)}
    folder = local_path(place)
    if folder is not None:
        if more:
            raise ConfigurationError("catalog.replica: a folder has no endpoint_url and no region")
        folder = absolute(os.path.expanduser(folder))
        return {"type": "file", "path": folder}, (folder + _FENCE, {})
    parts = urlsplit(place)
    if parts.scheme != "s3" or not parts.netloc:
        raise ConfigurationError("catalog.replica: expected a folder, or s3://bucket/prefix")
    prefix = parts.path.strip("/")
    described: _Options = {"type": "s3", "bucket": parts.netloc, "path": prefix or "lakebed"}
    if "endpoint_url" in more:
        described |= {"endpoint": more["endpoint_url"], "force-path-style": True}
    if "region" in more:
        described["region"] = more["region"]
    return described, (
        f"s3://{parts.netloc}/{prefix or 'lakebed'}{_FENCE}",
        {**more, "retry_timeout": patience},
    )


def _hold(fence: Lock, wait: float, shown: str) -> None:
    try:
        with waiting(f"no fence of the replica {shown} yet, which another node may hold"):
            fence.acquire(timeout=wait)
    except LockTimeoutError as error:
        raise LockTimeoutError(
            f"another node writes to the replica {shown}: two would lose each other's commits; "
            "close it, or give each a replica of its own"
        ) from error


def _bring(path: str, child: Litestream, fence: Lock, patience: float) -> None:
    """Bring the local file to the newest state.

    It is kept if this node wrote last, and otherwise restored from the replica.
    """
    note, token = path + _NOTE, fence.token
    assert token is not None
    mine = os.path.exists(path) and _noted(note) == token - 1
    if not mine:
        restored = f"{path}.restored"
        for end in ("", ".tmp"):
            _remove(restored + end)
        if child.restore(restored, patience):
            for end in ("-wal", "-shm"):
                _remove(path + end)
            notes = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}-litestream")
            shutil.rmtree(notes, ignore_errors=True)
            os.replace(restored, path)
        elif _noted(note) is not None:
            raise StorageError(
                f"the replica {child.shown} is empty, but the lake was copied to it before: the "
                "lake is not opened"
            )
    with open(f"{note}.new", "w") as file:
        file.write(str(token))
        file.flush()
        os.fsync(file.fileno())
    os.replace(f"{note}.new", note)


def _explain(error: ConnectError, fence: str, storage: _Options) -> None:
    """Raise what the replica's service answers, if that tells why Litestream got nothing.

    Litestream repeats its requests for minutes, and says only then why they failed. Returns if the
    service answers well.
    """
    store = open_store(fence.removesuffix(_FENCE), {**storage, "retry_timeout": _LOOK})
    try:
        next(iter(store.list("")), None)
    except RateLimitedError as told:
        raise RateLimitedError(f"{error}: {told}", told.retry_after) from told
    except ConnectError as told:
        raise ConnectError(f"{error}: {told}", told.error_type) from told
    finally:
        store.close()


def _noted(note: str) -> int | None:
    try:
        with open(note) as file:
            return int(file.read())
    except (FileNotFoundError, ValueError):
        return None


def _remove(path: str) -> None:
    if os.path.exists(path):
        os.unlink(path)
