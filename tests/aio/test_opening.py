"""Opening and closing an asynchronous lake, its event loops, and what it loads."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import lakebed
from lakebed import aio
from lakebed.errors import (
    ConfigurationError,
    LakebedError,
    ValidationError,
)
from tests.aio.conftest import Run


def test_several_loops_share_a_lake(tmp_path: Path) -> None:
    lake = asyncio.run(_opened(tmp_path / "lake"))
    errors: list[BaseException] = []

    async def work(thread: int) -> None:
        await asyncio.gather(*(lake.store(f"{thread}/{n}", n) for n in range(50)))

    def thread(number: int) -> None:
        try:
            asyncio.run(work(number))
            asyncio.run(work(number))
        except BaseException as error:  # noqa: BLE001 - judged below
            errors.append(error)

    threads = [threading.Thread(target=thread, args=(n,)) for n in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert not errors
    assert asyncio.run(_counted(lake)) == 200
    asyncio.run(lake.close())


async def _opened(folder: Path) -> aio.AsyncLake:
    return await aio.open(folder)


async def _counted(lake: aio.AsyncLake) -> int:
    return await lake.count()


def test_without_asyncio_it_says_so(tmp_path: Path) -> None:
    lake = aio.AsyncLake(lakebed.open(tmp_path / "lake"))
    call = lake.store("a", 1)
    with pytest.raises(RuntimeError, match="asyncio's event loop"):
        call.send(None)
    asyncio.run(lake.close())


def test_opening_fails_as_ever(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        (tmp_path / "file").write_text("x")
        with pytest.raises(ConfigurationError, match="is a file"):
            await aio.open(tmp_path / "file")
        with pytest.raises(ConfigurationError, match="is a file"):
            async with aio.open(tmp_path / "file"):
                pass
        with pytest.raises(ValidationError, match="max_workers"):
            await aio.open(tmp_path / "lake", max_workers=0)

    run(main())


def test_closing(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        lake = await aio.open(tmp_path / "lake")
        stores = [asyncio.create_task(lake.store(f"k{n}", n)) for n in range(200)]
        await asyncio.sleep(0)  # all are on their way
        await asyncio.gather(lake.close(), lake.close())
        assert all([(await store).created for store in stores])
        for call in (lake.store("a", 1), lake.count(), lake.store_batch([])):
            with pytest.raises(LakebedError, match="closed"):
                await call
        with pytest.raises(LakebedError, match="closed"):
            await lake.list()
        await lake.close()
        async with aio.open(tmp_path / "lake") as again:
            assert await again.count() == 200

    run(main())


def test_a_forgotten_lake_ends_its_threads(tmp_path: Path) -> None:
    async def main() -> None:
        lake = await aio.open(tmp_path / "lake")
        await lake.store("a", 1)

    asyncio.run(main())
    for thread in threading.enumerate():
        if thread.name.startswith("lakebed-aio"):
            thread.join(5)
            assert not thread.is_alive()


def test_a_lazy_configuration_connects_in_a_thread(run: Run, tmp_path: Path) -> None:
    settings = {"backend": "ducklake", "path": str(tmp_path / "lake"), "lazy": True}

    async def main() -> None:
        async with aio.open(settings) as lake:
            assert not (tmp_path / "lake" / "catalog.db").exists() or lake.name
            async with lake.transaction() as tx:
                tx.store("a", 1)
            assert await lake.retrieve("a") == 1
            assert "catalog.db" in repr(lake)

    run(main())


def test_it_loads_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys, lakebed\n"
        "assert not {'asyncio', 'lakebed.aio'} & set(sys.modules)\n"
        "lakebed.aio\n"
        "import asyncio\n"
        "async def main():\n"
        "    async with lakebed.aio.open('lake') as lake:\n"
        "        await lake.store('a', {'b': 1})\n"
        "        assert await lake.retrieve('a') == {'b': 1}\n"
        "asyncio.run(main())\n"
        "print(*{name.partition('.')[0] for name in sys.modules})\n"
    )
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-X", "dev", "-c", code],
        cwd=tmp_path, text=True, capture_output=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert not ran.stderr
    assert not {"duckdb", "ibis", "numpy", "pandas", "pyarrow", "pydantic"} & set(
        ran.stdout.split()
    )
