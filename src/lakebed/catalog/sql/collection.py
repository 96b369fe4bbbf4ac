"""Finds and removes unreferenced objects, moves objects, and finds damage."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from functools import partial

from lakebed.catalog.protocol import GoneObjectsError, Place
from lakebed.catalog.sql.claims import Claims
from lakebed.catalog.statements.executor import Executor, Row, Transaction
from lakebed.catalog.statements.queries import in_lists, run_for
from lakebed.model import (
    BrokenReference,
    Collected,
    ContentId,
    EntryRow,
    Move,
    Naming,
    ObjectRow,
    PackRow,
    Upload,
    entry_rows,
)

_MARK_BITS = 62


class Collection:
    """The calls of a SQL catalog for its upkeep. `Catalog` describes them."""

    _executor: Executor
    _queries: Mapping[str, str]

    def collect(self, after: int, limit: int, *, dry_run: bool = False) -> Collected:
        if dry_run:
            return self._executor.read(lambda tx: self._judge(tx, after, limit)[0])
        if after <= 0 and "drop_writers" in self._queries:
            drop = self._queries["drop_writers"]
            self._executor.transact(lambda tx: tx.run(drop, {"now": self._executor.stamp()}))
        # No writer may refer to an object that is judged here, or note it as a candidate again.
        return self._executor.transact(lambda tx: self._collect(tx, after, limit), exclusive=True)

    def _collect(self, tx: Transaction, after: int, limit: int) -> Collected:
        collected, dead, last = self._judge(tx, after, limit)
        self._bury(tx, [row[0] for row in dead], [row[2:4] for row in dead])
        if last is not None:
            tx.run(self._queries["delete_candidates"], {"after": after, "last": last})
        return collected

    def _judge(
        self, tx: Transaction, after: int, limit: int
    ) -> tuple[Collected, Sequence[Row], int | None]:
        """Return what a collection finds, the unreferenced objects, and the last candidate."""
        rows = tx.all(self._queries["candidates"], {"after": after, "page": limit})
        dead = [row[:4] for row in rows if row[1] is not None and not row[4]]
        dead += self._parts_left(tx, [row[0] for row in dead])
        last = rows[-1][0] if rows else None
        collected = Collected(
            len(dead), sum(row[1] for row in dead), last if len(rows) == limit else None
        )
        return collected, dead, last

    def preview_collect(self) -> int:
        params = {"now": self._executor.now()}
        ((files,),) = self._executor.fetch(self._queries["preview_collect"], params)
        return int(files)

    def _parts_left(self, tx: Transaction, dead: Sequence[int]) -> list[Row]:
        """Return the parts of dead tables that nothing else refers to: number, size, file and
        pack."""
        parts = self._numbers(tx, "parts_of", dead)
        return [row[:4] for row in self._unreferenced(tx, [n for (n,) in parts], set(dead))]

    def _unreferenced(
        self, tx: Transaction, ids: Sequence[int], dead: Set[int] = frozenset()
    ) -> list[Row]:
        """Return the unreferenced objects among `ids`: number, size, file, pack and hash.

        References from the tables in `dead`, which list parts, do not count.
        """
        held = {part for part, table in self._numbers(tx, "tables_with", ids) if table not in dead}
        return [row for row in self._numbers(tx, "places_unnamed", ids) if row[0] not in held]

    def _numbers(self, tx: Transaction, name: str, ids: Sequence[int]) -> list[Row]:
        """Return the rows of the query `name` about these objects."""
        return [
            row
            for names, params in in_lists(self._queries, ids)
            for row in tx.all(self._queries[name].replace("{ids}", names), params)
        ]

    def _bury(
        self, tx: Transaction, ids: Sequence[int], places: Sequence[tuple[str | None, int | None]]
    ) -> None:
        """Remove unreferenced objects. Their files, and packs that are then empty, become trash."""
        run_for(tx, self._queries, "delete_parts", ids)
        run_for(tx, self._queries, "delete_objects", ids)
        now = self._executor.now()
        files = [uri for uri, _ in places if uri is not None]
        tx.many(self._queries["add_trash"], [{"uri": uri, "now": now} for uri in files])
        self._leave_packs(tx, Counter(pack for _, pack in places if pack is not None))

    def _leave_packs(self, tx: Transaction, leaving: Mapping[int, int]) -> None:
        """Count the objects that have left these packs. Packs that are now empty become trash."""
        if not leaving:
            return
        tx.many(self._queries["bury_in_pack"], [{"id": i, "count": n} for i, n in leaving.items()])
        now = self._executor.now()
        for pack_id, uri in tx.all(self._queries["empty_packs"], {}):
            if tx.run(self._queries["delete_pack_row"], {"id": pack_id}):
                tx.run(self._queries["add_trash"], {"uri": uri, "now": now})

    def lapse_leases(self, limit: int) -> int:
        def give_up(tx: Transaction) -> int:
            page = {"now": self._executor.now(), "page": limit}
            paths = [uri for (uri,) in tx.all(self._queries["lapsed_leases"], page)]
            self._give_up(tx, paths)
            return len(paths)

        return self._executor.transact(give_up)

    def _give_up(self, tx: Transaction, paths: Iterable[str]) -> None:
        for path in paths:
            if tx.run(self._queries["claim_upload"], {"uri": path}):
                tx.run(self._queries["add_trash"], {"uri": path, "now": self._executor.now()})

    def due_trash(self, horizon: int, after: str, limit: int) -> Sequence[str]:
        params = {"horizon": horizon, "after": after, "page": limit}
        return [uri for (uri,) in self._executor.fetch(self._queries["due_trash"], params)]

    def trash(self) -> int:
        ((count,),) = self._executor.fetch(self._queries["count_trash"], {})
        return int(count)

    def forget_trash(self, paths: Iterable[str]) -> None:
        gone = list(paths)
        self._executor.transact(lambda tx: run_for(tx, self._queries, "delete_trash", gone))

    def add_trash(self, paths: Iterable[str]) -> None:
        def note(tx: Transaction) -> None:
            now = self._executor.now()
            tx.many(self._queries["add_trash"], [{"uri": path, "now": now} for path in paths])

        self._executor.transact(note)

    def unknown(self, paths: Iterable[str]) -> Sequence[str]:
        folders = defaultdict[str, list[str]](list)
        for path in paths:
            folders[path.rpartition("/")[0]].append(path)
        unknown: list[str] = []
        for folder, found in folders.items():
            known = self._executor.read(partial(self._known_in, folder=folder))
            unknown.extend(path for path in found if path not in known)
        return unknown

    def _known_in(self, tx: Transaction, folder: str) -> set[str]:
        """Return the files of a folder that the catalog knows.

        All are read in one transaction, because an upload moves between these tables.
        """
        inside = {"low": f"{folder}/", "high": f"{folder}0"}  # 0 follows / in ASCII
        leased = {uri for (uri,) in tx.all(self._queries["leased_files"], inside)}
        return leased.union(self._named(tx, folder))

    def _named(self, tx: Transaction, folder: str) -> Iterator[str]:
        if folder == "packs":
            yield from (uri for (uri,) in tx.all(self._queries["named_packs"], {}))
            return
        try:
            first = bytes.fromhex(folder.rpartition("/")[2])
        except ValueError:  # not a folder of a lake
            return
        high = first + b"\xff" * 32
        yield from (
            uri for (uri,) in tx.all(self._queries["named_files"], {"low": first, "high": high})
        )

    def orphans_listed(self) -> int:
        rows = self._executor.fetch(self._queries["get_setting"], {"name": "orphans_listed"})
        return int(rows[0][0])

    def note_orphans_listed(self, time: int) -> None:
        noted = {"name": "orphans_listed", "value": time}
        self._executor.transact(lambda tx: tx.run(self._queries["set_meta"], noted))

    def inline_objects(
        self, after: int, horizon: int, least: int, limit: int
    ) -> Sequence[ObjectRow]:
        params = {"after": after, "horizon": horizon, "least": least, "page": limit}
        return [
            ObjectRow(number, content_hash, format, len(value), value, None, None)
            for number, content_hash, format, value in self._executor.fetch(
                self._queries["inline_objects"], params
            )
        ]

    def tables_of_parts(self, after: str, limit: int) -> Sequence[EntryRow]:
        params = {"after": after, "page": limit, "now": self._executor.stamp()}
        rows = self._executor.fetch(self._queries["tables_of_parts"], params)
        return entry_rows(rows)

    def worn_packs(self, small: int) -> Sequence[PackRow]:
        rows = self._executor.fetch(self._queries["worn_packs"], {"small": small})
        return [PackRow._make(row) for row in rows]

    def pack_objects(self, pack_id: int, uri: str) -> Sequence[ObjectRow]:
        rows = self._executor.fetch(self._queries["pack_objects"], {"pack_id": pack_id})
        return [
            ObjectRow(number, content_hash, format, byte_size, None, uri, position)
            for number, content_hash, format, byte_size, position in rows
        ]

    def move(self, moves: Sequence[Move], upload: Upload) -> int:
        return self._executor.transact(lambda tx: self._move(tx, moves, upload))

    def _move(self, tx: Transaction, moves: Sequence[Move], upload: Upload) -> int:
        queries = self._queries
        claims = Claims(tx, queries, [upload])
        pack_id = claims.packs[upload.uri]
        tx.many(
            queries["move_inline"],
            [_params(move, pack_id) for move in moves if move.old_pack is None],
        )
        left = Counter[int]()
        for move in moves:
            if move.old_pack is not None:
                left[move.old_pack] += tx.run(queries["move_packed"], _params(move, pack_id))
        ((moved,),) = tx.all(queries["count_packed"], {"pack_id": pack_id})
        if moved < len(moves):
            self._refuse_gone(tx, moves)
        claims.settle({upload.uri: moved}, self._executor.now())
        self._leave_packs(tx, left)
        self._note_moved(tx)
        return int(moved)

    def _refuse_gone(self, tx: Transaction, moves: Sequence[Move]) -> None:
        """Raise GoneObjectsError if an object is gone.

        It may have been purged, and no new pack may hold purged bytes.
        """
        present = {
            (number, content_hash)
            for names, params in in_lists(self._queries, [move.id for move in moves])
            for number, content_hash in tx.all(
                self._queries["present_objects"].replace("{ids}", names), params
            )
        }
        if gone := {move.id for move in moves if move[:2] not in present}:
            raise GoneObjectsError(gone)

    def objects(self, after: int, limit: int) -> Sequence[ObjectRow]:
        rows = self._executor.fetch(
            self._queries["verify_objects"], {"after": after, "page": limit}
        )
        return [ObjectRow._make(row) for row in rows]

    def check_references(self) -> Sequence[BrokenReference]:
        found: list[BrokenReference] = []
        fetch, queries = self._executor.fetch, self._queries
        for key, number in fetch(queries["entries_without_object"], {}):
            found.append(BrokenReference("no object", key, None, number))
        for (uri,) in fetch(queries["trashed_in_use"], {}):
            found.append(BrokenReference("trash in use", None, uri, None))
        for (uri,) in fetch(queries["leased_in_use"], {}):
            found.append(BrokenReference("lease in use", None, uri, None))
        for number, uri, *_ in fetch(queries["miscounted_packs"], {}):
            found.append(BrokenReference("miscounted pack", None, uri, number))
        for (number,) in fetch(queries["unreferenced_objects"], {}):
            found.append(BrokenReference("unnoted", None, None, number))
        return found

    def mend(self, broken: BrokenReference) -> bool:
        return self._executor.transact(lambda tx: self._mend(tx, broken))

    def _mend(self, tx: Transaction, broken: BrokenReference) -> bool:
        queries, number = self._queries, broken.number
        if broken.kind == "trash in use":
            run_for(tx, queries, "delete_trash", [broken.uri or ""])
        elif broken.kind == "lease in use":
            tx.run(queries["claim_upload"], {"uri": broken.uri})
        elif broken.kind == "unnoted":
            tx.run(queries["add_candidate"], {"object_id": number})
        elif broken.kind == "miscounted pack":
            tx.run(queries["recount_pack"], {"id": number})
        else:
            return False
        return True

    def replace(self, content: ContentId, place: Place, new: Upload | bytes) -> bool:
        return self._executor.transact(lambda tx: self._replace(tx, content, place, new))

    def _replace(
        self, tx: Transaction, content: ContentId, place: Place, new: Upload | bytes
    ) -> bool:
        content_hash, format = content
        upload, data = (new, None) if isinstance(new, Upload) else (None, new)
        claims = Claims(tx, self._queries, [] if upload is None else [upload])
        now = self._executor.now()
        replaced = False
        found = tx.one(
            self._queries["find_object"], {"content_hash": content_hash, "format": format}
        )
        if found is not None and tuple(found[2:]) == place[1:]:
            own_uri, pack_id = tx.one(self._queries["object_place"], {"id": found[0]}) or (0, 0)
            old = {"uri": own_uri or "", "pack_id": pack_id or 0, "position": found[3] or ""}
            uri = None if upload is None else upload.uri
            to = {"id": found[0], "new_uri": uri, "inline_value": data}
            replaced = tx.run(self._queries["replace_object"], old | to) == 1
        if replaced:
            if own_uri is not None:
                tx.run(self._queries["add_trash"], {"uri": own_uri, "now": now})
            self._leave_packs(tx, {} if pack_id is None else {pack_id: 1})
        claims.settle({upload.uri: 1} if replaced and upload is not None else {}, now)
        if replaced:
            self._note_moved(tx)
        return replaced

    def _note_moved(self, tx: Transaction) -> None:
        """Tell clients that remember rows about a change that no version shows.

        Any new number does that. This comes last, because all such transactions write the same row.
        """
        import secrets  # not needed for a first store

        number = secrets.randbits(_MARK_BITS)
        tx.run(self._queries["set_meta"], {"name": "objects_moved", "value": number})

    def names(self, object_id: int) -> Sequence[Naming]:
        rows = self._executor.fetch(self._queries["names_of_object"], {"object_id": object_id})
        return [Naming._make(row) for row in rows]


def _params(move: Move, pack_id: int) -> dict[str, object]:
    return {
        "id": move.id,
        "content_hash": move.content_hash,
        "old_pack": move.old_pack,
        "pack_id": pack_id,
        "position": move.position,
    }
