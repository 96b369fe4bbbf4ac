"""A lake across fork and spawn. Each test forks in a process of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

import lakebed
from tests.lake.processes import run_alone

TOGETHER = """
import os, signal, sys, threading, warnings
import lakebed
warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of threads and forks

def forked(work):
    '''Run in a child, which must end well within a minute.'''
    pid = os.fork()
    if pid:
        return pid
    signal.alarm(60)
    try:
        work()
    except BaseException as error:
        print(repr(error), file=sys.stderr, flush=True)
        os._exit(1)
    os._exit(0)

def ended(pid):
    status = os.waitpid(pid, 0)[1]
    assert status == 0, f"the child ended with {status}"
"""


def test_parent_and_child_both_write(tmp_path: Path) -> None:
    code = """
with lakebed.open(folder + "/lake") as lake:
    lake.store("before", 1)
    def work():
        assert lake["before"] == 1
        for n in range(50):
            lake.store(f"child/{n}", "x" * n * 200)
    pid = forked(work)
    for n in range(50):
        lake.store(f"parent/{n}", "x" * n * 200)
    ended(pid)
    assert len(lake) == 101
"""
    run_alone(TOGETHER + code, tmp_path)
    with lakebed.open(tmp_path / "lake") as lake:
        assert len(lake) == 101
        assert all(entry.value is not None for entry in lake.list())


def test_the_parent_closes_while_the_child_goes_on(tmp_path: Path) -> None:
    """Without locks of its own, the child's log would be deleted under it with its commits."""
    code = """
lake = lakebed.open(folder + "/lake")
lake.store("parent", 1)
to_child, from_parent = os.pipe(), os.pipe()
def work():
    lake.store("child/1", 1)
    os.write(from_parent[1], b"x")
    os.read(to_child[0], 1)
    lake.store("child/2", 2)
pid = forked(work)
os.read(from_parent[0], 1)
lake.close()
with lakebed.open(folder + "/lake") as other:
    other.store("other/1", 1)
os.write(to_child[1], b"x")
ended(pid)
with lakebed.open(folder + "/lake") as other:
    print(*other)
"""
    printed = run_alone(TOGETHER + code, tmp_path)
    assert printed.split() == ["child/1", "child/2", "other/1", "parent"]


@pytest.mark.parametrize("where", ["file", "memory"])
def test_forks_while_threads_work(tmp_path: Path, where: str) -> None:
    """A child must not inherit a lock that nobody will release, SQLite's own included."""
    code = f"""
lake = lakebed.open(folder + "/lake" if {where!r} == "file" else ":memory:", lock_timeout=20)
lake.store("n", 0)
stop = threading.Event()
def busy(thread):
    n = 0
    while not stop.is_set():
        lake.store(f"thread/{{thread}}", n := n + 1)
        list(lake.list())
        lake.retrieve("n")
threads = [threading.Thread(target=busy, args=(t,)) for t in range(4)]
for thread in threads:
    thread.start()
def work(n):
    assert lake["n"] == 0
    lake.store(f"child/{{n}}", n)
    assert lake[f"child/{{n}}"] == n
    with lake.transaction() as tx:
        tx.store(f"child/{{n}}/again", n)
    assert len(list(lake.list("child/"))) >= 2
for n in range(40):
    ended(forked(lambda: work(n)))
stop.set()
for thread in threads:
    thread.join()
print(len(list(lake.list("child/"))))
lake.close()
"""
    printed = run_alone(TOGETHER + code, tmp_path)
    assert int(printed) == (80 if where == "file" else 0)


def test_children_of_children(tmp_path: Path) -> None:
    code = """
with lakebed.open(folder + "/lake") as lake:
    lake.store("a", 1)
    def work():
        lake.store("child", 1)
        def deeper():
            lake.store("grandchild", 1)
        pid = forked(deeper)
        lake.store("child", 2)
        ended(pid)
    pids = [forked(work) for _ in range(3)]
    for pid in pids:
        ended(pid)
    print(dict(lake))
"""
    printed = run_alone(TOGETHER + code, tmp_path)
    assert printed.strip() == "{'a': 1, 'child': 2, 'grandchild': 1}"


def test_closed_lakes_are_no_hindrance(tmp_path: Path) -> None:
    code = """
closed = lakebed.open(folder + "/lake")
closed.store("a", 1)
closed.close()
lake = lakebed.open(folder + "/lake")
def work():
    lake.store("b", 1)
    try:
        closed.store("c", 1)
    except lakebed.LakebedError as error:
        assert "closed" in str(error)
    lake.close()
ended(forked(work))
print(*lake)
lake.close()
"""
    assert run_alone(TOGETHER + code, tmp_path).split() == ["a", "b"]


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(tmp_path: Path, method: str) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import multiprocessing, sys\n"
        "import lakebed\n"
        "def work(n):\n"
        "    with lakebed.open(sys.argv[1]) as lake:\n"
        "        lake.store(f'{n}', n)\n"
        "        return len(lake)\n"
        "if __name__ == '__main__':\n"
        "    with lakebed.open(sys.argv[1]) as lake:\n"
        "        lake.store('parent', 1)\n"
        f"        with multiprocessing.get_context({method!r}).Pool(2) as pool:\n"
        "            assert all(pool.map(work, range(10)))\n"
        "        assert len(lake) == 11\n"
    )
    run_alone(
        f"import runpy\nsys.argv = ['script.py', folder + '/lake']\n"
        f"runpy.run_path({str(script)!r}, run_name='__main__')\n"
        if method == "fork"
        else f"import subprocess\nsubprocess.run([sys.executable, {str(script)!r}, "
        "folder + '/lake'], check=True)\n",
        tmp_path,
    )
