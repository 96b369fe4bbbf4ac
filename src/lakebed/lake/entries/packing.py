"""Gathers the large values of a batch into packs, and uploads them under leases."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Set
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

from lakebed.catalog.protocol import Catalog, Place
from lakebed.errors import LakebedError
from lakebed.lake.contents.uploading import LEASE_SECONDS, give_up, upload
from lakebed.lake.entries.spool import Spool
from lakebed.model import ContentId, Upload
from lakebed.objects.names import object_path, pack_path
from lakebed.objects.packs import MAX_VALUE_BYTES, PACK_BYTES, PACK_OBJECTS, Position, write_pack
from lakebed.objects.store import ObjectStore
from lakebed.values.encoded import Encoded, EncodedFile

_UPLOADS = 8
_Content = TypeVar("_Content", Encoded, Encoded | EncodedFile)


class Packer:
    """The uploads of one batch. Contents that the lake has, or the batch has uploaded, are skipped.

    `strict`: a failing upload raises its error. Otherwise `failed` has the content and the error.
    `mend`: called with the contents that the lake has, and their places. It uploads those again
    that cannot be read.
    """

    def __init__(
        self,
        catalog: Catalog,
        objects: ObjectStore | None,
        spool: Spool,
        *,
        strict: bool,
        mend: Callable[[Iterable[Encoded | EncodedFile], Mapping[ContentId, Place]], object],
    ) -> None:
        self._catalog = catalog
        self._mend = mend
        self._objects = objects
        self._spool = spool
        self._strict = strict
        self._waiting: dict[bytes, Encoded] = {}
        self._bytes = 0
        self._uploads: list[Upload] = []
        self._leased: set[str] = set()
        self._pool: ThreadPoolExecutor | None = None
        self._running: deque[_Running] = deque()
        self.failed: dict[ContentId, LakebedError] = {}

    def add(self, encoded: Encoded | EncodedFile) -> None:
        """Take a value for the lake.

        A full pack is uploaded. A table or a large value is uploaded at once.
        """
        content_hash, size = encoded.content_hash, encoded.byte_size
        waiting = self._waiting.get(content_hash)
        while any(encoded.id in running.ids for running in self._running):
            self._settle()  # may fail, and is then tried again
        if (waiting and waiting.id == encoded.id) or self._spool.is_placed(encoded.id):
            return
        # Other programs read tables in place. A pack holds a hash once, so the same bytes in
        # another format are a separate object.
        if (
            isinstance(encoded, EncodedFile)
            or encoded.format == "parquet"
            or size > MAX_VALUE_BYTES
            or waiting
        ):
            self._upload_alone(encoded)
            return
        if self._bytes + size > PACK_BYTES or len(self._waiting) == PACK_OBJECTS:
            self._upload_pack()
        self._waiting[content_hash] = encoded
        self._bytes += size

    def finish(self) -> list[Upload]:
        """Upload the values that wait. Return all uploads since the last commit."""
        if self._waiting:
            self._upload_pack()
        while self._running:
            self._settle()
        return self._uploads

    def add_kept(self) -> None:
        """Upload contents that the lake had when they came, and has lost since."""
        for encoded in self._spool.kept():
            self.add(encoded)
            encoded.close()

    def committed(self) -> None:
        """Note that the uploads now belong to the catalog."""
        self._uploads = []
        self._leased = set()
        self.failed = {}

    def discard(self) -> None:
        """Discard the values that wait, and give up the uploads that no commit has claimed."""
        self._waiting = {}
        self._bytes = 0
        running, self._running = self._running, deque()
        wait([upload.future for upload in running])
        if self._leased:
            give_up(self._catalog, self._leased)
        self.committed()

    def close(self) -> None:
        """Discard, and end the threads."""
        self.discard()
        if self._pool is not None:
            self._pool.shutdown()

    def _upload_pack(self) -> None:
        waiting = list(self._waiting.values())
        self._waiting = {}
        size, self._bytes = self._bytes, 0
        pack = self._unknown(waiting)
        if not pack or self._objects is None:
            return
        objects, ids = self._objects, _ids(pack)
        with self._uploading(ids), self._leased_path(pack_path()) as path:
            self._start(ids, size, path, lambda: _upload_pack(objects, path, pack))

    def _upload_alone(self, encoded: Encoded | EncodedFile) -> None:
        if not self._unknown([encoded]) or self._objects is None:
            return
        objects = self._objects
        with (
            self._uploading([encoded.id]),
            self._leased_path(object_path(encoded.content_hash, encoded.format)) as path,
        ):
            self._start(
                [encoded.id], encoded.byte_size, path, lambda: _alone(objects, path, encoded)
            )
            if isinstance(encoded, EncodedFile):  # the file is closed when this returns
                while self._running:
                    self._settle()

    def _start(
        self,
        ids: Sequence[ContentId],
        size: int,
        path: str,
        job: Callable[[], _Uploaded],
    ) -> None:
        """Start an upload in another thread. At most one pack's worth of bytes is under way."""
        while self._running and sum(r.size for r in self._running) + size > PACK_BYTES:
            self._settle()
        if self._pool is None:
            self._pool = ThreadPoolExecutor(_UPLOADS, "lakebed-upload")
        self._running.append(_Running(self._pool.submit(job), frozenset(ids), size, path))

    def _settle(self) -> None:
        """Wait for the oldest upload, and note the places of its contents."""
        running = self._running.popleft()
        with self._uploading(running.ids), self._giving_up(running.path):
            uploaded, positions = running.future.result()
            self._uploads.append(uploaded)
            for content in running.ids:
                position = positions.get(content[0])
                self._spool.place(content, running.path, position and str(position))

    def _unknown(self, contents: Sequence[_Content]) -> list[_Content]:
        """Return the contents that the lake lacks. Keep the bytes of the others."""
        ids = _ids(contents)
        places: Mapping[ContentId, Place] | None = None
        with self._uploading(ids):
            places = self._catalog.places(ids)
        if places is None:
            return []
        known = [item for item in contents if item.id in places]
        with self._uploading(_ids(known)):
            self._mend(known, places)
            for item in known:
                self._spool.keep(item)
        return [item for item in contents if item.id not in places]

    @contextmanager
    def _uploading(self, contents: Collection[ContentId]) -> Iterator[None]:
        """Open a block that notes the contents as failed if it raises, unless the packer is
        strict."""
        try:
            yield
        except LakebedError as error:
            if self._strict:
                raise
            self.failed |= dict.fromkeys(contents, error)
        else:
            for content in contents:
                self.failed.pop(content, None)

    @contextmanager
    def _leased_path(self, path: str) -> Iterator[str]:
        """Open a block with a leased path, which is given up if the block fails."""
        self._leased.add(path)
        with self._giving_up(path):
            self._catalog.lease([path], LEASE_SECONDS)
            yield path

    @contextmanager
    def _giving_up(self, path: str) -> Iterator[None]:
        """Open a block, and give up the path if it fails."""
        try:
            yield
        except LakebedError:
            give_up(self._catalog, [path])
            self._leased.discard(path)
            raise


_Uploaded = tuple[Upload, Mapping[bytes, Position]]


class _Running(NamedTuple):
    """An upload under way: its contents, its size in bytes, and its path."""

    future: Future[_Uploaded]
    ids: Set[ContentId]
    size: int
    path: str


def _upload_pack(objects: ObjectStore, path: str, pack: list[Encoded]) -> _Uploaded:
    with objects.open_write(path) as sink:
        positions = write_pack(pack, sink)
        size = sink.tell()
        pack.clear()  # the sink has the bytes now, so free the memory before the upload
    return Upload(path, size, len(positions)), positions


def _ids(contents: Iterable[Encoded | EncodedFile]) -> list[ContentId]:
    return [item.id for item in contents]


def _alone(objects: ObjectStore, path: str, encoded: Encoded | EncodedFile) -> _Uploaded:
    return upload(objects, path, encoded), {}
