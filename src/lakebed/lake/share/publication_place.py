"""The place of a publication. A manifest lists its files with their hashes. No other file is ever
replaced or deleted."""

from __future__ import annotations

import io
import json
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from lakebed.clock import system_clock
from lakebed.errors import ConfigurationError, ConflictError, CorruptionError
from lakebed.objects.names import upload_of
from lakebed.objects.opening import open_store
from lakebed.objects.places import local_path
from lakebed.objects.store import ObjectStore, StoredFile
from lakebed.paths import absolute

ENTRIES_FILE = "entries.parquet"
MANIFEST = "manifest.json"
ID = b"lakebed_publication"
"""The name of the publication's id in the footer of the entries' file."""

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_LEFTOVER_SECONDS = 86_400
_PIECE = 8 << 20
# The last bytes of a Parquet file: the length of the footer, little-endian, and PAR1.
_TAIL = 8
_PUBLICATION = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}")
_COPY = re.compile(r"([0-9a-f]{64})\.(?:parquet|segment)")
_MOST_MANIFEST = 1 << 28  # bytes; a manifest has one line for each table

Hashes = Mapping[str, str]
"""The SHA-256 of files, by name."""


class Hashing(io.RawIOBase):
    """A stream that writes a file from beginning to end, and hashes the data."""

    def __init__(self, sink: BinaryIO) -> None:
        self._sink = sink
        self._hash = sha256()
        self._size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer) -> int:
        view = memoryview(data)
        self._hash.update(view)
        self._sink.write(view)
        self._size += view.nbytes
        return view.nbytes

    def tell(self) -> int:
        return self._size

    def hexdigest(self) -> str:
        """Return the hash of the data written so far, in hexadecimal digits."""
        return self._hash.hexdigest()


def open_place(uri: str, options: Mapping[str, object]) -> PublicationPlace:
    """Open the folder of the entries and the one beside it, for the tables.

    Raises ConfigurationError if `uri` is a whole bucket.
    """
    folder = local_path(uri)
    if folder is None:
        protocol, _, path = (uri := uri.rstrip("/")).rpartition("://")
        if "/" not in path and protocol != "memory":
            raise ConfigurationError(
                f"uri {uri} must be a folder, not a whole bucket, because tables go beside the "
                f"entries: use for example {uri}/published"
            )
    else:
        uri = absolute(folder)
        if f"{os.sep}.." in uri:  # resolve it, so that `-tables` is appended to a name
            uri = os.path.realpath(uri)
    return PublicationPlace(open_store(uri, options), open_store(f"{uri}-tables", options))


class PublicationPlace:
    """The two folders of a publication. `target` holds its entries. `tables` holds a folder for
    each publication, with its manifest, the copies of its tables, and its search index."""

    def __init__(self, target: ObjectStore, tables: ObjectStore) -> None:
        self.target = target
        self.tables = tables

    def examine(self) -> str | None:
        """Return the id of the publication at this place, or None if it is empty.

        Raises ConflictError if either folder has a file that no publication wrote, or that was
        changed since it was published.
        """
        folders = self._folders()
        entries: StoredFile | None = None
        for file in self.target.list(""):
            if file.path == ENTRIES_FILE:
                entries = file
            elif upload_of(file.path) != ENTRIES_FILE:  # an unfinished upload of it is allowed
                raise self._foreign(self.target, file.path)
        if entries is None:
            return None
        publication = publication_of(read_footer(self.target, entries.byte_size))
        hashes = folders.get(publication or "", {})
        if publication is None or ENTRIES_FILE not in hashes:
            raise ConflictError(
                f"{self.target.uri(ENTRIES_FILE)} does not belong to a publication at this place: "
                "publish to another place"
            )
        if _hash(self.target, entries) != hashes[ENTRIES_FILE]:
            raise ConflictError(
                f"{self.target.uri(ENTRIES_FILE)} was changed since it was published: publish to "
                "another place"
            )
        return publication

    def write_manifest(self, publication: str, hashes: Hashes) -> int:
        """Write the manifest of a publication. Return its size in bytes.

        An empty manifest is written before the first file, so that the files of a killed
        publication can be recognised later.
        """
        text = json.dumps({"publication": publication, "files": dict(hashes)}, indent=1)
        with self.tables.open_write(f"{publication}/{MANIFEST}") as file:
            return file.write(text.encode())

    def discard(self, publication: str) -> None:
        """Delete the files of a publication that failed."""
        files = [file for file in self.tables.list(publication) if _folder(file) == publication]
        self._remove(publication, files)

    def remove_leftovers(self, keep: set[str | None]) -> None:
        """Delete the tables of publications that are not in `keep` and are older than a day.

        Another process may still be writing younger ones.
        """
        horizon = system_clock() - _LEFTOVER_SECONDS * 1_000_000  # microseconds
        for publication, files in self._by_folder().items():
            if publication not in keep and max(file.modified for file in files) < horizon:
                self._remove(publication, files)

    def _remove(self, publication: str, files: Sequence[StoredFile]) -> None:
        """Delete the files that the publication wrote, the manifest last.

        A file whose hash differs from its name stays, even a half-written one, because nothing
        proves that the publication wrote it.
        """
        if self.manifest(publication) is None:
            return
        proven = [file.path for file in files if self._is_copy(file)]
        self.tables.delete(proven)
        if {file.path for file in files} == {*proven, f"{publication}/{MANIFEST}"}:
            self.tables.delete([f"{publication}/{MANIFEST}"])

    def _is_copy(self, file: StoredFile) -> bool:
        """Return whether a file's bytes have the hash in its name."""
        try:
            named = _COPY.fullmatch(_name(file))
            return named is not None and _hash(self.tables, file) == named[1]
        except (FileNotFoundError, CorruptionError):
            return False

    def _folders(self) -> dict[str, Hashes]:
        """Return the manifests of the publications that have a folder beside the entries, by id.

        Raises ConflictError if there is any other file.
        """
        found = dict[str, Hashes]()
        for publication, files in self._by_folder().items():
            finished = [file for file in files if not _is_unfinished(file.path)]
            hashes = self.manifest(publication)
            if hashes is None and finished:
                raise self._foreign(self.tables, finished[0].path)
            for file in files:
                name = upload_of(file.path).rpartition("/")[2]
                if name != MANIFEST and not _COPY.fullmatch(name):
                    raise self._foreign(self.tables, file.path)
            found[publication] = hashes or {}
        return found

    def _by_folder(self) -> dict[str, list[StoredFile]]:
        folders = defaultdict[str, list[StoredFile]](list)
        for file in self.tables.list(""):
            if file.path.count("/") != 1 or not _PUBLICATION.fullmatch(_folder(file)):
                raise self._foreign(self.tables, file.path)
            folders[_folder(file)].append(file)
        return folders

    def manifest(self, publication: str) -> Hashes | None:
        """Return the manifest of a publication, or None if it is missing or invalid."""
        path = f"{publication}/{MANIFEST}"
        try:
            if self.tables.size(path) > _MOST_MANIFEST:
                return None
            found = json.loads(self.tables.read(path))
        except (FileNotFoundError, CorruptionError, ValueError):
            return None
        if not isinstance(found, dict) or found.get("publication") != publication:
            return None
        files = found.get("files")
        return files if isinstance(files, dict) else None

    def _foreign(self, store: ObjectStore, path: str) -> ConflictError:
        return ConflictError(
            f"{store.uri('')} holds {path!r}, which does not belong to a publication: publish to "
            "another place"
        )


def read_footer(target: ObjectStore, size: int) -> pq.FileMetaData | None:
    """Return the footer of the entries' file, or None if it has none. The rest is not read."""
    tail = target.read(ENTRIES_FILE, max(0, size - _TAIL), _TAIL)
    length = int.from_bytes(tail[:4], "little") + _TAIL
    if not tail.endswith(b"PAR1") or length > size:
        return None
    footer = target.read(ENTRIES_FILE, size - length, length)
    try:
        return pq.read_metadata(io.BytesIO(b"PAR1" + footer))
    except (pa.ArrowException, OSError):
        return None


def publication_of(footer: pq.FileMetaData | None) -> str | None:
    """Return the id of the publication in a footer, or None if it has none."""
    found = b"" if footer is None else (footer.metadata or {}).get(ID, b"")
    publication = found.decode(errors="replace")
    return publication if _PUBLICATION.fullmatch(publication) else None


def _hash(store: ObjectStore, file: StoredFile) -> str:
    found = sha256()
    for piece in pieces(store, file.path, file.byte_size):
        found.update(piece)
    return found.hexdigest()


def pieces(store: ObjectStore, path: str, size: int) -> Iterable[bytes]:
    """Yield the data of a file in parts that fit into memory."""
    return (
        store.read(path, offset, min(_PIECE, size - offset)) for offset in range(0, size, _PIECE)
    )


def _folder(file: StoredFile) -> str:
    return file.path.partition("/")[0]


def _name(file: StoredFile) -> str:
    return file.path.rpartition("/")[2]


def _is_unfinished(path: str) -> bool:
    """Return whether a killed writer left this file."""
    return upload_of(path) != path
