"""The threads behind the coroutines."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

from lakebed import aio
from lakebed.aio.calls import perform
from lakebed.aio.crew import Crew
from lakebed.aio.workers import Workers
from tests.aio.conftest import Run
from tests.lake.processes import run_alone


def names(kind: str) -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == kind]


def test_no_more_at_a_time_than_the_limit(run: Run) -> None:
    async def main() -> None:
        workers = Workers(3, "lakebed-aio")
        running = most = 0
        lock = threading.Lock()

        def work() -> None:
            nonlocal running, most
            with lock:
                running += 1
                most = max(most, running)
            time.sleep(0.002)
            with lock:
                running -= 1

        await asyncio.gather(*(perform(workers, work) for _ in range(60)))
        assert most == 3
        assert len(names("lakebed-aio")) == 3
        for thread in workers.end():
            thread.join()

    run(main())


def test_one_task_takes_one_thread(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with aio.open(tmp_path / "lake") as lake:
            for n in range(300):
                await lake.store("a", n)
            assert len(names("lakebed-aio")) <= 2

    run(main())


def test_long_calls_leave_room_for_single_ones(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with aio.open(tmp_path / "lake", max_workers=2) as lake:
            go_on = asyncio.Event()

            async def entries() -> Any:
                await go_on.wait()
                yield {"key": "k", "value": 1}

            batches = [asyncio.create_task(lake.store_batch(entries())) for _ in range(6)]
            await asyncio.sleep(0.05)
            async with asyncio.timeout(20):
                await lake.store("a", 1)
                assert [row async for row in lake.sql("SELECT count(*) FROM entries")] == [(1,)]
            go_on.set()
            await asyncio.gather(*batches)
            assert await lake.count() == 2

    run(main())


def test_results_are_not_kept(run: Run) -> None:
    """A thread that waits for its next job does not hold on to what the last one gave."""
    import weakref

    class Result:
        pass

    async def main() -> None:
        crew = Crew(1)
        result = await perform(crew.single, Result)
        seen = weakref.ref(result)
        del result
        await perform(crew.single, lambda: None)
        assert seen() is None
        await crew.close(lambda: None)

    run(main())


FORKS = """
import asyncio, os, sys, warnings
import lakebed, lakebed.aio
warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of threads and forks

async def work(lake, name):
    await asyncio.gather(*(lake.store(f"{name}/{n}", n) for n in range(50)))
    return await lake.count()

async def opened():
    return await lakebed.aio.open(folder + "/lake")

lake = asyncio.run(opened())
asyncio.run(work(lake, "before"))
for child in range(3):
    pid = os.fork()
    if pid == 0:
        import signal
        signal.alarm(60)
        try:
            asyncio.run(work(lake, f"child{child}"))
            asyncio.run(lake.close())
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    asyncio.run(work(lake, f"parent{child}"))
    assert os.waitpid(pid, 0)[1] == 0
print(asyncio.run(work(lake, "after")))
asyncio.run(lake.close())
"""


def test_parent_and_child_after_a_fork(tmp_path: Path) -> None:
    assert run_alone(FORKS, tmp_path).split() == ["400"]
