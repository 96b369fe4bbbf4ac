"""A cache of the package diskcache.

diskcache pickles all values but text, numbers and bytes. We write through diskcache. We read its
pickles with an unpickler that resolves no names, so that no code in them runs. It returns plain
values and refuses anything else.
"""

from __future__ import annotations

import io
import pickle
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from lakebed.errors import (
    DependencyMissingError,
    LakebedError,
    StorageError,
    ValidationError,
)
from lakebed.moving.outside import Item, Outside, item_of
from lakebed.values.codec import decode_value
from lakebed.values.json import decode_text, encode

_PICKLED = 4  # diskcache's mode of a pickled value
_INSIDE = re.compile(r"[0-9a-f]{2}[/\\][0-9a-f]{2}[/\\][0-9a-f]{28}\.val")


class DiskCache(Outside):
    """The cache of `diskcache:///path`."""

    precision = 1_000_000

    def __init__(self, path: str, *, create: bool) -> None:
        self.name = f"the cache {path}"
        try:
            from diskcache import Cache
        except ImportError as error:
            raise DependencyMissingError(
                "diskcache:// needs the diskcache package: pip install diskcache"
            ) from error
        fresh = not (Path(path) / "cache.db").exists()
        if fresh and not create:
            raise StorageError(f"no cache of diskcache at {path}")
        # A cache that a copy creates must keep everything.
        settings = {"eviction_policy": "none"} if fresh else {}
        try:
            self._cache: Any = Cache(path, disk=plain_disk(), **settings)
        except OSError as error:
            raise StorageError(f"cannot open {self.name}: {error.strerror}") from None

    def items(self, prefix: str) -> Iterator[Item]:
        for key in self._cache:
            if not isinstance(key, str):
                raise ValidationError(f"{self.name}: key must be a string, got {key!r}")
            if key.startswith(prefix):
                item = self._read(key)
                if item is not None:
                    yield item

    def find(self, keys: Sequence[str]) -> dict[str, Item]:
        found = ((key, self._read(key)) for key in keys)
        return {key: item for key, item in found if item is not None}

    def refusal(self, item: Item) -> str | None:
        if item.content.format == "parquet":
            return "is a table"
        value = decode_value(item.content.format, item.content.data)
        long = self._cache.disk.min_file_size
        if isinstance(value, str) and len(value) >= long and "\r" in value:
            return "is a long text with carriage returns, which diskcache would change"
        if item.metadata != "{}" and not isinstance(_metadata(_tag(item.metadata)), dict):
            return "has metadata that a tag cannot hold"
        return None

    def store(self, items: Sequence[Item]) -> None:
        try:
            with self._cache.transact():
                for item in items:
                    self._store(item)
        except OSError as error:
            raise StorageError(f"cannot write {self.name}: {error.strerror}") from None

    def _store(self, item: Item) -> None:
        now, expire = time.time(), None
        if item.lives is not None:
            expire = item.lives / 1_000_000
        elif item.expires_at is not None:
            expire = item.expires_at / 1_000_000 - now
        value = decode_value(item.content.format, item.content.data)
        self._cache.set(item.key, value, expire=expire, tag=_tag(item.metadata))

    def _read(self, key: str) -> Item | None:
        missing = object()
        try:
            value, expires, tag = self._cache.get(key, missing, expire_time=True, tag=True)
        except LakebedError as error:
            raise type(error)(f"{self.name}: {key!r} {error}") from None
        if value is missing:
            return None
        moment = None if expires is None else round(expires * 1_000_000)
        return item_of(key, value, _metadata(tag), expires_at=moment)

    def close(self) -> None:
        self._cache.close()


def _tag(metadata: str) -> str | None:
    """Return the tag that stands for metadata: the text of the metadata, or the tag that they were
    made from."""
    if metadata == "{}":
        return None
    found = decode_text(metadata)
    if found.keys() == {"tag"} and isinstance(found["tag"], str) and _object(found["tag"]) is None:
        return str(found["tag"])
    return metadata


def _metadata(tag: object) -> dict[str, Any]:
    """Return the metadata that a tag stands for."""
    if tag is None:
        return {}
    return (_object(tag) if isinstance(tag, str) else None) or {"tag": tag}


def _object(text: str) -> dict[str, Any] | None:
    """Return the object in a text, or None if the text is not written as metadata are."""
    try:
        found = decode_text(text)
    except (LakebedError, ValueError):
        return None
    return found if isinstance(found, dict) and found and encode(found).decode() == text else None


class _Unpickler(pickle.Unpickler):  # it resolves no names: a pickle needs them to run code
    def find_class(self, module: str, name: str) -> NoReturn:
        raise ValidationError(f"is a {module}.{name}: only plain values can be copied")


def plain_disk() -> type[Any]:
    """Return a class of diskcache's disk that runs no code from pickles, and reads no file outside
    the cache."""
    from diskcache import Disk

    class PlainDisk(Disk):  # type: ignore[misc, unused-ignore]
        def get(self, key: Any, raw: Any) -> Any:
            return super().get(key, raw) if raw else _load(bytes(key))

        def fetch(self, mode: int, filename: str | None, value: Any, read: bool) -> Any:
            if filename is not None and not _INSIDE.fullmatch(filename):
                raise ValidationError("is in a file outside the cache")
            if mode != _PICKLED:
                return super().fetch(mode, filename, value, read)
            if value is None:
                return _load((Path(self._directory) / (filename or "")).read_bytes())
            return _load(bytes(value))

    return PlainDisk


def _load(data: bytes) -> Any:
    try:
        return _Unpickler(io.BytesIO(data)).load()
    except (pickle.UnpicklingError, EOFError, ValueError, IndexError, KeyError) as error:
        if isinstance(error, LakebedError):
            raise
        raise ValidationError(f"is a damaged pickle: {error}") from None
