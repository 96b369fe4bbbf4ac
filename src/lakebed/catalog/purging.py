"""Removing keys from the present, the history and every snapshot."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from lakebed.catalog.collection import Collection
from lakebed.catalog.executors.base import Params, Row, Transaction
from lakebed.catalog.queries import in_lists
from lakebed.model import PackRow, Purged


class Purging(Collection):
    """The calls of a SQL catalog that purge; see `Catalog`."""

    def purge(self, low: str, high: str, limit: int) -> Purged:
        queries, bounds = self._queries, {"low": low, "high": high}
        with self._executor.write(exclusive=True) as tx:
            keys = [k for (k,) in tx.all(queries["keys_with_history"], bounds | {"page": limit})]
            if not keys:
                return Purged(0, 0, 0, (), (), ())
            bounds["high"] = keys[-1] + "\x01"
            objects = [number for (number,) in tx.all(queries["purged_objects"], bounds)]
            touched = tx.all(queries["snapshots_seeing"], bounds)
            now = self._executor.now()
            tx.many(queries["mark_purged"], [{"id": number, "now": now} for number, _ in touched])
            tx.run(queries["purge_terms"], bounds)
            entries = tx.run(queries["purge_entries"], bounds)
            versions = tx.run(queries["purge_history"], bounds)
            from lakebed.catalog.text_index import TextIndex

            TextIndex(self._executor, queries).clear(tx)
            files, packs, byte_size = self._bury_unreferenced(tx, objects)
        names = tuple(name for _, name in touched)
        return Purged(entries, versions, byte_size, files, packs, names)

    def _bury_unreferenced(
        self, tx: Transaction, objects: Sequence[int]
    ) -> tuple[Sequence[str], Sequence[PackRow], int]:
        """Remove the objects that nothing refers to: their files, the packs that they were in, and
        their bytes as stored."""
        places = [
            row
            for names, params in in_lists(self._queries, objects)
            for row in tx.all(self._queries["places_unreferenced"].replace("{ids}", names), params)
        ]
        packs = self._packs(tx.all, sorted({pack for *_, pack in places if pack is not None}))
        files = [uri for _, _, uri, _ in places if uri is not None]
        self._bury(tx, [row[0] for row in places], [row[2:4] for row in places])
        self._expedite(tx, [*files, *(pack.uri for pack in packs)])
        return files, packs, sum(row[1] for row in places)

    def _packs(
        self, fetch: Callable[[str, Params], Sequence[Row]], ids: Sequence[int]
    ) -> list[PackRow]:
        return [
            PackRow._make(row)
            for names, params in in_lists(self._queries, ids)
            for row in fetch(self._queries["get_packs"].replace("{ids}", names), params)
        ]

    def expedite(self, paths: Iterable[str]) -> None:
        with self._executor.write() as tx:
            self._expedite(tx, paths)

    def _expedite(self, tx: Transaction, paths: Iterable[str]) -> None:
        tx.many(self._queries["expedite_trash"], [{"uri": path} for path in paths])

    def scrub(self) -> bool:
        return self._executor.scrub()
