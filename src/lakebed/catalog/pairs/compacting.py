"""Compaction: moves contents to packs, and counts the live contents of each pack."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from lakebed.catalog.pairs.collecting import Collects
from lakebed.catalog.pairs.commit import Commit
from lakebed.catalog.pairs.records import Records
from lakebed.catalog.rows import GoneObjectsError, Place
from lakebed.catalog.rules import is_visible
from lakebed.model import EntryRow, Move, ObjectRow, PackRow, Upload


class Compacts(Collects):
    """The calls for `compact`. `Upkeep` describes them."""

    def tables_of_parts(self, after: str, limit: int) -> Sequence[EntryRow]:
        def find(records: Records) -> list[EntryRow]:
            now, rows = self.now(), records.entries(f"{after}\0")
            tables = (row for row in rows if row.format == "table" and is_visible(row, now))
            return list(islice(tables, limit))

        return self._reading(find)

    def inline_objects(
        self, after: int, horizon: int, least: int, limit: int
    ) -> Sequence[ObjectRow]:
        def find(records: Records) -> list[ObjectRow]:
            old = (
                ObjectRow(stored.number, *stored.content)
                for stored in records.contents(after)
                if stored.content.inline_value is not None
                and stored.content.format != "table"
                and stored.content.byte_size >= least
                and stored.created_at <= horizon
            )
            return list(islice(old, limit))

        return self._reading(find)

    def worn_packs(self, small: int) -> Sequence[PackRow]:
        def find(records: Records) -> list[PackRow]:
            packs = records.packs()
            return [pack for pack in packs if pack.dead > pack.live or pack.byte_size < small]

        return self._reading(find)

    def pack_objects(self, pack_id: int, uri: str) -> Sequence[ObjectRow]:
        del pack_id

        def find(records: Records) -> list[ObjectRow]:
            found = (stored for stored in records.contents() if stored.content.uri == uri)
            return [ObjectRow(stored.number, *stored.content) for stored in found]

        return self._reading(find)

    def move(self, moves: Sequence[Move], upload: Upload) -> int:
        def point(records: Records, commit: Commit) -> int:
            packs: dict[int | None, str | None] = {pack.id: pack.uri for pack in records.packs()}
            packs[None] = None  # for contents in the catalog
            with commit.claimed([upload]):
                moved, gone = 0, set[int]()
                for move in moves:
                    stored = next(records.contents(move.id - 1), None)
                    if stored is None or stored[0] != move.id:
                        gone.add(move.id)
                        continue
                    old = stored.content
                    new = old._replace(inline_value=None, uri=upload.uri, position=move.position)
                    if move.old_pack in packs and packs[move.old_pack] == old.uri:
                        place = Place(None, old.uri, old.position)
                        moved += commit.replace(old.id, place, new)
                if gone:
                    raise GoneObjectsError(gone)
            return moved

        return self._writing(point)
