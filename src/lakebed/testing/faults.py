"""A store that fails as a test has planned."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from typing import BinaryIO, Literal, NamedTuple, TypeVar

from lakebed.errors import StorageError
from lakebed.objects.places import Site
from lakebed.objects.store import ObjectStore, Range, ReadResult, StoredFile, read_each

Fault = Literal["fail", "lose", "truncate", "delay", "crash", "late", "stale"]
FAULTS: tuple[Fault, ...] = ("fail", "lose", "truncate", "delay")  # possible for every call
DELAY_SECONDS = 0.01


_Items = TypeVar("_Items", bytes, list[str], list[StoredFile])


class Crash(BaseException):  # not an Exception, so that no error handler catches it
    """The simulated death of a process, at the call that it names."""


class Call(NamedTuple):
    """A call to a `FaultyStore`: its name, and its path (the first path of a delete)."""

    name: str
    path: str


class FaultyStore:
    """An `ObjectStore` around another one. Its calls fail as a test has planned.

    | fault | the call |
    | --- | --- |
    | `fail` | raises StorageError and does nothing |
    | `lose` | does its work, then raises StorageError, as if the answer was lost |
    | `truncate` | writes, reads or lists half and reports success; `size` halves, `delete` skips |
    | `delay` | takes 10 ms longer |
    | `crash` | raises `Crash` before it does anything, as if the process had died |
    | `late` | a write or a delete raises StorageError, but happens when `arrive` is called |
    | `stale` | a list returns the result of the previous list of this prefix, or nothing |

    `plan` chooses the calls that fail. `calls`: the calls since `plan`.
    """

    def __init__(self, inner: ObjectStore) -> None:
        self._inner = inner
        self._plan: Mapping[int, Fault] = {}
        self._under_way: list[Callable[[], None]] = []
        self._listed: dict[str, list[StoredFile]] = {}
        self.calls: list[Call] = []

    def plan(self, faults: Mapping[int, Fault] | None = None) -> None:
        """Choose faults by the number of the call: 0 is the next one. None: no call fails."""
        self._plan = faults or {}
        self.calls = []

    def arrive(self) -> None:
        """Perform the late writes and deletes now, in the order of the calls."""
        under_way, self._under_way = self._under_way, []
        for call in under_way:
            call()

    def _next(self, name: str, path: str) -> Fault | None:
        fault = self._plan.get(len(self.calls))
        self.calls.append(Call(name, path))
        if fault == "crash":
            raise Crash(f"{name} of {path}")
        if fault == "fail":
            raise StorageError(f"injected: {name} of {path} failed")
        if fault == "delay":
            time.sleep(DELAY_SECONDS)
        return fault

    def _end(self, fault: Fault | None, name: str, path: str) -> None:
        if fault in ("lose", "late"):
            raise StorageError(f"injected: no answer to {name} of {path}")

    def uri(self, path: str) -> str:
        return self._inner.uri(path)

    def site(self) -> Site:
        return self._inner.site()

    def write(self, path: str, data: bytes) -> None:
        fault = self._next("write", path)
        if fault == "late":
            self._under_way.append(lambda: self._inner.write(path, data))
        else:
            self._inner.write(path, _half(data) if fault == "truncate" else data)
        self._end(fault, "write", path)

    @contextmanager
    def open_write(self, path: str) -> Iterator[BinaryIO]:
        fault = self._next("open_write", path)
        if fault == "late":
            held = BytesIO()
            yield held
            self._under_way.append(lambda: self._inner.write(path, held.getvalue()))
        else:
            with self._inner.open_write(path) as file:
                yield file
                if fault == "truncate":
                    file.truncate(file.tell() // 2)
        self._end(fault, "open_write", path)

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        fault = self._next("read", path)
        data = self._inner.read(path, offset, length)
        self._end(fault, "read", path)
        return _half(data) if fault == "truncate" else data

    def read_many(self, ranges: Sequence[Range]) -> list[ReadResult]:
        return read_each(self, ranges)

    def size(self, path: str) -> int:
        fault = self._next("size", path)
        size = self._inner.size(path)
        self._end(fault, "size", path)
        return size // 2 if fault == "truncate" else size

    def delete(self, paths: Iterable[str]) -> None:
        paths = list(paths)
        first = paths[0] if paths else ""
        fault = self._next("delete", first)
        if fault == "late":
            self._under_way.append(lambda: self._inner.delete(paths))
        else:
            self._inner.delete(_half(paths) if fault == "truncate" else paths)
        self._end(fault, "delete", first)

    def list(self, prefix: str) -> Iterator[StoredFile]:
        fault = self._next("list", prefix)
        before, files = self._listed.get(prefix, []), list(self._inner.list(prefix))
        self._listed[prefix] = files
        if fault == "stale":
            files = before
        yield from _half(files) if fault == "truncate" else files
        self._end(fault, "list", prefix)

    def abandon_uploads(self, before: int) -> int:
        return self._inner.abandon_uploads(before)

    def close(self) -> None:
        self._inner.close()


def _half(items: _Items) -> _Items:
    return items[: len(items) // 2]
