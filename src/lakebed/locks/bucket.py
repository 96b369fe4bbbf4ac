"""A lock in a bucket or a folder, without a server: a sequence of files, one for each owner.

The owner with token n has the file `<n>`, which is written only if it does not exist. So only one
of several clients gets the next token. An owner changes only its own file, to refresh or release
the lock.

An owner whose time has passed may refresh its file at the same moment at which another client takes
the next token. Both first write their own file and then read the other's. So at least one of them
sees the other and withdraws.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from datetime import timedelta
from typing import NamedTuple

from lakebed.clock import Clock, system_clock
from lakebed.errors import ConfigurationError, CorruptionError
from lakebed.locks.base import Lock
from lakebed.objects.opening import open_store, parse_place
from lakebed.objects.store import GivesUp, NewWriter, ObjectStore

_TOKEN = re.compile(r"\d{20}")
_FREED = b'{"owner": "", "until": 0}'


class _Owner(NamedTuple):
    """The content of a file. `until`: microseconds since the epoch, or 0 once released."""

    owner: str
    until: int


class _Store(NamedTuple):
    """A storage with the two calls that a lock needs."""

    files: ObjectStore
    writer: NewWriter


class BucketLock(Lock):
    """A lock in a bucket of S3, Google Cloud Storage or Azure, or in a folder.

    `uri`: the bucket and a prefix, such as `s3://bucket/locks`, or a folder. All other options are
    passed to the filesystem, as in `storage` (`endpoint_url` for S3).

    Each lock has its own folder there, with one or two small files. The clocks of the competing
    machines decide when a time to live has passed, so they must agree within a fraction of it.
    Acquiring a lock takes about six requests.

    Raises ConfigurationError if the storage cannot write a file only if it does not exist, and what
    opening a storage raises.
    """

    def __init__(
        self,
        name: str,
        ttl: float | timedelta = 300,
        *,
        uri: str | os.PathLike[str],
        clock: Clock = system_clock,
        **options: object,
    ) -> None:
        super().__init__(name, ttl, clock=clock)
        self._place, _ = parse_place("uri", uri)
        self._options = options
        self._opened: _Store | None = self._open()
        self._folder = hashlib.sha256(self.name.encode()).hexdigest()[:32]

    def _open(self) -> _Store:
        store = open_store(self._place, self._options)
        if not isinstance(store, NewWriter):
            store.close()
            raise ConfigurationError(
                f"uri: {self._place.partition('://')[0]}:// cannot write a file only if it does "
                "not exist: expected s3://, gs://, az:// or a folder"
            )
        if isinstance(store, GivesUp):  # a small file needs no long time, so silence is an error
            store.give_up_after(math.inf)
        return _Store(store, store)

    @property
    def _files(self) -> ObjectStore:
        return self._both.files

    @property
    def _both(self) -> _Store:
        if self._opened is None:
            self._opened = self._open()
        return self._opened

    def close(self) -> None:
        opened, self._opened = self._opened, None
        if opened is not None:
            opened.files.close()

    def _take(self, owner: str) -> int | None:
        last = max(self._tokens(), default=0)
        if self._is_anothers(last, owner):
            return None
        token = last + 1
        if not self._both.writer.write_new(self._path(token), self._content(owner)):
            return None
        tokens = self._tokens()
        if max(tokens, default=0) != token or self._is_anothers(last, owner):
            # A newer file exists, or the old owner has refreshed its file meanwhile.
            self._files.write(self._path(token), _FREED)
            return None
        self._files.delete(self._path(old) for old in tokens if old < token)
        return token

    def _extend(self, owner: str, token: int) -> bool:
        if not self._is_mine(token, owner):
            return False
        self._files.write(self._path(token), self._content(owner))
        return max(self._tokens(), default=0) == token

    def _free(self, owner: str, token: int) -> bool:
        if self._read(token).owner not in (owner, "") or max(self._tokens(), default=0) != token:
            return False
        self._files.write(self._path(token), _FREED)
        return True

    def _tokens(self) -> list[int]:
        """Return the tokens of the existing files."""
        names = (file.path.rpartition("/")[2] for file in self._files.list(self._folder))
        return [int(name) for name in names if _TOKEN.fullmatch(name)]

    def _path(self, token: int) -> str:
        return f"{self._folder}/{token:020}"

    def _content(self, owner: str) -> bytes:
        said = {"lock": self.name, "owner": owner, "until": self._clock() + self._micros}
        return json.dumps(said).encode()

    def _is_anothers(self, token: int, owner: str) -> bool:
        """Return whether another owner holds the lock with this token."""
        found = self._read(token)
        return found.owner != owner and found.until > self._clock()

    def _is_mine(self, token: int, owner: str) -> bool:
        found = self._read(token)
        return found.owner == owner and found.until > self._clock()

    def _read(self, token: int) -> _Owner:
        """Return the content of a token's file. Without a file, nobody owns the token."""
        try:
            said = json.loads(self._files.read(self._path(token)))
            return _Owner(str(said["owner"]), int(said["until"]))
        except FileNotFoundError:
            return _Owner("", 0)
        except (ValueError, TypeError, KeyError):
            raise CorruptionError(
                f"{self._files.uri(self._path(token))} is not the file of a lock: delete it if "
                f"nobody holds the lock {self.name!r}"
            ) from None
