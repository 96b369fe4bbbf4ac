"""Finding and removing what nothing refers to; moving objects; looking for damage."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from lakebed.catalog.protocol import GoneObjectsError, Place
from lakebed.catalog.sql.claims import Claims
from lakebed.catalog.statements.executor import Executor, Transaction
from lakebed.catalog.statements.queries import in_lists, run_for
from lakebed.model import (
    BrokenReference,
    Collected,
    ContentId,
    Move,
    Naming,
    ObjectRow,
    PackRow,
    Upload,
)

_MARK_BITS = 62


class Collection:
    """The calls of a SQL catalog that keep it clean; see `Catalog`."""

    _executor: Executor
    _queries: Mapping[str, str]

    def collect(self, after: int, limit: int, *, dry_run: bool = False) -> Collected:
        # No writer may take a reference to what is judged here, nor note a candidate anew.
        with self._executor.read() if dry_run else self._executor.write(exclusive=True) as tx:
            rows = tx.all(self._queries["candidates"], {"after": after, "page": limit})
            dead = [row for row in rows if row[1] is not None and not row[4]]
            if not dry_run:
                self._bury(tx, [row[0] for row in dead], [row[2:4] for row in dead])
                if rows:
                    judged = {"after": after, "last": rows[-1][0]}
                    tx.run(self._queries["delete_candidates"], judged)
        return Collected(
            len(dead), sum(row[1] for row in dead), rows[-1][0] if len(rows) == limit else None
        )

    def preview_collect(self) -> int:
        params = {"now": self._executor.now()}
        ((files,),) = self._executor.fetch(self._queries["preview_collect"], params)
        return int(files)

    def _bury(
        self, tx: Transaction, ids: Sequence[int], places: Sequence[tuple[str | None, int | None]]
    ) -> None:
        """Remove objects that nothing refers to; their files, or emptied packs, become trash."""
        run_for(tx, self._queries, "delete_objects", ids)
        now = self._executor.now()
        files = [uri for uri, _ in places if uri is not None]
        tx.many(self._queries["add_trash"], [{"uri": uri, "now": now} for uri in files])
        self._leave_packs(tx, Counter(pack for _, pack in places if pack is not None))

    def _leave_packs(self, tx: Transaction, leaving: Mapping[int, int]) -> None:
        """So many objects have left these packs; those that hold nothing now become trash."""
        if not leaving:
            return
        tx.many(self._queries["bury_in_pack"], [{"id": i, "count": n} for i, n in leaving.items()])
        now = self._executor.now()
        for pack_id, uri in tx.all(self._queries["empty_packs"], {}):
            if tx.run(self._queries["delete_pack_row"], {"id": pack_id}):
                tx.run(self._queries["add_trash"], {"uri": uri, "now": now})

    def lapse_leases(self, limit: int) -> int:
        with self._executor.write() as tx:
            now = self._executor.now()
            paths = [
                u for (u,) in tx.all(self._queries["lapsed_leases"], {"now": now, "page": limit})
            ]
            self._give_up(tx, paths)
        return len(paths)

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
        with self._executor.write() as tx:
            run_for(tx, self._queries, "delete_trash", list(paths))

    def add_trash(self, paths: Iterable[str]) -> None:
        with self._executor.write() as tx:
            now = self._executor.now()
            tx.many(self._queries["add_trash"], [{"uri": path, "now": now} for path in paths])

    def unknown(self, paths: Iterable[str]) -> Sequence[str]:
        folders = defaultdict[str, list[str]](list)
        for path in paths:
            folders[path.rpartition("/")[0]].append(path)
        unknown: list[str] = []
        for folder, found in folders.items():
            # One transaction: what an upload is moves between these tables.
            with self._executor.read() as tx:
                inside = {"low": f"{folder}/", "high": f"{folder}0"}  # 0 follows / in ASCII
                known = {uri for (uri,) in tx.all(self._queries["leased_files"], inside)}
                known.update(self._named(tx, folder))
            unknown.extend(path for path in found if path not in known)
        return unknown

    def _named(self, tx: Transaction, folder: str) -> Iterator[str]:
        if folder == "packs":
            yield from (uri for (uri,) in tx.all(self._queries["named_packs"], {}))
            return
        try:
            first = bytes.fromhex(folder.rpartition("/")[2])
        except ValueError:  # no folder of ours
            return
        high = first + b"\xff" * 32
        yield from (
            uri for (uri,) in tx.all(self._queries["named_files"], {"low": first, "high": high})
        )

    def orphans_listed(self) -> int:
        rows = self._executor.fetch(self._queries["get_setting"], {"name": "orphans_listed"})
        return int(rows[0][0])

    def note_orphans_listed(self, time: int) -> None:
        with self._executor.write() as tx:
            tx.run(self._queries["set_meta"], {"name": "orphans_listed", "value": time})

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
        queries = self._queries
        with self._executor.write() as tx:
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
        """No pack may begin with what nothing names: it may have been purged."""
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
        queries, number = self._queries, broken.number
        with self._executor.write() as tx:
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
        content_hash, format = content
        with self._executor.write() as tx:
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
        """Tell those who keep rows that something changed which no version tells of. Any number
        that was not there before does; comes last, as all such transactions write this row."""
        import secrets  # not for a first store

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
