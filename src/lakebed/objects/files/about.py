"""The headers and checksums of the files of a local folder."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from lakebed.objects.files.folders import make_folder, write_whole

Name = Callable[[os.stat_result], str]


class About(NamedTuple):
    """The headers of a file, and the SHA-256 of its bytes. They are None if another program wrote
    the file."""

    content_type: str | None = None
    metadata: Mapping[str, str] = {}
    digest: bytes | None = None


class Abouts:
    """Keeps one small file for each file, in a folder named by the hash of the file's path. Its
    name has the file's time and size, so that it never describes other bytes."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def _place(self, path: str, status: os.stat_result) -> str:
        digest = sha256(path.encode()).hexdigest()
        return f"{self._folder}/{digest[:2]}/{digest}/{_name(status)}"

    def write(self, path: str, status: os.stat_result, about: About) -> None:
        place = self._place(path, status)
        data = {
            "path": path,
            "content_type": about.content_type,
            "metadata": dict(about.metadata),
            "sha256": None if about.digest is None else about.digest.hex(),
        }
        while True:
            make_folder(os.path.dirname(place))
            with suppress(FileNotFoundError):  # the folder was empty, and `forget` removed it
                write_whole(place, json.dumps(data).encode())
                return

    def read(self, path: str, status: os.stat_result) -> About:
        try:
            data = json.loads(Path(self._place(path, status)).read_text("utf-8"))
        except FileNotFoundError:
            return About()
        return About(data["content_type"], data["metadata"], bytes.fromhex(data["sha256"]))

    def forget(self, path: str, status: os.stat_result) -> None:
        place = self._place(path, status)
        with suppress(FileNotFoundError):
            os.unlink(place)
        with suppress(OSError):  # it is about another version
            os.rmdir(os.path.dirname(place))

    def tidy(self, before: int, is_current: Callable[[str, Name, str], bool]) -> None:
        """Remove what killed writers left: files that are older than `before` (microseconds since
        the epoch) and describe bytes that are gone."""
        for found in Path(self._folder).glob("*/*/*"):
            with suppress(FileNotFoundError):
                if found.stat().st_mtime_ns // 1000 >= before:
                    continue
                path = (
                    "" if found.suffix == ".tmp" else json.loads(found.read_text("utf-8"))["path"]
                )
                if not path or not is_current(path, _name, found.name):
                    found.unlink()
                    with suppress(OSError):
                        found.parent.rmdir()


def _name(status: os.stat_result) -> str:
    return f"{status.st_mtime_ns}-{status.st_size}.json"
