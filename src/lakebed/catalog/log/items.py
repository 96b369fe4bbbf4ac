"""The items of a log as bytes: one line that describes the item, then its body."""

from __future__ import annotations

import json
import struct
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from lakebed.catalog.log.wal import Pages
from lakebed.errors import CatalogError, CorruptionError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

BEGIN = b"lakebed-log/1 "
NEWEST = "base/newest"
"""The name of the item that names the newest base. It is a hint, and may name an older base."""

HEAD_BYTES = 512
"""The most bytes that an item has beside its body."""

_LEVEL = 3
_SLICE_BYTES = 1 << 18  # bytes unpacked at once, which stay in the processor's cache


class Item(NamedTuple):
    """An item of the log.

    `kind`: `pages` (a commit), `base` (the whole database), `bundle` (many commits), `tombstone`
    (in place of a commit that a base holds, or of its bundle), `newest` or `swept`. `token`: tells
    commits apart. `parts`: the number of other items that hold the body, or 0 if this item holds
    it. `base` and `n`: the name of a base, and the last commit in it. In a base or a bundle, `n`
    and `last` are the number and the token of its last commit. In `swept`, `n` is a block.
    """

    kind: str
    token: str = ""
    parts: int = 0
    byte_size: int = 0
    crc: int = 0
    base: str = ""
    n: int = 0
    last: str = ""
    body: bytes = b""


def entry(n: int) -> str:
    """Return the name of a commit."""
    return f"log/{n}"


def part(token: str, number: int) -> str:
    """Return the name of a part of a body."""
    return f"part/{token}-{number}"


def to_bytes(item: Item) -> bytes:
    """Return the bytes of an item."""
    head = {name: value for name, value in item._asdict().items() if value and name != "body"}
    return BEGIN + json.dumps(head, separators=(",", ":")).encode() + b"\n" + item.body


def from_bytes(name: str, data: bytes) -> Item:
    """Return the item in these bytes.

    Raises CorruptionError if they are not an item, and CatalogError if a newer release wrote them.
    """
    line, _, body = data.partition(b"\n")
    if not line.startswith(BEGIN):
        if line.startswith(BEGIN[:-2]):
            raise CatalogError(
                f"{name} was written by a newer Lakebed: upgrade with pip install -U lakebed"
            )
        raise CorruptionError(f"{name} is damaged, or does not belong to a lake: {line[:20]!r}")
    try:
        return Item(**json.loads(line[len(BEGIN) :]), body=body)
    except (ValueError, TypeError) as error:
        raise CorruptionError(f"{name} is damaged: {error}") from None


def whole(kind: str, token: str, body: bytes) -> Item:
    """Return an item with its body and the body's checksum."""
    return Item(kind, token, byte_size=len(body), crc=zlib.crc32(body), body=body)


def checked(name: str, item: Item, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the pieces of the item's body.

    Raises CorruptionError after the last piece if the checksum is wrong.
    """
    size = crc = 0
    for piece in pieces:
        size, crc = size + len(piece), zlib.crc32(piece, crc)
        yield piece
    if (size, crc) != (item.byte_size, item.crc):
        raise CorruptionError(f"{name} is damaged: its {size} bytes are not those written")


def pack_pages(changed: Pages, before: Callable[[int], bytes]) -> bytes:
    """Return pages as the body of a commit.

    The body holds their differences from the pages `before`, which all clients have.
    """
    numbers = sorted(changed.pages)
    crc = _checksum(changed.pages[number] for number in numbers)
    head = struct.pack(f"<{len(numbers) + 3}I", changed.size, crc, len(numbers), *numbers)
    pages = (_differ(changed.pages[number], before(number)) for number in numbers)
    return _compress(b"".join((head, *pages)))


def unpack_pages(
    body: bytes, page_bytes: int, before: Callable[[int], bytes | memoryview]
) -> Pages:
    """Return the pages in the body of a commit. `before` gives a page as it was before.

    Raises CorruptionError if the body is damaged.
    """
    data = memoryview(_decompress(body))
    size, crc, count = struct.unpack_from("<III", data)
    numbers = struct.unpack_from(f"<{count}I", data, 12)
    start = 12 + 4 * count
    pages: Mapping[int, bytes] = {
        number: _differ(data[start + at * page_bytes :][:page_bytes], before(number))
        for at, number in enumerate(numbers)
    }
    if _checksum(pages.values()) != crc:
        raise CorruptionError("the copy of the catalog in the cache folder is damaged: delete it")
    return Pages(size, pages)


def _checksum(pages: Iterable[bytes | memoryview]) -> int:
    crc = 0
    for page in pages:
        crc = zlib.crc32(page, crc)
    return crc


def _differ(a: bytes | memoryview, b: bytes | memoryview) -> bytes:
    """Return the bits in which two pages differ. Applied to one page, they give the other."""
    if b == bytes(len(b)):  # a new page, like most pages of a large commit
        return bytes(a)
    return (int.from_bytes(a, "little") ^ int.from_bytes(b, "little")).to_bytes(len(a), "little")


def pack_database(image: bytes) -> bytes:
    """Return a whole database as the body of a base."""
    return _compress(image)


def unpack_image(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield a whole database in pieces. One piece is unpacked while the next ones are fetched.

    Raises CorruptionError if the body of the base is damaged.
    """
    unpacker = zstd.ZstdDecompressor()
    try:
        for piece in pieces:
            view = memoryview(piece)
            for start in range(0, len(view), _SLICE_BYTES):
                yield unpacker.decompress(view[start : start + _SLICE_BYTES])
    except (zstd.ZstdError, EOFError) as error:
        raise CorruptionError(f"the log is damaged: {error}") from None
    if not unpacker.eof:
        raise CorruptionError("the log is damaged: a base ends too early")


def unpack_database(pieces: Iterable[bytes], page_bytes: int) -> Pages:
    """Return the pages of a whole database."""
    image = memoryview(b"".join(unpack_image(pieces)))
    size = len(image) // page_bytes
    pages: Mapping[int, memoryview] = {
        at + 1: image[at * page_bytes : (at + 1) * page_bytes] for at in range(size)
    }
    return Pages(size, pages)


def _compress(data: bytes) -> bytes:
    return zstd.compress(data, level=_LEVEL)


def _decompress(body: bytes) -> bytes:
    try:
        return zstd.decompress(body)
    except zstd.ZstdError as error:
        raise CorruptionError(f"the log is damaged: {error}") from None
