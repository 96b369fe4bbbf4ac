"""Finds damage, and repairs what the catalog can repair by itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice

from lakebed.catalog.pairs.commit import Commit
from lakebed.catalog.pairs.core import PairStore
from lakebed.catalog.pairs.records import Records
from lakebed.catalog.rows import Place
from lakebed.model import BrokenReference, Content, ContentId, Naming, ObjectRow, Upload


class Examining(PairStore):
    """The calls for `verify`. `Upkeep` describes them."""

    def objects(self, after: int, limit: int) -> Sequence[ObjectRow]:
        def find(records: Records) -> list[ObjectRow]:
            found = islice(records.contents(after), limit)
            return [ObjectRow(stored.number, *stored.content) for stored in found]

        return self._reading(find)

    def names(self, object_id: int) -> Sequence[Naming]:
        def find(records: Records) -> list[Naming]:
            named = next(records.contents(object_id - 1), None)
            if named is None:
                return []
            wanted = {named.content.id}
            wanted |= {table for table, parts in records.tables() if named.content.id in parts}
            rows = records.entries()
            return [
                Naming(row.key, row.version, None)
                for row in rows
                if (row.content_hash, row.format) in wanted
            ]

        return self._reading(find)

    def check_references(self) -> Sequence[BrokenReference]:
        return self._reading(lambda records: list(_broken(records)))

    def mend(self, broken: BrokenReference) -> bool:
        return self._writing(lambda records, _: _mend(records, broken))

    def replace(self, content: ContentId, place: Place, new: Upload | bytes) -> bool:
        def point(records: Records, commit: Commit) -> bool:
            with commit.claimed([] if isinstance(new, bytes) else [new]):
                stored = records.stored(content)
                if stored is None:
                    return False
                size = stored.content.byte_size
                if isinstance(new, bytes):
                    return commit.replace(content, place, Content(*content, size, new))
                return commit.replace(content, place, Content(*content, size, uri=new.uri))

        return self._writing(point)


def _broken(records: Records) -> Iterator[BrokenReference]:
    contents = {stored.content.id: stored for stored in records.contents()}
    for row in records.entries():
        if (row.content_hash, row.format) not in contents:
            yield BrokenReference("no object", row.key, None, None)
    held = Counter(stored.content.uri for stored in contents.values())
    for uri in sorted({path for path, _ in records.trash()} & held.keys()):
        yield BrokenReference("trash in use", None, uri, None)
    for uri in sorted({path for path, _ in records.leases()} & held.keys()):
        yield BrokenReference("lease in use", None, uri, None)
    for uri, file in records.files():
        if file.live != held[uri]:
            yield BrokenReference("miscounted pack", None, uri, held[uri])
    noted = {stored.number for stored in records.contents(kind="d")}
    for stored in contents.values():
        if not stored.names and stored.number not in noted:
            yield BrokenReference("unnoted", None, None, stored.number)


def _mend(records: Records, broken: BrokenReference) -> bool:
    uri, number = broken.uri or "", broken.number
    file = records.file(uri)
    if broken.kind == "trash in use":
        records.pairs.remove("t" + uri)
    elif broken.kind == "lease in use":
        records.claim(uri)
    elif broken.kind == "miscounted pack" and file is not None and number is not None:
        records.put_file(uri, file._replace(live=number, dead=file.live + file.dead - number))
    elif broken.kind == "unnoted" and number is not None:
        stored = next(records.contents(number - 1))
        records.note_unnamed(stored)
    else:
        return False
    return True
