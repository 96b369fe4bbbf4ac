"""Many tasks at once; whatever was acknowledged is there."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from lakebed import aio
from lakebed.errors import ConflictError
from tests.aio.conftest import Run

WRITER = """
import asyncio, sys, lakebed.aio

async def main():
    async with lakebed.aio.open(sys.argv[1]) as lake:
        async def work(task):
            number = 0
            while True:
                number += 1
                await lake.store(f"t{task}", number)
                print(task, number, flush=True)
        await asyncio.gather(*map(work, range(200)))

asyncio.run(main())
"""


def test_a_thousand_tasks(run: Run, where: dict[str, Any], soak: bool) -> None:
    """Each keeps a counter of its own and raises a few shared ones by `if_match`."""
    tasks, rounds = 1000, 20 if soak else 1

    async def main() -> None:
        async with aio.open(**where) as lake:
            await lake.update({f"shared/{n}": 0 for n in range(200)})
            raised = dict.fromkeys(range(200), 0)
            longest = 0.0

            async def watch() -> None:
                nonlocal longest
                while True:
                    before = time.perf_counter()
                    await asyncio.sleep(0.001)
                    longest = max(longest, time.perf_counter() - before)

            async def work(task: int) -> None:
                for number in range(1, rounds + 1):
                    await lake.store(f"own/{task:04}", number)
                    assert await lake.retrieve(f"own/{task:04}") == number
                    shared = random.randrange(200)
                    await _raise(lake, f"shared/{shared}")
                    raised[shared] += 1
                    async with lake.transaction() as tx:
                        tx.store(f"both/{task:04}/a", number)
                        tx.store(f"both/{task:04}/b", number)

            watching = asyncio.create_task(watch())
            await asyncio.gather(*map(work, range(tasks)))
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            assert await lake.values() == [
                *([rounds] * (2 * tasks)),
                *([rounds] * tasks),
                *(raised[n] for n in sorted(range(200), key=str)),
            ]
            assert sum(raised.values()) == tasks * rounds
            assert longest < 5, "the loop stood still"

    run(main(), debug=False)  # which makes each task three times as slow


async def _raise(lake: aio.AsyncLake, key: str) -> None:
    while True:
        entry = await lake.entry(key)
        assert entry is not None
        try:
            await lake.store(key, entry.value + 1, if_match=entry.content_hash)
        except ConflictError:
            continue
        return


def test_a_killed_process_has_lost_nothing_that_it_acknowledged(
    run: Run, tmp_path: Path, soak: bool
) -> None:
    async def check(acknowledged: dict[str, int]) -> None:
        async with aio.open(tmp_path / "lake") as lake:
            found = dict(await lake.items())
            for key, number in acknowledged.items():
                assert found[key] >= number, key
            assert (await lake.verify()).problems == []

    for number in range(20 if soak else 2):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, tmp_path / "lake"], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        acknowledged = {}
        for line in process.stdout:
            task, value = line.split()
            acknowledged[f"t{task}"] = int(value)
            if len(acknowledged) == 200 and int(value) > 3 + number:
                process.send_signal(signal.SIGKILL)
                break
        process.stdout.close()
        process.wait()
        run(check(acknowledged))
