"""Calls whose caller leaves before they have ended."""

from __future__ import annotations

import threading
from contextvars import copy_context

import pytest

from lakebed.leaving import Call, acquire, current, has_left, staying
from tests.waiting import LONG, in_time


@pytest.fixture
def call() -> Call:
    return Call()


def within(call: Call, work: object) -> object:
    """What work gives that is done for a call."""
    context = copy_context()
    context.run(current.set, call)
    return context.run(work)  # type: ignore[arg-type]


def test_who_has_left_waits_for_no_lock(call: Call) -> None:
    lock = threading.Lock()
    lock.acquire()
    threading.Timer(0.1, call.leave).start()
    with in_time():
        assert within(call, lambda: acquire(lock, LONG)) is False
    assert within(call, has_left)
    assert not has_left()
    lock.release()
    assert acquire(lock, 0.0)
    call.end()


def test_a_lock_is_waited_for_in_time(call: Call) -> None:
    lock = threading.Lock()
    lock.acquire()
    assert within(call, lambda: acquire(lock, 0.12)) is False
    assert not call.left
    threading.Timer(0.12, lock.release).start()
    assert within(call, lambda: acquire(lock, 30)) is True


def test_what_has_to_be_done_is_done(call: Call) -> None:
    call.leave()
    call.end()

    def work() -> list[bool]:
        with staying():
            inside = has_left()
        return [inside, has_left()]

    assert within(call, work) == [False, True]


def test_only_a_wait_that_goes_on_is_interrupted(call: Call) -> None:
    waits, interrupted = threading.Event(), threading.Event()
    late: list[int] = []

    def interrupt(number: int) -> None:
        if waits.is_set():
            interrupted.set()
        else:
            late.append(number)

    def work() -> None:
        for number in range(300):  # short ones, which may be interrupted while they last only
            waits.set()
            call.waits(lambda number=number: interrupt(number))  # type: ignore[misc]
            if number == 50:
                call.leave()
            call.waits(None)
            waits.clear()
        waits.set()
        call.waits(lambda: interrupt(-1))
        assert interrupted.wait(30)
        call.waits(None)
        waits.clear()
        call.end()
        for thread in threading.enumerate():
            if thread.name == "lakebed-leave":  # which looks once more
                thread.join(30)

    work()
    assert not late
