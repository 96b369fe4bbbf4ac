"""Checks whether a storage can be used: each right is tested, with one small file."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from itertools import islice
from typing import Literal, NamedTuple

from lakebed.errors import LakebedError, StorageError
from lakebed.objects.buckets.cloud import About, CloudStore
from lakebed.objects.local import LocalStore
from lakebed.objects.opening import open_store
from lakebed.objects.store import ObjectStore, StoredFile

_PROBE_BYTES = 64


class Look(NamedTuple):
    """The result of one check. `state` is `wrong` if it makes some call of a lake fail."""

    check: str
    state: Literal["ok", "note", "wrong"]
    detail: str


def examine(
    uri: str, options: Mapping[str, object], shown: str, wait: float = 10.0
) -> Iterator[Look]:
    """Check the storage at a URI or an absolute path. Results call it `shown`.

    Lists the storage, and writes, reads and deletes a file of 64 bytes. The file is in `objects/`,
    so that `collect` finds it if the process is killed. It is named `….probe`, as no object is. In
    a folder without `objects/`, it is in the folder itself, so that no folder is created. It is
    written only if it can be deleted.

    `wait`: the seconds to keep asking a bucket that does not answer.

    Raises an error if nothing works: ConfigurationError, DependencyMissingError, ConnectError,
    RateLimitedError, or StorageError for a bucket that does not exist.
    """
    with closing(open_store(uri, options)) as store:
        if isinstance(store, CloudStore):
            store.give_up_after(wait)
            yield from _service(store, shown)
        else:
            yield Look("storage", "ok", shown)
        found: list[StoredFile] = []
        try:
            begin = time.perf_counter()
            found.extend(islice(store.list("objects"), 1))
            yield Look("list", "ok", _took(begin))
        except StorageError as error:
            yield Look("list", "wrong", str(error))
        yield from _rights(store, found[0] if found else None)


def _service(store: CloudStore, shown: str) -> Iterator[Look]:
    store.about()  # connects
    begin, ticks = time.time(), time.perf_counter()
    about = store.about()
    took = time.perf_counter() - ticks
    yield Look("storage", "ok", f"{shown} answers in {took * 1000:.1f} ms")
    if about.region is not None:
        yield _region(about, about.region)
    if (told := about.time()) is not None:
        yield _clock(told + 0.5 - (begin + took / 2), took)  # the service gives whole seconds


def _region(about: About, region: str) -> Look:
    if about.asked in (None, region):
        return Look("region", "ok", region)
    return Look(
        "region",
        "note",
        f"the bucket is in {region}, requests are made for {about.asked}: set `region: {region}`",
    )


def _clock(ahead: float, took: float) -> Look:
    if abs(ahead) <= 1 + took:
        return Look("clock", "ok", "the service's clock agrees with this machine's")
    return Look(
        "clock",
        "note",
        f"the service's clock is {ahead:+.1f} seconds from this machine's: correct this one, "
        "because services refuse requests from 900 seconds on, and presigned URLs expire too early "
        "or too late",
    )


def _rights(store: ObjectStore, found: StoredFile | None) -> list[Look]:
    """Check the rights to write, read and delete. `found`: a file of the lake to read, if there is
    one."""
    beside = isinstance(store, LocalStore) and found is None
    path = f"{'' if beside else 'objects/'}{os.urandom(8).hex()}.probe"
    delete = _try("delete", lambda: store.delete([path]))
    if delete.state == "wrong":
        detail = "not tested, because without the right to delete the file would stay"
        return [Look("write", "note", detail), *_read(store, found), delete]
    looks = []
    try:
        content = os.urandom(_PROBE_BYTES)
        looks.append(_try("write", lambda: store.write(path, content)))
        if looks[0].state == "wrong":
            looks += _read(store, found)
        else:
            looks.append(_try("read", lambda: _same(store, path, content)))
            if isinstance(store, CloudStore):
                looks.append(_conditions(store, path))
    finally:
        delete = _try("delete", lambda: store.delete([path]))
    if delete.state == "wrong":
        delete = delete._replace(detail=f"{delete.detail}; delete {store.uri(path)} by hand")
    return [*looks, delete]


def _try(check: str, act: Callable[[], object]) -> Look:
    begin = time.perf_counter()
    try:
        act()
    except LakebedError as error:
        return Look(check, "wrong", str(error))
    return Look(check, "ok", _took(begin))


def _took(begin: float) -> str:
    return f"in {(time.perf_counter() - begin) * 1000:.1f} ms"


def _same(store: ObjectStore, path: str, content: bytes) -> None:
    """Read the file at `path`. Raises StorageError unless it has this content."""
    try:
        found = store.read(path)
    except FileNotFoundError:
        raise StorageError(f"{store.uri(path)} is missing after it was written") from None
    if found != content:
        raise StorageError(f"{store.uri(path)} differs from what was written")


def _read(store: ObjectStore, found: StoredFile | None) -> list[Look]:
    """Read a byte of a file of the lake. The result is empty if there is no file."""
    if found is None:
        return []
    try:
        return [_try("read", lambda: store.read(found.path, 0, 1))]
    except FileNotFoundError:  # deleted meanwhile
        return []


def _conditions(store: CloudStore, path: str) -> Look:
    """Check whether the service refuses a conditional write to a path that exists."""
    try:
        honoured = not store.write_new(path, os.urandom(_PROBE_BYTES))
    except LakebedError as error:
        return Look("conditions", "note", f"{error}. {_NEEDLESS}")
    if honoured:
        return Look("conditions", "ok", "conditional writes are honoured")
    return Look("conditions", "note", f"conditional writes are not honoured. {_NEEDLESS}")


_NEEDLESS = "Lakebed does not need them, because it uses no name twice"
