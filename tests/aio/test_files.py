"""Files for coroutines."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from lakebed.aio import AsyncBlobStorage, create_async_blob_storage
from lakebed.errors import ConfigurationError, NotFoundError
from lakebed.files import BlobStorage, create_blob_storage
from lakebed.testing import BlobStorageConformance
from tests.aio import driver
from tests.aio.conftest import Run
from tests.aio.driver import close_loops


class Driven:
    """A storage whose every call is a run of an event loop."""

    def __init__(self, storage: Any) -> None:
        self._storage = storage

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **options: driver.run(getattr(self._storage, name)(*args, **options))

    @property
    def files(self) -> Any:
        return Driven(self._storage.files)

    def __enter__(self) -> Driven:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class TestAsyncFiles(BlobStorageConformance):
    gaps = {  # noqa: RUF012
        "presigning": "there is no service that could take a URL",
        "transitions": "there is one storage class",
        "a file and a folder of one name": "a folder of the disk has one or the other",
    }

    @pytest.fixture(autouse=True)
    def _loops(self) -> Iterator[None]:
        yield
        close_loops()

    def open_storage(self, folder: Path) -> BlobStorage:
        async def make() -> AsyncBlobStorage:
            return await create_async_blob_storage("local", root=folder)

        return cast(BlobStorage, Driven(driver.run(make())))


def test_a_storage_for_coroutines(run: Run, tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []

    async def report(done: int, total: int | None) -> None:
        told.append((done, total))

    async def work() -> None:
        async with create_async_blob_storage("local", root=tmp_path) as storage:
            results = await asyncio.gather(
                *(storage.upload("one", str(n), if_absent=True) for n in range(10))
            )
            assert sum(result["success"] for result in results) == 1
            assert (await storage.upload("../x", b"x"))["error_type"] == "validation_error"
            assert (await storage.upload_file("self", __file__, progress=report))["success"]
            with await storage.open("self") as file:
                assert file.read() == Path(__file__).read_bytes()
            with pytest.raises(NotFoundError):
                await storage.files.info("absent")
            with pytest.raises(NotFoundError):
                await storage.open("absent")
        assert (await storage.info("one"))["success"] is False
        with pytest.raises(ConfigurationError):
            await create_async_blob_storage("s4")
        over = AsyncBlobStorage(create_blob_storage("memory"), max_workers=2)
        assert repr(over) == "<AsyncBlobStorage over <MemoryBlobStorage memory>>"
        await over.close()

    run(work())
    size = Path(__file__).stat().st_size
    assert told == [(size, size)]
