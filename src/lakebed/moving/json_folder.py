"""A folder with a JSON file for each entry.

A file's name has words of its key and the key's hash. So no key can lead out of the folder, and no
two keys share a file, even if names ignore case. The key itself is in the file.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from lakebed.clock import from_micros, to_micros
from lakebed.errors import CorruptionError, LakebedError, StorageError, ValidationError
from lakebed.moving.outside import Item, Outside, item_of
from lakebed.values.codec import decode_value
from lakebed.values.encoded import Encoded
from lakebed.values.hash import digest
from lakebed.values.json import decode, encode

_OURS = re.compile(r"([a-z0-9-]{1,40}\.)?[0-9a-f]{32}\.json")
_TIMES = ("expires_at", "created_at", "updated_at")


class JSONFolder(Outside):
    """The folder of JSON files of `json:///path`."""

    keeps_times = tells_times = True

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self.name = f"the folder {path}"

    def items(self, prefix: str) -> Iterator[Item]:
        seen = dict[bytes, str]()
        for name in self._names():
            item = self._read(name)
            if item is None:  # removed meanwhile
                continue
            mark = digest(item.key.encode())[:16]
            if mark in seen:
                raise ValidationError(
                    f"{self.name}: {name} and {seen[mark]} have the same key {item.key!r}"
                )
            seen[mark] = name
            if item.key.startswith(prefix):
                yield item

    def find(self, keys: Sequence[str]) -> dict[str, Item]:
        found = dict[str, Item]()
        for key in keys:
            name = file_name(key)
            item = self._read(name)
            if item is not None and item.key != key:
                raise CorruptionError(
                    f"{self.name}: {name} is the file of {key!r}, but its key is {item.key!r}"
                )
            if item is not None:
                found[key] = item
        return found

    def refusal(self, item: Item) -> str | None:  # noqa: ARG002 - a file can hold any item
        return None

    def prepare(self) -> None:
        try:
            self._path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"cannot make {self.name}: {error.strerror}") from None
        for name in self._names():
            if not _OURS.fullmatch(name):
                raise ValidationError(
                    f"{self.name} holds {name!r}, which was not written by a copy: name a new "
                    "folder"
                )

    def store(self, items: Sequence[Item]) -> None:
        try:
            for item in items:
                name = file_name(item.key)
                # The name is always the same, so that killed copies leave at most one file.
                part = self._path / f".{name}.part"
                with part.open("wb") as file:
                    file.write(_text(item))
                    file.flush()
                    os.fsync(file.fileno())
                part.replace(self._path / name)
            _sync(self._path)
        except OSError as error:
            raise StorageError(f"cannot write {self.name}: {error.strerror}") from None

    def _names(self) -> list[str]:
        try:
            names = (path.name for path in self._path.iterdir())
            return sorted(n for n in names if n.endswith(".json") and not n.startswith("."))
        except OSError as error:
            raise StorageError(f"cannot read {self.name}: {error.strerror}") from None

    def _read(self, name: str) -> Item | None:
        try:
            data = (self._path / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageError(f"cannot read {name} in {self.name}: {error.strerror}") from None
        try:
            return _parsed(decode(data.strip()))
        except (LakebedError, ValueError) as error:
            raise ValidationError(f"{self.name}: {name}: {error}") from None


def file_name(key: str) -> str:
    """Return the name of the file of a key."""
    words = re.sub(r"[^a-z0-9]+", "-", key.lower()).strip("-")[:40].strip("-")
    mark = hashlib.sha256(key.encode()).hexdigest()[:32]
    return f"{words}.{mark}.json" if words else f"{mark}.json"


def _text(item: Item) -> bytes:
    """Return the text of an item's file. JSON is written as it is, other contents in Base64."""
    content = item.content
    parts = [b'{"key":', encode(item.key), b',"format":', encode(content.format)]
    if content.format == "json":
        parts += [b',"value":', content.data]
    else:
        parts += [b',"base64":', encode(base64.b64encode(content.data).decode())]
    parts += [b',"metadata":', item.metadata.encode()]
    for name in _TIMES:
        moment = getattr(item, name)
        shown = None if moment is None else from_micros(moment).isoformat()
        parts += [b',"', name.encode(), b'":', encode(shown)]
    return b"".join(parts) + b"}\n"


def _parsed(found: Any) -> Item:
    """Return the item in a file. Files written by hand need only a key and a value."""
    if not isinstance(found, dict) or "key" not in found or not {"value", "base64"} & found.keys():
        raise ValidationError("must be an object with key, and with value or base64")
    known = {"key", "format", "value", "base64", "metadata", *_TIMES}
    if unknown := sorted(found.keys() - known):
        raise ValidationError(f"unknown member {unknown[0]!r}")
    times = {name: _moment(name, found.get(name)) for name in _TIMES}
    format = found.get("format", "json" if "value" in found else "bytes")
    if format == "json":
        return item_of(found["key"], found.get("value"), found.get("metadata"), **times)
    data = base64.b64decode(found.get("base64", ""), validate=True)
    decode_value(format, data)
    item = item_of(found["key"], data, found.get("metadata"), **times)
    return item._replace(content=Encoded(format, data, digest(data)))


def _moment(name: str, text: object) -> int | None:
    if text is None:
        return None
    moment = datetime.fromisoformat(text) if isinstance(text, str) else None
    if moment is None or moment.utcoffset() is None:
        raise ValidationError(f"{name} must be ISO 8601 with an offset, got {text!r}")
    return to_micros(moment)


def _sync(folder: Path) -> None:
    if os.name == "nt":  # folders cannot be opened there
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
