"""The base of all parts of the suite for stores of documents."""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import pytest

from lakebed.documents import AsyncMetadataStore, MetadataStore

Connect = tuple[Callable[..., MetadataStore | AsyncMetadataStore], str, Mapping[str, Any]]


class Base:
    """The fixtures of the suite: a store, and a collection of the test's own.

    A subclass defines the fixture `connect`, with which a store is made.
    """

    slow: ClassVar[bool] = False
    nested_lists: ClassVar[bool] = True

    def refuses(self, kind: str, name: str) -> bool:
        """Return whether the store declares that it cannot hold a name.

        `kind`: `collection`, `doc_id` or `field`. If the store can hold the name after all, the
        suite fails.
        """
        del kind, name
        return False

    @pytest.fixture
    def store(self, connect: Connect) -> Iterator[Any]:
        """A store made by `connect`."""
        make, kind, options = connect
        with blocking(make(kind, **options)) as store:
            yield store

    @pytest.fixture
    def collection(self) -> str:
        """The name of a collection that no other test uses."""
        return f"test-{secrets.token_hex(6)}"


@contextmanager
def blocking(store: MetadataStore | AsyncMetadataStore) -> Iterator[Any]:
    """Yield a store whose calls block, even if the store is asynchronous."""
    if isinstance(store, MetadataStore):
        with store:
            yield store
        return
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        face = _Blocking(store, loop)
        try:
            yield face
        finally:
            face.close()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


class _Blocking:
    """A wrapper that makes the calls of an asynchronous object block. A thread runs its loop."""

    def __init__(self, inner: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._inner = inner
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name == "documents":
            return _Blocking(found, self._loop)
        if not callable(found):
            return found

        def call(*args: Any, **options: Any) -> Any:
            result = found(*args, **options)
            if asyncio.iscoroutine(result):
                return asyncio.run_coroutine_threadsafe(result, self._loop).result(120)
            return result

        return call

    def run_transaction(self, fn: Callable[[Any], Any]) -> Any:
        """Run a transaction. The function can block, because it runs in a thread of its own."""

        async def run(tx: Any) -> Any:
            return await asyncio.to_thread(fn, _Blocking(tx, self._loop))

        given: Any = run if callable(fn) else fn
        work = self._inner.run_transaction(given)
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(120)

    def __repr__(self) -> str:
        return repr(self._inner)


def failed(result: Mapping[str, Any], error_type: str) -> str:
    """Check that a result is a failure of this type. Return its message."""
    assert result["success"] is False, result
    assert result["error_type"] == error_type, result
    message: str = result["error"]
    assert message
    return message
