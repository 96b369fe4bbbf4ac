"""Repairs contents that the catalog names but the storage has lost, when a store brings the
bytes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice

from lakebed.catalog.protocol import Place
from lakebed.errors import CorruptionError, StorageError
from lakebed.lake.base import PresentLake
from lakebed.lake.contents.uploading import LEASE_SECONDS, Content, give_up, upload
from lakebed.model import ContentId
from lakebed.objects.names import object_path
from lakebed.objects.packs import Position, read_values
from lakebed.objects.store import ObjectStore, Range, ReadResult
from lakebed.values.encoded import Encoded

READ_BYTES = 1 << 20
"""The largest object in a bucket, in bytes, whose bytes are read and compared. For larger ones only
the size is checked. In a folder, all bytes are compared."""

_ATTEMPTS = 5
_AT_ONCE = 32


class Mending(PresentLake):
    """The repair of contents that a store finds in the lake."""

    _far: bool | None = None

    def _mend(
        self, contents: Iterable[Content], places: Mapping[ContentId, Place] | None = None
    ) -> set[ContentId]:
        """Upload those contents again that the storage should have and cannot give. Return them.

        All entries with these contents can then be read again. `places`: the places of the
        contents, if the catalog was just asked.

        In a folder, all bytes are compared. In a bucket, each client compares the bytes of a
        content once (see `READ_BYTES`), and again once it was found missing or damaged.
        """
        if self._objects is None:
            return set()
        far = self._is_far()
        wanted = {
            content.id: content
            for content in contents
            if not (far and self._witness.has_seen(content.id))
        }
        mended = set[ContentId]()
        for _ in range(_ATTEMPTS):
            if not wanted:
                return mended
            places = self._catalog.places(wanted) if places is None else places
            stored = {content: places[content] for content in wanted if _is_stored(places, content)}
            moved = dict[ContentId, Content]()
            for content in set(self._unreadable(self._objects, wanted, stored, far)):
                if self._upload_anew(self._objects, wanted[content], stored[content]):
                    mended.add(content)
                else:  # a compaction or another writer was faster
                    moved[content] = wanted[content]
            self._witness.saw(stored.keys() - moved.keys())
            wanted, places = moved, None
        raise StorageError("contents that were stored again move each time they are looked for")

    def _is_far(self) -> bool:
        """Return whether reading from the storage takes a request to a service."""
        if self._far is None:
            assert self._objects is not None
            self._far = self._objects.site().service != "file"
        return self._far

    def _unreadable(
        self,
        objects: ObjectStore,
        wanted: Mapping[ContentId, Content],
        places: Mapping[ContentId, Place],
        far: bool,
    ) -> Iterator[ContentId]:
        packs = defaultdict[str, dict[Position, list[ContentId]]](lambda: defaultdict(list))
        files: list[ContentId] = []
        for content, place in places.items():
            uri = place.uri or ""
            if place.position is None:
                files.append(content)
                continue
            try:
                packs[uri][Position.parse(place.position)].append(content)
            except CorruptionError:
                yield content
        if packs:
            for uri, position, data in read_values(objects, packs):
                for content in packs[uri][position]:
                    if not _is(data, wanted[content]):
                        yield content
        uris = {content: places[content].uri or "" for content in files}
        small = [content for content in files if far and wanted[content].byte_size <= READ_BYTES]
        for some in _parts(small):
            found = objects.read_many([Range(uris[content]) for content in some])
            for content, data in zip(some, found, strict=True):
                if not _is(data, wanted[content]):
                    yield content
        for content in set(files).difference(small):
            if (far and content in self._witness.lost) or not _is_whole(
                objects, uris[content], wanted[content], far
            ):
                yield content

    def _put_inline(self, contents: Sequence[Encoded]) -> set[ContentId]:
        """Put small contents into the catalog, in place of those in the storage. Return them."""
        wanted, done = {content.id: content for content in contents}, set[ContentId]()
        for _ in range(_ATTEMPTS):
            places = self._catalog.places(wanted)
            stored = {content for content in wanted if _is_stored(places, content)}
            moved = {
                content
                for content in stored
                if not self._catalog.replace(content, places[content], wanted[content].data)
            }
            done |= stored - moved
            if not moved:
                return done
        raise StorageError("contents that were stored again move each time they are looked for")

    def _upload_anew(self, objects: ObjectStore, content: Content, place: Place) -> bool:
        """Upload a content and point the catalog to it.

        Returns False if the content is no longer at `place`.
        """
        path = object_path(content.content_hash, content.format)
        self._catalog.lease([path], LEASE_SECONDS)
        try:
            new = upload(objects, path, content)
            return self._catalog.replace(content.id, place, new)
        except Exception:
            give_up(self._catalog, [path])
            raise


def _is_stored(places: Mapping[ContentId, Place], content: ContentId) -> bool:
    place = places.get(content)
    return place is not None and place.uri is not None


def _is(data: ReadResult, content: Content) -> bool:
    """Return whether the bytes that were read are the content.

    Raises errors that say nothing about the content, such as an outage.
    """
    if isinstance(data, bytes):
        return data == content.data
    if isinstance(data, (FileNotFoundError, CorruptionError)):
        return False
    raise data


def _is_whole(objects: ObjectStore, path: str, content: Content, far: bool) -> bool:
    """Return whether a file is the content, or for a large one in a bucket, has its size."""
    try:
        if isinstance(content, Encoded) and not far:
            return objects.read(path) == content.data
        if objects.size(path) != content.byte_size:
            return False
        if far:
            return True
        offset = 0
        for piece in content.pieces():
            if objects.read(path, offset, len(piece)) != piece:
                return False
            offset += len(piece)
    except (FileNotFoundError, CorruptionError):
        return False
    return True


def _parts(contents: Sequence[ContentId]) -> Iterator[list[ContentId]]:
    rest = iter(contents)
    return iter(lambda: list(islice(rest, _AT_ONCE)), [])
