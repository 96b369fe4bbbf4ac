"""Purge: removes keys, and has the bytes of their contents deleted at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

from lakebed.catalog.pairs.commit import Commit
from lakebed.catalog.pairs.compacting import Compacts
from lakebed.catalog.pairs.records import Records
from lakebed.model import PackRow, Purged, PurgePreview

_ALL = 2**62


class Purges(Compacts):
    """The calls for `purge`. `Upkeep` describes them. Also needs `Collects` and `Compacts`."""

    def purge(self, low: str, high: str, limit: int) -> Purged:
        return self._writing(lambda records, commit: _purge(records, commit, low, high, limit))

    def preview_purge(self, low: str, high: str) -> PurgePreview:
        def count(records: Records, commit: Commit) -> PurgePreview:
            files = {path for path, file in records.files() if file.pack is None}
            found = _purge(records, commit, low, high, _ALL)
            gone = files - {path for path, _ in records.files()}
            return PurgePreview(found.entries, 0, found.byte_size, len(gone), len(found.packs), ())

        return self._rehearse(count)

    def wear(self, pack: PackRow) -> None:
        self._writing(lambda records, _: _wear(records, pack.uri))

    def packs_with_dead(self, after: int, limit: int) -> Sequence[PackRow]:
        def find(records: Records) -> list[PackRow]:
            packs = (pack for pack in records.packs() if pack.id > after and pack.dead)
            return list(islice(packs, limit))

        return self._reading(find)

    def uploads(self) -> Sequence[str]:
        return self._reading(lambda records: [path for path, _ in records.leases()])

    def expedite(self, paths: Iterable[str]) -> None:
        self._writing(lambda records, _: _expedite(records, paths))


def _purge(records: Records, commit: Commit, low: str, high: str, limit: int) -> Purged:
    packs = {pack.uri: pack for pack in records.packs()}
    entries, gone = commit.dropped_of(low, high, limit)
    paths = {content.uri for content in gone if content.uri is not None}
    _expedite(records, paths)
    touched = [packs[path] for path in sorted(paths & packs.keys())]
    for pack in touched:
        _wear(records, pack.uri)
    hashes = [content.content_hash for content in gone]
    return Purged(entries, 0, hashes, sum(content.byte_size for content in gone), touched, ())


def _expedite(records: Records, paths: Iterable[str]) -> None:
    for path in paths:
        if records.pairs.get("t" + path) is not None:
            records.pairs.set("t" + path, "0")


def _wear(records: Records, path: str) -> None:
    file = records.file(path)
    if file is not None:
        records.put_file(path, file._replace(dead=max(file.dead, file.live + 1)))
