"""Work of another process: `python -m tests.sessions.worker PLACE LEASE [die]`.

Claims tasks for the agent `w` until a line comes on standard input, and prints the task of each
claim before it ends it. With `die`, it never ends one: it waits to be killed.
"""

from __future__ import annotations

import select
import sys
import time

from lakebed.errors import ConflictError
from lakebed.sessions import Task
from tests.sessions.backends import open_sessions


def main(where: str, lease: str, *how: str) -> None:
    with open_sessions(where) as manager:
        manager.count_tasks()  # connected
        print("ready", flush=True)
        sys.stdin.readline()
        number = 0
        while not select.select([sys.stdin], [], [], 0)[0]:
            task = manager.claim_task("w", lease=float(lease))
            if task is None:
                if not how:
                    return
                time.sleep(0.02)
                continue
            number += 1
            print(task.id, task.priority, int(task.created.timestamp() * 1e6), flush=True)
            try:
                end(task, number, *how)
            except ConflictError:
                if not how:
                    raise
                # On a busy machine a short lease runs out, and another worker has the task.


def end(task: Task, number: int, *how: str) -> None:
    if how == ("fails",) and number % 3 == 0:
        task.fail("a third time")
    elif how == ("die",):
        task.start()
        time.sleep(0.005)
        task.complete(number)
    else:
        task.complete(number)


if __name__ == "__main__":
    main(*sys.argv[1:])
