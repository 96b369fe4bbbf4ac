"""Files under paths, for coroutines: the same calls, awaited."""

from __future__ import annotations

import io
from typing import Any

from lakebed.aio.calls import perform
from lakebed.aio.crew import Closing, Crew, Face, call, reporting
from lakebed.aio.ltm import reported
from lakebed.aio.opening import Opening, start
from lakebed.files import BlobStorage, Files, create_blob_storage

_FAR = 32  # threads; they wait for a bucket most of the time


class AsyncFiles(Face[Files]):
    """The calls of `Files`, awaited. They raise errors. Use it as `AsyncBlobStorage.files`."""

    upload = call(Files.upload)
    upload_file = reporting(Files.upload_file)
    download = call(Files.download, reads=True)
    fetch = call(Files.fetch, reads=True)
    download_file = reporting(Files.download_file)
    delete = call(Files.delete)
    delete_many = call(Files.delete_many, long=True)
    exists = call(Files.exists, reads=True)
    info = call(Files.info, reads=True)
    list = call(Files.list, reads=True)
    copy = call(Files.copy, long=True)
    move = call(Files.move, long=True)
    presign = call(Files.presign, reads=True)
    lifecycle = call(Files.lifecycle, reads=True)
    set_lifecycle = call(Files.set_lifecycle)
    cleanup = call(Files.cleanup, long=True)


class AsyncBlobStorage(Face[BlobStorage], Closing):
    """Files for coroutines: the calls of `BlobStorage`, awaited. Results are dictionaries.

    `create_async_blob_storage` makes one, and `AsyncBlobStorage(storage)` makes one over an open
    storage. Closing this object closes that storage. `max_workers`: the most calls that run at a
    time, 32 by default. The attribute `files` has the same calls, but they raise errors. Reading a
    file object that `open` returns blocks the loop.
    """

    def __init__(self, storage: BlobStorage, *, max_workers: int | None = None) -> None:
        self._begin(Crew(max_workers or _FAR), storage)

    def _begin(self, crew: Crew, storage: BlobStorage) -> None:
        super().__init__(crew, lambda: storage)
        self._storage = storage
        self.files = AsyncFiles(crew, lambda: storage.files)

    upload = reported(call(BlobStorage.upload))
    upload_file = reported(reporting(BlobStorage.upload_file))
    download = reported(call(BlobStorage.download, reads=True))
    download_file = reported(reporting(BlobStorage.download_file))
    delete = reported(call(BlobStorage.delete))
    delete_many = reported(call(BlobStorage.delete_many, long=True))
    exists = reported(call(BlobStorage.exists, reads=True))
    info = reported(call(BlobStorage.info, reads=True))
    list = reported(call(BlobStorage.list, reads=True))
    copy = reported(call(BlobStorage.copy, long=True))
    move = reported(call(BlobStorage.move, long=True))
    presign = reported(call(BlobStorage.presign, reads=True))
    lifecycle = reported(call(BlobStorage.lifecycle, reads=True))
    set_lifecycle = reported(call(BlobStorage.set_lifecycle))
    cleanup = reported(call(BlobStorage.cleanup, long=True))

    async def open(self, path: str, mode: str = "rb") -> io.BufferedReader:
        """Open a file for reading, as `BlobStorage.open` does. This call raises its errors."""
        return await perform(
            self._crew.single,
            lambda: self._storage.open(path, mode),
            reads=True,
            discard=lambda left: left.close(),
        )

    async def close(self) -> None:
        """Wait for the running calls, then close all connections. Later calls fail. Closing again
        does nothing."""
        await self._crew.close(self._storage.close)

    def __repr__(self) -> str:
        return f"<AsyncBlobStorage over {self._storage!r}>"


def create_async_blob_storage(
    type: str,  # noqa: A002
    *,
    max_workers: int | None = None,
    **options: Any,
) -> Opening[AsyncBlobStorage]:
    """Make a storage for coroutines, by its type.

        async with create_async_blob_storage("local", root="files") as storage:
            await storage.upload("a.txt", "text")

        storage = await create_async_blob_storage("local", root="files")  # close it yourself

    The types, options and errors are those of `lakebed.files.create_blob_storage`. `max_workers`:
    the most calls that run at a time, 32 by default.
    """

    async def begin() -> AsyncBlobStorage:
        crew, storage = await start(
            max_workers or _FAR, lambda: create_blob_storage(type, **options)
        )
        made = AsyncBlobStorage.__new__(AsyncBlobStorage)
        made._begin(crew, storage)
        return made

    return Opening(begin)
