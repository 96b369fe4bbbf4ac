"""What the tests of documents share."""

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
    """A store, and a name of a collection that nobody else has.

    A subclass defines the fixture `connect`, which says how to make a store.
    """

    slow: ClassVar[bool] = False
    nested_lists: ClassVar[bool] = True

    def refuses(self, kind: str, name: str) -> bool:
        """Whether the store declares that it cannot hold a name of a `collection`, a `doc_id` or a
        `field`. The declaration fails when the gap closes."""
        del kind, name
        return False

    @pytest.fixture
    def store(self, connect: Connect) -> Iterator[Any]:
        """A store over the documents of `connect`."""
        make, kind, options = connect
        with blocking(make(kind, **options)) as store:
            yield store

    @pytest.fixture
    def collection(self) -> str:
        """A name of a collection that no other test has."""
        return f"test-{secrets.token_hex(6)}"


@contextmanager
def blocking(store: MetadataStore | AsyncMetadataStore) -> Iterator[Any]:
    """A block with a store whose calls are not awaited, whichever kind it is."""
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
    """A store, its raising face or a transaction, whose calls wait for the loop of a thread."""

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
        """Run it; the function blocks a thread of its own."""

        async def run(tx: Any) -> Any:
            return await asyncio.to_thread(fn, _Blocking(tx, self._loop))

        given: Any = run if callable(fn) else fn
        work = self._inner.run_transaction(given)
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(120)

    def __repr__(self) -> str:
        return repr(self._inner)


def failed(result: Mapping[str, Any], error_type: str) -> str:
    """The message of a result that has failed in this way."""
    assert result["success"] is False, result
    assert result["error_type"] == error_type, result
    message: str = result["error"]
    assert message
    return message
