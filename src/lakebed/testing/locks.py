"""The suite for locks: `LockConformance`."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from typing import Any, ClassVar, Protocol

import pytest

from lakebed.errors import LockLostError, LockTimeoutError, ValidationError
from lakebed.locks import Lock
from lakebed.testing.clock import FakeClock


class Make(Protocol):
    """A function that makes a lock in the place of the test."""

    def __call__(self, name: str = "a", ttl: float | timedelta = 60) -> Lock: ...


class LockConformance(ABC):
    """The tests of a kind of lock.

    A subclass implements `create`, and defines the fixture `place`: where the locks of one test are
    kept. The value of the fixture is the first argument of `create`.

    `takes_clock`: whether `create` takes a `clock` that decides when a time to live has passed.
    Otherwise a server's own clock decides, and the tests wait for `ttl` seconds.
    """

    takes_clock: ClassVar[bool] = True
    ttl: ClassVar[float] = 2.0
    """The time to live, in seconds, of locks that the tests let expire."""
    names: ClassVar[tuple[str, ...]] = (
        "a", "A", "a/b", "../a", "ä", "a'\"; --", "%_", " ", "é" * 127, "a\nb", ".", "{a}",
    )  # fmt: skip
    workers: ClassVar[int] = 6
    turns: ClassVar[int] = 10

    @abstractmethod
    def create(self, place: Any, name: str, ttl: float | timedelta, **options: Any) -> Lock:
        """Return a lock with this name. `place`: the value of the fixture. `ttl`: the time to live
        in seconds. `options` has `clock` if `takes_clock` is True."""

    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock()

    @pytest.fixture
    def make(self, place: Any, clock: FakeClock) -> Iterator[Make]:
        given = {"clock": clock} if self.takes_clock else {}
        with ExitStack() as made:

            def lock(name: str = "a", ttl: float | timedelta = 60) -> Lock:
                one = self.create(place, name, ttl, **given)
                made.callback(one.close)
                return one

            yield lock

    @pytest.fixture
    def wait(self, clock: FakeClock) -> Callable[[float], None]:
        return clock.advance if self.takes_clock else time.sleep

    def test_one_owner_at_a_time(self, make: Make) -> None:
        first, second = make(), make()
        assert (first.is_held, first.token, first.remaining_ttl) == (False, None, 0)
        token = first.acquire(timeout=0)
        assert (first.is_held, first.token) == (True, token)
        assert 0 < first.remaining_ttl <= 60
        with pytest.raises(LockTimeoutError, match="'a' was not free within 0 seconds"):
            second.acquire(timeout=0)
        assert (second.is_held, second.token) == (False, None)
        assert first.release() is True
        assert (first.is_held, first.token, first.remaining_ttl) == (False, None, 0)
        assert second.acquire(timeout=0) > token
        assert second.is_held

    def test_it_is_not_reentrant(self, make: Make) -> None:
        lock = make()
        lock.acquire()
        with pytest.raises(LockTimeoutError):
            lock.acquire(timeout=0.05)
        assert lock.is_held

    def test_tokens_grow(self, make: Make, wait: Callable[[float], None]) -> None:
        tokens = []
        for turn in range(5):
            lock = make(ttl=self.ttl)
            tokens.append(lock.acquire(timeout=0))
            if turn == 2:
                wait(self.ttl * 1.2)  # as if this owner had crashed
            else:
                lock.release()
        assert tokens == sorted(set(tokens))
        assert tokens[0] >= 1

    def test_a_crashed_owners_lock_is_free_after_its_ttl(
        self, make: Make, wait: Callable[[float], None]
    ) -> None:
        first, second = make(ttl=self.ttl), make(ttl=self.ttl)
        old = first.acquire()
        wait(self.ttl * 0.5)
        with pytest.raises(LockTimeoutError):
            second.acquire(timeout=0)
        wait(self.ttl * 0.7)
        assert (first.is_held, first.remaining_ttl, first.token) == (False, 0, old)
        assert second.acquire(timeout=0) > old
        with pytest.raises(LockLostError, match="'a' was lost") as caught:
            first.refresh()
        assert caught.value.error_type == "lock_lost"
        assert first.release() is False
        assert second.is_held
        with pytest.raises(LockTimeoutError):
            first.acquire(timeout=0)

    def test_what_has_passed_is_not_refreshed(
        self, make: Make, wait: Callable[[float], None]
    ) -> None:
        lock = make(ttl=self.ttl)
        lock.acquire()
        wait(self.ttl * 1.2)
        with pytest.raises(LockLostError):
            lock.refresh()
        with pytest.raises(LockLostError, match="acquire it first"):
            lock.refresh()
        assert lock.release() is False
        lock.acquire(timeout=0)

    def test_refresh_begins_the_time_anew(self, make: Make, wait: Callable[[float], None]) -> None:
        first, second = make(ttl=self.ttl), make(ttl=self.ttl)
        token = first.acquire()
        for _ in range(3):
            wait(self.ttl * 0.6)
            first.refresh()
            assert first.token == token
            assert first.remaining_ttl > self.ttl * 0.7
        with pytest.raises(LockTimeoutError):
            second.acquire(timeout=0)
        wait(self.ttl * 1.2)
        second.acquire(timeout=0)

    def test_what_was_not_acquired(self, make: Make) -> None:
        holder, lock = make(), make()
        holder.acquire()
        assert lock.release() is False
        with pytest.raises(LockLostError, match="is not held"):
            lock.refresh()
        assert holder.is_held
        with pytest.raises(LockTimeoutError):
            lock.acquire(timeout=0)

    def test_a_block(self, make: Make, wait: Callable[[float], None]) -> None:
        lock, other = make(ttl=self.ttl), make(ttl=self.ttl)
        with lock as held:
            assert held is lock
            assert lock.remaining_ttl > 0
            with pytest.raises(LockTimeoutError):
                other.acquire(timeout=0)
        assert not lock.is_held
        with pytest.raises(KeyError, match="mine"), lock:
            raise KeyError("mine")
        with pytest.raises(LockLostError, match="was lost"), lock:
            wait(self.ttl * 1.2)
        assert other.acquire(timeout=0)

    def test_names(self, make: Make) -> None:
        locks = [make(name) for name in self.names]
        for lock in locks:
            lock.acquire(timeout=0)
        for name in self.names:
            with pytest.raises(LockTimeoutError):
                make(name).acquire(timeout=0)

    @pytest.mark.parametrize("name", ["", None, 5, "a\0b", "x" * 256, "\ud800"])
    def test_malformed_names(self, make: Make, name: Any) -> None:
        with pytest.raises(ValidationError, match="name"):
            make(name)

    @pytest.mark.parametrize("ttl", [0, -1, None, "5", True, float("nan"), 1e12])
    def test_malformed_ttls(self, make: Make, ttl: Any) -> None:
        with pytest.raises(ValidationError, match="ttl"):
            make(ttl=ttl)

    def test_times(self, make: Make) -> None:
        lock = make(ttl=timedelta(minutes=2))
        lock.acquire(timeout=timedelta(seconds=1))
        assert 60 < lock.remaining_ttl <= 120
        for timeout in (-1, None, "5", True):
            with pytest.raises(ValidationError, match="timeout"):
                lock.acquire(timeout=timeout)  # type: ignore[arg-type]

    def test_who_waits_gets_it(self, make: Make) -> None:
        first, second = make(), make()
        first.acquire()
        release = threading.Timer(0.3, first.release)
        release.start()
        second.acquire(timeout=20)
        release.join()
        assert second.is_held

    def test_threads_take_turns(self, make: Make) -> None:
        """No two threads hold the lock at once. Each turn has its own token, and tokens grow in the
        order of the turns."""
        inside: list[int] = []
        tokens: list[int] = []
        met: list[int] = []

        def work(lock: Lock) -> None:
            for _ in range(self.turns):
                token = lock.acquire(timeout=60)
                met.extend(inside)
                inside.append(token)
                tokens.append(token)
                time.sleep(0.001)
                inside.remove(token)
                assert lock.release()

        threads = [
            threading.Thread(target=work, args=(make(),), name=f"owner-{number}")
            for number in range(self.workers)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert met == []
        assert len(tokens) == self.workers * self.turns
        assert tokens == sorted(set(tokens))
