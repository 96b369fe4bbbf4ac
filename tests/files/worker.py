"""A writer in another process: `python -m tests.files.worker TYPE OPTIONS HOW COUNT`.

With HOW `race`, tries to be the first to write each of COUNT files, adds one to a counter as many
times, and prints of which files it was the first. With `hang`, uploads a large file and stops in
the middle, after it has printed a line.
"""

from __future__ import annotations

import io
import json
import os
import sys
import time

from lakebed.errors import ConflictError
from lakebed.files import BlobStorage, create_blob_storage


class _Hanging(io.RawIOBase):
    """A stream of 16 MB, and then nothing more."""

    _left = 16 << 20

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if self._left <= 0:
            time.sleep(1)  # the parts are on their way
            print("hanging", flush=True)
            time.sleep(600)
        self._left -= size
        return os.urandom(size)


def _absent(storage: BlobStorage, count: int) -> list[int]:
    won = []
    for number in range(count):
        result = storage.upload(f"first/{number}", str(os.getpid()), if_absent=True)
        assert result["success"] or result["error_type"] == "conflict", result
        if result["success"]:
            won.append(number)
    return won


def _increment(storage: BlobStorage, count: int) -> None:
    for _ in range(count):
        while True:
            info, content = storage.files.fetch("counter")
            try:
                storage.files.upload("counter", str(int(content) + 1), if_match=info.etag)
            except ConflictError:
                continue
            break


def main(kind: str, options: str, how: str, count: str) -> None:
    with create_blob_storage(kind, **json.loads(options)) as storage:
        if how == "race":
            won = _absent(storage, int(count))
            _increment(storage, int(count))
            print(json.dumps({"pid": os.getpid(), "won": won}), flush=True)
        else:
            storage.files.upload_file("large", _Hanging(), part_size=5 << 20)  # type: ignore[arg-type]


if __name__ == "__main__":
    main(*sys.argv[1:])
