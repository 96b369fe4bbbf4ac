"""Removes keys from the present, the history and every snapshot."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from lakebed.catalog.sql.collection import Collection
from lakebed.catalog.sql.metadata import MetadataIndex
from lakebed.catalog.statements.executor import Params, Row, Transaction
from lakebed.catalog.statements.queries import in_lists
from lakebed.model import PackRow, Purged, PurgePreview


class SQLPurging(Collection):
    """The calls of a SQL catalog that purge. `Catalog` describes them."""

    _index: MetadataIndex

    def purge(self, low: str, high: str, limit: int) -> Purged:
        page = {"low": low, "high": high, "page": limit}
        return self._executor.transact(lambda tx: self._purge(tx, page), exclusive=True)

    def _purge(self, tx: Transaction, page: Params) -> Purged:
        keys = tx.all(self._queries["keys_with_history"], page)
        for name in ("segments_changed", "segments_purged"):
            ((value,),) = tx.all(self._queries["get_setting"], {"name": name})
            tx.run(self._queries["set_meta"], {"name": name, "value": int(value) + 1})
        self._note_moved(tx)
        low = page["low"]
        if keys:
            return self._purge_keys(tx, low, keys[-1][0])
        # The terms of all versions of keys that are entirely gone.
        while ended := tx.all(self._queries["keys_with_ended"], page):
            self._purge_terms(tx, {"low": low, "high": ended[-1][0] + "\x01"})
        return Purged(0, 0, (), 0, (), ())

    def _purge_keys(self, tx: Transaction, low: str, last: str) -> Purged:
        queries, bounds = self._queries, {"low": low, "high": last + "\x01"}
        objects = [number for (number,) in tx.all(queries["purged_objects"], bounds)]
        touched = tx.all(queries["snapshots_seeing"], bounds)
        now = self._executor.now()
        tx.many(queries["mark_purged"], [{"id": number, "now": now} for number, _ in touched])
        described = tx.all(queries["purged_metadata"], bounds)
        tx.run(queries["purge_ended"], bounds)
        entries = tx.run(queries["purge_entries"], bounds)
        versions = tx.run(queries["purge_history"], bounds)
        self._index.forget(tx, described)
        tx.run(queries["purge_ended_metadata"], bounds)
        hashes, packs, byte_size = self._bury_unreferenced(tx, objects)
        names = tuple(name for _, name in touched)
        return Purged(entries, versions, hashes, byte_size, packs, names)

    def _purge_terms(self, tx: Transaction, bounds: Params) -> None:
        self._index.forget(tx, tx.all(self._queries["purged_metadata"], bounds))
        tx.run(self._queries["purge_ended_metadata"], bounds)

    def _bury_unreferenced(
        self, tx: Transaction, objects: Sequence[int]
    ) -> tuple[Sequence[bytes], Sequence[PackRow], int]:
        """Remove unreferenced objects. Return their hashes, their packs, and their stored bytes.

        The packs are marked as worn. If the purge does not come to rewrite them, a compaction does.
        """
        places = self._unreferenced(tx, objects)
        dead = {row[0] for row in places}
        parts = [number for (number,) in self._numbers(tx, "parts_of", sorted(dead))]
        places += [row for row in self._unreferenced(tx, parts, dead) if row[0] not in dead]
        packs = self._packs(tx.all, sorted({row[3] for row in places if row[3] is not None}))
        files = [row[2] for row in places if row[2] is not None]
        self._bury(tx, [row[0] for row in places], [row[2:4] for row in places])
        self._expedite(tx, [*files, *(pack.uri for pack in packs)])
        tx.many(self._queries["wear_pack"], [{"id": pack.id} for pack in packs])
        return [row[4] for row in places], packs, sum(row[1] for row in places)

    def _packs(
        self, fetch: Callable[[str, Params], Sequence[Row]], ids: Sequence[int]
    ) -> list[PackRow]:
        return [
            PackRow._make(row)
            for names, params in in_lists(self._queries, ids)
            for row in fetch(self._queries["get_packs"].replace("{ids}", names), params)
        ]

    def preview_purge(self, low: str, high: str) -> PurgePreview:
        queries, bounds = self._queries, {"low": low, "high": high}
        (row,), touched = self._executor.read(
            lambda tx: (
                tx.all(queries["preview_purge"], bounds),
                tx.all(queries["snapshots_seeing"], bounds),
            )
        )
        entries, versions, byte_size, files, packs = map(int, row)  # a sum may come as a decimal
        names = tuple(name for _, name in touched)
        return PurgePreview(entries, versions, byte_size, files, packs, names)

    def wear(self, pack: PackRow) -> None:
        sql = self._queries["wear_pack"]
        self._executor.transact(lambda tx: tx.run(sql, {"id": pack.id}))

    def packs_with_dead(self, after: int, limit: int) -> Sequence[PackRow]:
        params = {"after": after, "page": limit}
        rows = self._executor.fetch(self._queries["packs_with_dead"], params)
        return [PackRow._make(row) for row in rows]

    def uploads(self) -> Sequence[str]:
        return [uri for (uri,) in self._executor.fetch(self._queries["uploads"], {})]

    def expedite(self, paths: Iterable[str]) -> None:
        self._executor.transact(lambda tx: self._expedite(tx, paths))

    def _expedite(self, tx: Transaction, paths: Iterable[str]) -> None:
        tx.many(self._queries["expedite_trash"], [{"uri": path} for path in paths])

    def scrub(self, *, thorough: bool = True) -> Sequence[str]:
        return self._executor.scrub(thorough=thorough)
