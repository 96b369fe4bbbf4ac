"""Publish the lake as plain Parquet, for engines that do not know its catalog."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from itertools import chain
from typing import TYPE_CHECKING

from lakebed.errors import ConfigurationError, LakebedError
from lakebed.lake.checks import check_flag
from lakebed.lake.history.snapshot import Snapshot
from lakebed.lake.history.snapshots import LakeView, Snapshots
from lakebed.model import EntryRow, Progress
from lakebed.objects.opening import parse_place
from lakebed.objects.store import ObjectStore
from lakebed.records import Report
from lakebed.values.hash import digests
from lakebed.values.parts import TABLE, decode_parts

if TYPE_CHECKING:
    from lakebed.lake.share.publication import EntriesFile, Tables
    from lakebed.lake.share.publication_place import PublicationPlace
    from lakebed.lake.share.publication_segments import PublicationSegments


class Published(Report):
    """The result of `publish`.

    | field | |
    | --- | --- |
    | `uri` | the full URI of the entries |
    | `tables_uri` | the full URI of the tables; None if there are none |
    | `entries`, `tables` | the number of entries, and of distinct tables |
    | `segments` | the number of files of the search index |
    | `byte_size` | the size of all files in bytes |
    | `version` | the version of the lake that was published |
    """

    uri: str
    tables_uri: str | None
    entries: int
    tables: int
    segments: int
    byte_size: int
    version: int


class Publishing(Snapshots):
    """The call `publish`."""

    def publish(
        self,
        uri: str | os.PathLike[str] | Mapping[str, object],
        *,
        snapshot: str | Snapshot | None = None,
        search: bool = False,
        progress: Progress | None = None,
    ) -> Published:
        """Write a snapshot, or the lake as it is now, as Parquet that any engine can read.

        `uri`: a path, a URI that fsspec knows, or a mapping with `uri` and the filesystem's
        options. If no options are given, and the place is on the same kind of storage as the lake,
        the lake's options are used. The place and `<uri>-tables` must be empty or have an earlier
        publication. This is checked before anything is written.

        `<uri>/entries.parquet` has a row for each entry, in key order. Columns: key (string),
        version (int64), content_hash (string), format (string), byte_size (int64), metadata
        (string, JSON), expires_at, created_at, updated_at (timestamp[us, UTC]), value (string: the
        JSON of a `json` value), value_bytes (binary: a `bytes` value), table_uri (string: the
        Parquet file of a table). The tables are in a folder of `<uri>-tables/` that the report
        names, each content once.

        `snapshot`: its name, id or `Snapshot`. `search`: also write the search index of the entries
        into that folder, so that `lakebed.open_publication` can search without the lake. It is
        copied from the lake's own index as far as possible. `maintain` updates that index.
        `progress` is called with the number of entries written and their total.

        The entries appear in one step when everything is written, and replace those of the previous
        publication. A failure leaves the previous publication as it was. Its tables stay until the
        next publication. Memory is limited to about 200 MB, 300 MB with `search`. For a bucket, the
        entries' file is first written to the system's folder for temporary files.

        Raises ConflictError if the place has other files, or if a published file was changed since.
        Raises ConfigurationError for a place that cannot be used, such as one in the lake, and
        NotFoundError if the snapshot does not exist. Raises ReadOnlyError if the lake is read-only
        and `snapshot` is not given, because a temporary snapshot must keep the present. Raises
        CorruptionError for a damaged content, and StorageError if a storage fails.
        """
        check_flag("search", search)
        if snapshot is None:
            self._must_write("publish without snapshot=")  # it creates a temporary snapshot
        place = self._place(uri)
        before = place.examine()
        if snapshot is not None:
            found = self._find(snapshot)
            return self._publish(self.at(found.id), found.version, place, before, search, progress)
        # A temporary snapshot keeps one state, so that its contents cannot be collected.
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
                # But if the upload below fails, keep the files: it may have reached the storage.
                with suppress(LakebedError):  # if this fails, the next publication removes them
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
        """Open the storage of the entries, and that of the tables beside it."""
        from lakebed.lake.share.publication_place import open_place

        uri, options = parse_place("uri", place)
        found = open_place(uri, options or self._options_for(uri))
        for store in (found.target, found.tables):
            self._refuse_own_storage(store)
        return found

    def _options_for(self, uri: str) -> dict[str, object]:
        """Return the options of the lake's own storage, if it is of the same kind."""
        from lakebed.objects.buckets.cloud import CloudStore
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
                f"uri {target.uri('')} and the lake's storage {self._objects.uri('')} overlap: "
                "publish elsewhere"
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
    """Write the entries of a view, their tables, and segments of them. Return their number."""
    from lakebed.lake.share.publication import chunks

    done, total = 0, len(view)
    for rows in chunks(view.list().pages()):
        rows, uris = _copy_tables(view, rows, copies)
        contents = _contents(view, rows)
        file.add(rows, contents, uris)
        if segments is not None:
            segments.add(rows, contents)
        done += len(rows)
        if progress:
            progress(done, total)
    return done


def _copy_tables(
    view: LakeView, rows: Sequence[EntryRow], copies: Tables
) -> tuple[Sequence[EntryRow], dict[str, str]]:
    """Copy the tables of entries. Return the rows, and the URIs of the copies by key.

    In these rows, a table of parts has become a table of a single file.
    """
    shown, uris = list[EntryRow](), dict[str, str]()
    if all(row.format in ("json", "bytes") for row in rows):
        return rows, uris
    for row in rows:
        at = row
        if row.format == TABLE:
            from lakebed.lake.contents.parts import join_parts  # loads pyarrow
            from lakebed.lake.growing.joining import by_partition

            (_, data), *_ = view.read_contents([row])
            if isinstance(data, LakebedError):
                raise data
            table = decode_parts(data)
            # Rows of a partition are together, so that a reader can skip row groups of others.
            order = tuple(chain.from_iterable(by_partition(table.parts).values()))
            parts = view._catalog.parts((row.content_hash, TABLE))
            whole = join_parts(row, table._replace(parts=order), parts, view.read_contents)
            with closing(whole) as joined:
                uris[row.key] = copies.add_joined(joined)
                hashed = (joined.content_hash, "parquet", joined.byte_size)
            at = EntryRow(*row[:6], *hashed, None, None, None)
        elif row.format == "parquet":
            uris[row.key] = copies.add(row)
        shown.append(at)
    return shown, uris


def _contents(view: LakeView, rows: Sequence[EntryRow]) -> list[bytes]:
    """Return the contents in the order of the rows, each empty for a table.

    Raises the error of the first content that cannot be read.
    """
    inline = [row.inline_value for row in rows if row.inline_value is not None]
    if len(inline) == len(rows) and all(row.format != "parquet" for row in rows):
        whole = digests(inline) == [row.content_hash for row in rows]
        if whole:  # most lakes need nothing else
            return inline
    found = dict[str, bytes]()
    for row, data in view.read_contents(row for row in rows if row.format != "parquet"):
        if isinstance(data, LakebedError):
            raise data
        found[row.key] = data
    return [found.get(row.key, b"") for row in rows]
