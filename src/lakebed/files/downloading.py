"""Download to a local file: several ranges at once, continued where a broken download ended."""

from __future__ import annotations

import json
import os
import zlib
from concurrent.futures import ThreadPoolExecutor, as_completed

from lakebed.errors import ConflictError, StorageError
from lakebed.model import Progress
from lakebed.objects.files.store import FileRow, FileStore

_AT_ONCE = 8
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC


def download(
    store: FileStore,
    row: FileRow,
    target: str | os.PathLike[str],
    part_size: int,
    progress: Progress | None,
) -> None:
    """Download the version of a file that `row` describes. The target appears when it is complete.

    Until then the bytes are in `.<name>.part` beside it. `.<name>.parts` lists the parts that have
    arrived, with a checksum of each.
    """
    target = os.path.abspath(os.path.expanduser(target))
    if os.path.isdir(target):
        raise StorageError(f"cannot write {target!r}: it is a folder")
    folder, name = os.path.split(target)
    try:
        with _Partial(f"{folder}/.{name}.part", f"{folder}/.{name}.parts") as partial:
            partial.begin(row, part_size)
            _fetch(store, row, partial, part_size, progress)
            partial.finish(target)
    except OSError as error:
        if isinstance(error, FileNotFoundError) and error.errno is None:
            raise  # the error is already one of the storage's
        raise StorageError(f"cannot write {target!r}: {error.strerror or error}") from error


def _fetch(
    store: FileStore, row: FileRow, partial: _Partial, part_size: int, progress: Progress | None
) -> None:
    starts = {number: number * part_size for number in range(-(-row.byte_size // part_size))}
    done = sum(min(part_size, row.byte_size - starts[number]) for number in partial.arrived)

    def fetch(number: int) -> int:
        start = starts[number]
        data = store.range(row.path, start, min(start + part_size, row.byte_size), row.etag)
        partial.write(number, start, data)
        return len(data)

    if progress is not None and done:
        progress(done, row.byte_size)
    with ThreadPoolExecutor(_AT_ONCE, "lakebed-download") as pool:
        try:
            futures = [pool.submit(fetch, n) for n in starts if n not in partial.arrived]
            for future in as_completed(futures):
                done += future.result()
                if progress is not None:
                    progress(done, row.byte_size)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


class _Partial:
    """The bytes that have arrived so far. Only one download at a time can hold them."""

    def __init__(self, data: str, notes: str) -> None:
        self._data_path, self._notes_path = data, notes
        self.arrived: set[int] = set()

    def __enter__(self) -> _Partial:
        self._notes = self._own_notes()
        try:
            self._data = os.open(self._data_path, _FLAGS, 0o666)
        except BaseException:
            os.close(self._notes)
            raise
        return self

    def _own_notes(self) -> int:
        """Open the notes and lock them. Raises ConflictError if another download has locked them.

        A download that ends removes the file of notes. If that has just happened, the lock is on a
        file without a name, which a third download would not see. So the notes are opened again.
        """
        import fcntl

        while True:
            notes = os.open(self._notes_path, _FLAGS | os.O_APPEND, 0o666)
            try:
                fcntl.flock(notes, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(notes).st_nlink:
                    return notes
            except BlockingIOError:
                os.close(notes)
                raise ConflictError(f"another download writes to {self._data_path!r}") from None
            os.close(notes)

    def __exit__(self, *_: object) -> None:
        os.close(self._data)
        os.close(self._notes)

    def begin(self, row: FileRow, part_size: int) -> None:
        """Keep the parts that have arrived of exactly this version. Discard those of another."""
        head = json.dumps(
            {"path": row.path, "etag": row.etag, "size": row.byte_size, "part_size": part_size}
        )
        first, *lines = _text(self._notes).split("\n")
        if first != head:
            lines = []
            os.ftruncate(self._notes, 0)
            os.ftruncate(self._data, 0)
            os.write(self._notes, f"{head}\n".encode())
        for line in lines:
            number, _, checksum = line.partition(" ")
            if not number.isdigit() or len(checksum) != 8:
                continue  # cut off when the process was killed
            data = os.pread(self._data, part_size, int(number) * part_size)
            if f"{zlib.crc32(data):08x}" == checksum:
                self.arrived.add(int(number))
        os.ftruncate(self._data, row.byte_size)

    def write(self, number: int, start: int, data: bytes) -> None:
        view = memoryview(data)
        while view:
            written = os.pwrite(self._data, view, start)
            view, start = view[written:], start + written
        os.write(self._notes, f"{number} {zlib.crc32(data):08x}\n".encode())

    def finish(self, target: str) -> None:
        """Rename the complete file to `target`."""
        os.rename(self._data_path, target)
        os.unlink(self._notes_path)


def _text(handle: int) -> str:
    return os.pread(handle, os.fstat(handle).st_size, 0).decode("utf-8", "replace")
