"""The records of a catalog, as pairs of a name and a text.

| name | text |
| --- | --- |
| `e` and a key | an entry: version, metadata, times, and the content that it names |
| `o` and a content | how often it is named, its size and its place |
| `n` and a number | the content with this number |
| `d` and a number | the content with this number, if nothing names it any more |
| `p` and a content | the parts that it lists, if it is a table of parts |
| `f` and a path | a file that contents lie in: its size, and how many of them it held at first |
| `l` and a path | the end of a lease |
| `t` and a path | the time at which a file became trash |
| `m` and a name | a setting, or a counter |
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

from lakebed.model import LAST_KEY, Content, ContentId, EntryRow, PackRow

_DIGITS = 16


class Pairs(Protocol):
    """The pairs of a name and a text in one transaction of an ordered store.

    Names are ordered by their code points, which is the order of their UTF-8 bytes.
    """

    def get(self, name: str) -> str | None:
        """Return the text of a name, or None."""
        ...

    def range(self, low: str, high: str) -> Iterable[tuple[str, str]]:
        """Return the pairs with `low <= name < high`, in the order of names.

        The caller reads them before its next call that changes something, or not at all.
        """
        ...

    def set(self, name: str, text: str) -> None:
        """Store a pair, and replace one with the same name."""
        ...

    def remove(self, name: str) -> None:
        """Remove a pair, if it exists."""
        ...


class Overlay:
    """Pairs as they would be after changes, without making them.

    `changes` maps each changed name to its text, or to None if it is removed.
    """

    def __init__(self, pairs: Pairs) -> None:
        self._pairs = pairs
        self.changes: dict[str, str | None] = {}

    def get(self, name: str) -> str | None:
        return self.changes[name] if name in self.changes else self._pairs.get(name)

    def range(self, low: str, high: str) -> Iterable[tuple[str, str]]:
        found: dict[str, str | None] = dict(self._pairs.range(low, high))
        found |= {name: text for name, text in self.changes.items() if low <= name < high}
        return [(name, text) for name, text in sorted(found.items()) if text is not None]

    def set(self, name: str, text: str) -> None:
        self.changes[name] = text

    def remove(self, name: str) -> None:
        self.changes[name] = None


class Stored(NamedTuple):
    """A content in the catalog. `names`: how many entries name it, plus how many tables list it."""

    number: int
    names: int
    content: Content
    created_at: int


class File(NamedTuple):
    """A file in the storage.

    `pack`: the number of a pack, or None if the file is a single content. `live`: how many contents
    are in it. `dead`: how many were left out or have gone.
    """

    pack: int | None
    byte_size: int
    live: int
    dead: int

    def row(self, path: str) -> PackRow:
        """Return the pack in the form that callers get."""
        assert self.pack is not None
        return PackRow(self.pack, path, self.byte_size, self.live, self.dead)


class Records:
    """Reads and writes the pairs of one transaction as records."""

    def __init__(self, pairs: Pairs) -> None:
        self.pairs = pairs

    def entry(self, key: str) -> EntryRow | None:
        """Return the entry of a key, even if it has expired, or None."""
        text = self.pairs.get("e" + key)
        return None if text is None else self._entry(key, text)

    def entries(self, low: str = "", high: str = LAST_KEY) -> Iterator[EntryRow]:
        """Yield the entries with `low <= key < high` in order, even expired ones.

        Change nothing while they are read.
        """
        for name, text in self.pairs.range("e" + low, "e" + high):
            yield self._entry(name[1:], text)

    def _entry(self, key: str, text: str) -> EntryRow:
        version, metadata, expires_at, created_at, updated_at, *content = json.loads(text)
        times = (expires_at, created_at, updated_at)
        return EntryRow._make((key, version, metadata, *times, *self._content(*content)))

    def put_entry(self, row: EntryRow) -> None:
        """Write an entry whose content the catalog already has."""
        times = (row.expires_at, row.created_at, row.updated_at)
        content = (row.content_hash.hex(), row.format, row.byte_size)
        self._set("e" + row.key, row.version, row.metadata, *times, *content)

    def _content(self, digits: str, format: str, size: int) -> Content:
        stored = self.stored((bytes.fromhex(digits), format))
        if stored is not None:
            return stored.content
        return Content(bytes.fromhex(digits), format, size)

    def stored(self, content: ContentId) -> Stored | None:
        """Return a stored content, or None."""
        text = self.pairs.get(_named("o", content))
        if text is None:
            return None
        number, names, size, inline, uri, position, created_at = json.loads(text)
        value = None if inline is None else b64decode(inline)
        return Stored(number, names, Content(*content, size, value, uri, position), created_at)

    def put_stored(self, stored: Stored) -> None:
        """Write a content."""
        content, value = stored.content, stored.content.inline_value
        inline = None if value is None else b64encode(value).decode()
        place = (inline, content.uri, content.position)
        name = _named("o", content.id)
        self._set(name, stored.number, stored.names, content.byte_size, *place, stored.created_at)
        self.pairs.set(_numbered("n", stored.number), name[1:])

    def drop_stored(self, stored: Stored) -> None:
        """Remove a content, and the list of its parts."""
        for kind in "op":
            self.pairs.remove(_named(kind, stored.content.id))
        for kind in "nd":
            self.pairs.remove(_numbered(kind, stored.number))

    def contents(self, after: int = 0, kind: str = "n") -> Iterator[Stored]:
        """Yield the contents with numbers above `after`, in order.

        With `kind` "d", only those that nothing names.
        """
        for _, name in list(self.pairs.range(_numbered(kind, after + 1), chr(ord(kind) + 1))):
            stored = self.stored(_content_id(name))
            if stored is not None:
                yield stored

    def note_unnamed(self, stored: Stored) -> None:
        """Note whether anything names a content."""
        if stored.names:
            self.pairs.remove(_numbered("d", stored.number))
        else:
            self.pairs.set(_numbered("d", stored.number), _named("", stored.content.id))

    def parts(self, content: ContentId) -> list[ContentId]:
        """Return the parts of a table of parts."""
        text = self.pairs.get(_named("p", content))
        return [] if text is None else [_content_id(name) for name in json.loads(text)]

    def put_parts(self, content: ContentId, parts: Sequence[ContentId]) -> None:
        """Write the parts of a table."""
        self._set(_named("p", content), *(_named("", part) for part in parts))

    def tables(self) -> Iterator[tuple[ContentId, list[ContentId]]]:
        """Yield each table of parts, with its parts."""
        for name, text in self.pairs.range("p", "q"):
            yield _content_id(name[1:]), [_content_id(part) for part in json.loads(text)]

    def file(self, path: str) -> File | None:
        """Return a file that holds contents, or None."""
        text = self.pairs.get("f" + path)
        return None if text is None else File(*json.loads(text))

    def files(self) -> Iterator[tuple[str, File]]:
        """Yield the files that hold contents, by path."""
        for name, text in self.pairs.range("f", "g"):
            yield name[1:], File(*json.loads(text))

    def put_file(self, path: str, file: File) -> None:
        """Write a file."""
        self._set("f" + path, *file)

    def packs(self) -> list[PackRow]:
        """Return the packs, in the order of their numbers."""
        found = [file.row(path) for path, file in self.files() if file.pack is not None]
        return sorted(found, key=lambda pack: pack.id)

    def leave_file(self, path: str, now: int) -> None:
        """Count that a content has left a file. An empty file becomes trash."""
        file = self.file(path)
        if file is not None and file.live > 1:
            self.put_file(path, file._replace(live=file.live - 1, dead=file.dead + 1))
        elif file is not None:
            self.pairs.remove("f" + path)
            self.add_trash(path, now)

    def leases(self) -> Iterator[tuple[str, int]]:
        """Yield the paths of uploads, with the ends of their leases."""
        for name, text in self.pairs.range("l", "m"):
            yield name[1:], int(text)

    def claim(self, path: str) -> bool:
        """End a lease. Return whether it existed."""
        leased = self.pairs.get("l" + path) is not None
        self.pairs.remove("l" + path)
        return leased

    def give_up(self, path: str, now: int) -> None:
        """Turn an upload into trash, unless a commit has claimed it."""
        if self.claim(path):
            self.add_trash(path, now)

    def add_trash(self, path: str, since: int) -> None:
        """Note a file as trash, unless it is noted already."""
        if self.pairs.get("t" + path) is None:
            self.pairs.set("t" + path, str(since))

    def trash(self, after: str = "") -> Iterator[tuple[str, int]]:
        """Yield the files after a path that are trash, with the time at which they became it."""
        for name, text in self.pairs.range(f"t{after}\0", "u"):
            yield name[1:], int(text)

    def setting(self, name: str) -> str | None:
        """Return a setting, or None."""
        return self.pairs.get("m" + name)

    def settings(self) -> dict[str, str]:
        """Return the settings."""
        return {name[1:]: text for name, text in self.pairs.range("m", "n")}

    def put_setting(self, name: str, value: str) -> None:
        """Write a setting."""
        self.pairs.set("m" + name, value)

    def counter(self, name: str) -> int:
        """Return a counter, which begins with 0."""
        return int(self.setting(name) or 0)

    def draw(self, counter: str) -> int:
        """Return the next number of a counter."""
        number = self.counter(counter) + 1
        self.put_setting(counter, str(number))
        return number

    def _set(self, name: str, *values: object) -> None:
        self.pairs.set(name, json.dumps(values, ensure_ascii=False, separators=(",", ":")))


def _named(kind: str, content: ContentId) -> str:
    content_hash, format = content
    return f"{kind}{content_hash.hex()}{format}"


def _content_id(name: str) -> ContentId:
    return bytes.fromhex(name[:64]), name[64:]


def _numbered(kind: str, number: int) -> str:
    return f"{kind}{number:0{_DIGITS}}"
