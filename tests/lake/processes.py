"""Running Python text in processes of its own, together."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

WAIT = """
import os, sys, time
folder, number = sys.argv[1], int(sys.argv[2])
open(f"{folder}/ready-{number}", "w").close()
while not os.path.exists(f"{folder}/go"):
    time.sleep(0.001)
"""


def run_together(code: str, folder: Path, processes: int, before: str = "") -> Sequence[str]:
    """Run `code` in several processes at one moment, with `folder` and `number` (from 0) as names;
    what each printed. `before` is run in each process before that moment."""
    running = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", f"{before}\n{WAIT}\n{code}", folder, str(number)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(processes)
    ]
    try:
        while len(list(folder.glob("ready-*"))) < processes:
            for process in running:
                assert process.poll() is None, process.communicate()
            time.sleep(0.001)
        (folder / "go").touch()
        said = [process.communicate(timeout=300) for process in running]
    finally:
        for process in running:
            process.kill()  # does nothing to one that has ended
    errors = [f"{process.args}: {err}" for process, (_, err) in zip(running, said, strict=True)]
    assert [process.returncode for process in running] == [0] * processes, "\n".join(errors)
    return [out for out, _ in said]


def run_alone(code: str, folder: Path, *, timeout: float = 120) -> str:
    """Run `code` in one process, with `folder` as a name; what it printed."""
    ran = subprocess.run(
        [sys.executable, "-c", f"import sys\nfolder = sys.argv[1]\n{code}", folder],
        capture_output=True,
        check=False,
        text=True,
        timeout=timeout,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    """A process that runs `code`, with pipes to and from it."""
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
