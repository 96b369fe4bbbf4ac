"""Publishing: the lake as plain Parquet, for engines that know nothing of its catalog."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from lakebed.errors import ConfigurationError, LakebedError
from lakebed.lake.checks import check_flag
from lakebed.lake.history.snapshot import Snapshot
from lakebed.lake.history.snapshots import LakeView, Snapshots
from lakebed.model import EntryRow, Progress, Report
from lakebed.objects.opening import parse_place
from lakebed.objects.store import ObjectStore

if TYPE_CHECKING:
    from lakebed.lake.share.publication import EntriesFile, Tables
    from lakebed.lake.share.publication_place import PublicationPlace
    from lakebed.lake.share.publication_segments import PublicationSegments


class Published(Report):
    """What `publish` wrote: where the entries and the tables lie (full URIs; `tables_uri` is None
    if there are no tables), the number of entries, of distinct tables and of files of the search
    index, the size of all files in bytes, and the version of the lake that they show."""

    uri: str
    tables_uri: str | None
    entries: int
    tables: int
    segments: int
    byte_size: int
    version: int


class Publishing(Snapshots):
    """The call that publishes."""

    def publish(
        self,
        uri: str | os.PathLike[str] | Mapping[str, object],
        *,
        snapshot: str | Snapshot | None = None,
        search: bool = False,
        progress: Progress | None = None,
    ) -> Published:
        """Write a snapshot, or the lake as it is now, as Parquet that any engine reads.

        `uri`: a path, a URI that fsspec knows, or a mapping with `uri` and the filesystem's
        options; one on the same kind of storage as the lake has the lake's options if it brings
        none. It is a place of its own, new or of an earlier publication: whatever else is there, or
        in `<uri>-tables`, is neither replaced nor deleted, and refused before anything is written.

        `<uri>/entries.parquet` has a row for each entry, in key order. Columns: key (string),
        version (int64), content_hash (string), format (string), byte_size (int64), metadata
        (string, JSON), expires_at, created_at, updated_at (timestamp[us, UTC]), value (string: the
        JSON of a `json` value), value_bytes (binary: a `bytes` value), table_uri (string: the
        Parquet file of a table). Tables lie beside it, in a folder of `<uri>-tables/` that the
        report names, each content once.

        `search`: write the search index of the entries too, into that folder, so that
        `lakebed.open_publication` can search without the lake. It comes from the lake's own index
        as far as that goes; `maintain` brings it up to date.

        The entries appear at once when all is written, over those of the publication before; a
        failure leaves that as it was. Its tables stay until the next publication. Memory is bounded
        at about 200 MB, 300 with `search`; on its way to a bucket the entries' file takes room in
        the system's folder for temporary files.

        Raises ConflictError if something else lies there, or what was published was changed since;
        ConfigurationError for a place that cannot be published to or resolved, such as one in the
        lake; ReadOnlyError without `snapshot` if the lake is read_only, as a snapshot keeps the
        present meanwhile; CorruptionError for a damaged content; StorageError if a storage fails.
        """
        check_flag("search", search)
        if snapshot is None:
            self._must_write("publish without snapshot=")  # it keeps the present as one
        place = self._place(uri)
        before = place.examine()
        if snapshot is not None:
            found = self._find(snapshot)
            return self._publish(self.at(found.id), found.version, place, before, search, progress)
        # A snapshot for as long as it takes: one state, whose contents nothing collects.
        kept = self.create_snapshot(f"publishing-{os.urandom(8).hex()}")
        try:
            return self._publish(self.at(kept), kept.version, place, before, search, progress)
        finally:
            self.drop_snapshot(kept)

    def _publish(
        self,
        view: LakeView,
        version: int,
        place: PublicationPlace,
        before: str | None,
        search: bool,
        progress: Progress | None,
    ) -> Published:
        from lakebed.lake.share.publication import EntriesFile, Tables, new_publication
        from lakebed.lake.share.publication_place import ENTRIES_FILE, Hashing

        target, tables = place.target, place.tables
        publication = new_publication(self._catalog.now())
        copies = Tables(self._objects, tables, publication)
        with target.open_write(ENTRIES_FILE) as unhashed:
            sink = Hashing(unhashed)
            try:
                place.write_manifest(publication, {})
                segments = self._segments(place, publication) if search else None
                with EntriesFile(sink, publication) as file:
                    done = _write(view, file, copies, segments, progress)
                hashes = {ENTRIES_FILE: sink.hexdigest(), **copies.hashes()}
                size = sink.tell() + copies.byte_size
                if segments is not None:
                    segments.finish()
                    hashes |= segments.hashes()
                    size += segments.byte_size
                size += place.write_manifest(publication, hashes)
            except BaseException:
                # Not when the upload below fails: it may have reached the storage all the same.
                with suppress(LakebedError):  # else the next publication removes them
                    place.discard(publication)
                raise
        place.remove_leftovers({publication, before})
        return Published(
            uri=target.uri("").rstrip("/"),
            tables_uri=tables.uri(publication) if copies.count else None,
            entries=done,
            tables=copies.count,
            segments=segments.count if segments is not None else 0,
            byte_size=size,
            version=version,
        )

    def _segments(self, place: PublicationPlace, publication: str) -> PublicationSegments:
        from lakebed.lake.share.publication_segments import PublicationSegments  # loads NumPy

        return PublicationSegments(self._searcher(), place.tables, publication)

    def _place(self, place: object) -> PublicationPlace:
        """The storage of the entries, and that of the tables beside it."""
        from lakebed.lake.share.publication_place import open_place

        uri, options = parse_place("uri", place)
        found = open_place(uri, options or self._options_for(uri))
        for store in (found.target, found.tables):
            self._refuse_own_storage(store)
        return found

    def _options_for(self, uri: str) -> dict[str, object]:
        """The options of the lake's own storage, if it is of the same kind."""
        from lakebed.objects.cloud import CloudStore
        from lakebed.objects.remote import FsspecStore

        own = self._objects
        if isinstance(own, (CloudStore, FsspecStore)) and _protocol(own.uri("")) == _protocol(uri):
            return dict(own.options)
        return {}

    def _refuse_own_storage(self, target: ObjectStore) -> None:
        if self._objects is None:
            return
        if self._objects.site().overlaps(target.site()):
            raise ConfigurationError(
                f"uri {target.uri('')} and the lake's storage {self._objects.uri('')} lie in each "
                "other: publish elsewhere"
            )


def _protocol(uri: str) -> str:
    return uri.partition("://")[0]


def _write(
    view: LakeView,
    file: EntriesFile,
    copies: Tables,
    segments: PublicationSegments | None,
    progress: Progress | None,
) -> int:
    """Write the entries of a view, their tables, and what is searched of them; how many."""
    from lakebed.lake.share.publication import chunks

    done, total = 0, len(view)
    for rows in chunks(view.list().rows()):
        uris = copies.add(row for row in rows if row.format == "parquet")
        contents = dict(_contents(view, (row for row in rows if row.format != "parquet")))
        file.add(rows, contents, uris)
        if segments is not None:
            segments.add(rows, contents)
        done += len(rows)
        if progress:
            progress(done, total)
    return done


def _contents(view: LakeView, rows: Iterable[EntryRow]) -> Iterator[tuple[str, bytes]]:
    for row, data in view.read_contents(rows):
        if isinstance(data, LakebedError):
            raise data
        yield row.key, data
