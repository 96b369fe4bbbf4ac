"""Reads and changes the write-ahead log of a SQLite file. SQLite documents its format.

This tells which pages a commit has written, hides the commit from readers, shows it, and appends
the pages of other clients. Use it only for a file that one process uses and nobody needs after a
crash. Appended frames have no checksums, which SQLite checks only after a crash.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Mapping
from typing import NamedTuple

_HEADER = struct.Struct("=IIIBBHIIIIII")  # the header of the index, without its checksum
_SUM = struct.Struct("=II")
_FRAME = struct.Struct(">IIIIII")
_HEADER_BYTES = _HEADER.size + _SUM.size
_WORDS = struct.Struct("=10I")
_BEFORE_FRAMES = 32  # bytes
_BLOCK = 32768  # bytes of the index; the first half holds the page numbers of frames
_NUMBERS = _BLOCK // 2 // 4
_SLOTS = _BLOCK // 2 // 2
_RESERVED = 34  # page numbers that would fit where the header of the index is
_PRIME = 383
_VERSION = 3007000


class Header(NamedTuple):
    """The state of the log in the index.

    `frames`: how many frames readers see. `size`: the size of the database in pages.
    """

    version: int
    unused: int
    change: int
    is_init: int
    big_endian: int
    page_bytes: int
    frames: int
    size: int
    sum1: int
    sum2: int
    salt1: int
    salt2: int


class Pages(NamedTuple):
    """Changed pages by their numbers, and the size of the database in pages."""

    size: int
    pages: Mapping[int, bytes | memoryview]


class WriteAheadLog:
    """The log beside the database at `path`, whose pages have `page_bytes` bytes.

    A connection to the database must be open as long as this is. Hold SQLite's write lock to change
    anything, because a reader that finds half a header waits for that lock.
    """

    def __init__(self, path: str, page_bytes: int) -> None:
        self._page_bytes = page_bytes
        self._frame_bytes = _FRAME.size + page_bytes
        self._log = os.open(f"{path}-wal", os.O_RDWR)
        # Closing these drops all locks of this process on the files, so SQLite must close them
        # first.
        self._shm = os.open(f"{path}-shm", os.O_RDWR)
        self._file = os.open(path, os.O_RDONLY)
        self._map()

    def _map(self) -> None:
        self._bytes = mmap.mmap(self._shm, 0)
        view = memoryview(self._bytes)
        self._numbers = view.cast("I")
        self._slots = view.cast("H")

    def close(self) -> None:
        """Close the files, after the last connection."""
        self._numbers.release()
        self._slots.release()
        self._bytes = mmap.mmap(-1, 1)
        for handle in (self._log, self._shm, self._file):
            os.close(handle)

    def header(self) -> Header:
        """Return what readers see now."""
        return Header._make(_HEADER.unpack_from(self._bytes, 0))

    def show(self, header: Header) -> None:
        """Show readers that begin from now on the state of `header`."""
        whole = _HEADER.pack(*header)
        first = second = 0
        words = _WORDS.unpack(whole)
        for even, odd in zip(words[::2], words[1::2], strict=True):
            first = (first + even + second) & 0xFFFFFFFF
            second = (second + odd + first) & 0xFFFFFFFF
        whole += _SUM.pack(first, second)
        self._bytes[_HEADER_BYTES : 2 * _HEADER_BYTES] = whole  # readers read the first copy first
        self._bytes[:_HEADER_BYTES] = whole

    def written(self, before: Header, after: Header) -> Pages:
        """Return the pages of a commit, given the headers before and after it."""
        start = _start(before, after)
        count = after.frames - start
        place = _BEFORE_FRAMES + start * self._frame_bytes
        data = os.pread(self._log, count * self._frame_bytes, place)
        pages = {}
        for offset in range(0, len(data), self._frame_bytes):
            number = int.from_bytes(data[offset : offset + 4], "big")
            pages[number] = data[offset + _FRAME.size : offset + self._frame_bytes]
        return Pages(after.size, pages)

    def hidden(self, before: Header, after: Header) -> Header:
        """Return the header with which readers see the state before a commit."""
        if _start(before, after):
            return before
        # SQLite has restarted the log. By then, the database held everything in it.
        return after._replace(frames=0, size=before.size, change=after.change + 1 & 0xFFFFFFFF)

    def page(self, number: int) -> bytes:
        """Return a page as readers see it now, or zeros if it does not exist."""
        header = self.header()
        self._reach(header.frames)
        # A log that nothing was written to does not know the size of the database.
        if header.size and number > header.size:
            return bytes(self._page_bytes)
        frame = self._frame_of(number, header.frames)
        if frame:
            place = _BEFORE_FRAMES + (frame - 1) * self._frame_bytes + _FRAME.size
            return os.pread(self._log, self._page_bytes, place)
        found = os.pread(self._file, self._page_bytes, (number - 1) * self._page_bytes)
        return found or bytes(self._page_bytes)

    def _frame_of(self, number: int, frames: int) -> int:
        """Return the last frame that holds a page, among the first `frames` ones, or 0."""
        for block in range((frames + _RESERVED - 1) // _NUMBERS, -1, -1):
            before = block * _NUMBERS - _RESERVED if block else 0
            numbers, table = block * (_BLOCK // 4) + (0 if block else _RESERVED), _table(block)
            slot, last = number * _PRIME % _SLOTS, 0
            while entry := self._slots[table + slot]:
                if before + entry <= frames and self._numbers[numbers + entry - 1] == number:
                    last = max(last, entry)
                slot = (slot + 1) % _SLOTS
            if last:
                return before + last
        return 0

    def append(self, changed: Pages) -> None:
        """Append pages, and show them to readers."""
        before = self.header()
        salts = struct.pack("=II", before.salt1, before.salt2)
        salt1, salt2 = struct.unpack(">II", salts)
        last = len(changed.pages)
        data = bytearray()
        for count, (number, page) in enumerate(changed.pages.items(), 1):
            size = changed.size if count == last else 0
            data += _FRAME.pack(number, size, salt1, salt2, 0, 0)
            data += page
        place, rest = _BEFORE_FRAMES + before.frames * self._frame_bytes, memoryview(data)
        while rest:
            written = os.pwrite(self._log, rest, place)
            place, rest = place + written, rest[written:]
        frame = before.frames
        self._reach(frame + last)
        for number in changed.pages:
            frame += 1
            self._index(frame, number)
        self.show(
            before._replace(
                version=_VERSION,
                is_init=1,
                page_bytes=self._page_bytes & 0xFF00 | self._page_bytes >> 16,
                frames=frame,
                size=changed.size,
                change=before.change + 1 & 0xFFFFFFFF,
            )
        )

    def _index(self, frame: int, number: int) -> None:
        """Note in the index that a frame holds the page with this number."""
        block, at = divmod(frame + _RESERVED - 1, _NUMBERS)
        first = _RESERVED if block == 0 else 0
        numbers, slots = self._numbers, self._slots
        start, table = block * (_BLOCK // 4), _table(block)
        entry = at - first + 1
        if entry == 1 or numbers[start + at]:
            self._forget(block, at, entry)
        slot = number * _PRIME % _SLOTS
        while slots[table + slot]:
            slot = (slot + 1) % _SLOTS
        numbers[start + at] = number
        slots[table + slot] = entry

    def _forget(self, block: int, at: int, entry: int) -> None:
        """Remove the entries that a lost commit left in the index, from `entry` on."""
        begin, middle, end = (
            block * _BLOCK + 4 * at,
            block * _BLOCK + _BLOCK // 2,
            (block + 1) * _BLOCK,
        )
        self._bytes[begin:middle] = bytes(middle - begin)
        if entry == 1:
            self._bytes[middle:end] = bytes(end - middle)
            return
        for slot in range(_table(block), _table(block) + _SLOTS):
            if self._slots[slot] >= entry:
                self._slots[slot] = 0

    def _reach(self, frames: int) -> None:
        """Map as much of the index as `frames` frames need, because SQLite may have extended it."""
        size = ((frames + _RESERVED - 1) // _NUMBERS + 1) * _BLOCK
        if size <= len(self._bytes):
            return
        self._numbers.release()
        self._slots.release()
        if os.fstat(self._shm).st_size < size:
            os.ftruncate(self._shm, size)
        self._map()


def _table(block: int) -> int:
    """Return the position of a block's first slot, counted in slots."""
    return block * (_BLOCK // 2) + _SLOTS


def _start(before: Header, after: Header) -> int:
    """Return how many frames there were before a commit, or 0 if the commit restarted the log."""
    begun_anew = (before.salt1, before.salt2) != (after.salt1, after.salt2)
    return 0 if begun_anew else before.frames
