"""Upload local files and streams in parts."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from typing import BinaryIO, NamedTuple

from lakebed.errors import LakebedError, NotFoundError, StorageError, ValidationError
from lakebed.model import Progress
from lakebed.objects.files.store import Condition, FileRow, FileStore, Headers, PartedUpload

SMALL_BYTES = 5 << 20
"""A file of up to this many bytes is uploaded in one request."""
PART_BYTES = 8 << 20
"""The default size of a part, in bytes."""
_MAX_PARTS = 10_000  # the limit of S3

Source = str | os.PathLike[str] | BinaryIO
Chunk = Callable[[], bytes]


class _Input(NamedTuple):
    """What is uploaded: its size if known, and a function that gives its chunks of a given size."""

    size: int | None
    chunks: Callable[[int], Iterator[Chunk]]


def upload(
    store: FileStore,
    path: str,
    file: Source,
    headers: Headers,
    condition: Condition,
    part_size: int,
    progress: Progress | None,
) -> FileRow:
    """Upload a file: in one request if it is small, otherwise in parts."""
    with _opened(file) as source:
        if source.size is not None:
            part_size = max(part_size, -(-source.size // _MAX_PARTS))
        small = max(SMALL_BYTES, part_size) if source.size is None else SMALL_BYTES
        chunks = source.chunks(small if source.size is None else part_size)
        if source.size is not None and source.size > small:
            return _in_parts(store, path, source, chunks, headers, condition, part_size, progress)
        first = next(chunks, bytes)()
        if source.size is None and len(first) == small:
            return _in_parts(
                store, path, source, _after(first, chunks), headers, condition, small, progress
            )
        row = store.put(path, first, headers, condition)
        if progress is not None:
            progress(len(first), len(first))
        return row


def _after(first: bytes, chunks: Iterator[Chunk]) -> Iterator[Chunk]:
    yield lambda: first
    yield from chunks


def _in_parts(
    store: FileStore,
    path: str,
    source: _Input,
    chunks: Iterator[Chunk],
    headers: Headers,
    condition: Condition,
    part_size: int,
    progress: Progress | None,
) -> FileRow:
    parts = store.begin(path, source.size, part_size, headers, condition)
    try:
        _send(parts, chunks, source.size, progress)
        return parts.complete()
    except BaseException:
        with suppress(LakebedError):  # the caller gets the first error; `cleanup` finds the upload
            parts.abort()
        raise


def _send(
    parts: PartedUpload, chunks: Iterator[Chunk], size: int | None, progress: Progress | None
) -> None:
    """Send the chunks, `width` at a time, and report the progress after each."""
    done = 0
    pending: set[Future[int]] = set()

    def send(number: int, chunk: Chunk) -> int:
        data = chunk()
        parts.send(number, data)
        return len(data)

    def settle(most: int) -> None:
        nonlocal pending, done
        while len(pending) > most:
            ended, pending = wait(pending, return_when=FIRST_COMPLETED)
            for future in ended:
                done += future.result()
                if progress is not None:
                    progress(done, size)

    with ThreadPoolExecutor(parts.width, "lakebed-upload") as pool:
        try:
            for number, chunk in enumerate(chunks):
                settle(parts.width - 1)
                pending.add(pool.submit(send, number, chunk))
            settle(0)
        except BaseException:
            pool.shutdown(cancel_futures=True)  # waits, so that no part arrives after the abort
            raise


@contextmanager
def _opened(file: Source) -> Iterator[_Input]:
    if isinstance(file, (str, os.PathLike)):
        try:
            handle = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise NotFoundError(f"there is no local file {os.fspath(file)!r}") from None
        except OSError as error:
            raise StorageError(f"cannot read {os.fspath(file)!r}: {error.strerror}") from None
        try:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                raise ValidationError(f"file {os.fspath(file)!r} must be a file")
            size = status.st_size
            yield _Input(size, lambda step: _ranges(handle, size, step))
        finally:
            os.close(handle)
        return
    if not hasattr(file, "read"):
        raise ValidationError(
            f"file must be a local path or a binary file, got {type(file).__name__}"
        )
    yield _Input(None, lambda step: _pieces(file, step))


def _ranges(handle: int, size: int, step: int) -> Iterator[Chunk]:
    def chunk(start: int) -> Chunk:
        return lambda: _range(handle, start, min(start + step, size))

    return (chunk(start) for start in range(0, size, step))


def _range(handle: int, start: int, end: int) -> bytes:
    parts = []
    while start < end:
        data = os.pread(handle, end - start, start)
        if not data:
            raise StorageError("the local file became shorter while it was uploaded")
        parts.append(data)
        start += len(data)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _pieces(file: BinaryIO, step: int) -> Iterator[Chunk]:
    """Yield a stream in pieces of `step` bytes, although one read may return fewer."""
    while True:
        parts: list[bytes] = []
        wanted = step
        while wanted:
            data = file.read(wanted)
            if not isinstance(data, (bytes, bytearray)):
                raise ValidationError("file must be opened in binary mode: it gives no bytes")
            if not data:
                break
            parts.append(bytes(data))
            wanted -= len(data)
        piece = parts[0] if len(parts) == 1 else b"".join(parts)
        if piece:
            yield lambda piece=piece: piece  # type: ignore[misc]
        if wanted:
            return
