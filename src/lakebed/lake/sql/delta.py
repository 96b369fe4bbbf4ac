"""Update loaded entries with the changes of the lake, instead of loading all of them again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lakebed.catalog.scan import CatalogScan, Scan
from lakebed.duckdb.limits import check
from lakebed.lake.sql.rows import LoadedRows, insert_scan, note_read
from lakebed.lake.sql.wanted import scanned

if TYPE_CHECKING:
    import duckdb

_MOST_CHANGED = 4
"""If more than one row in this many has changed, loading again is cheaper. DuckDB also keeps the
memory of deleted rows until it drops their table."""
_LAST = 2**63 - 1  # the highest version possible
_RANGES = 256
"""Versions are counted in this many ranges, to find those in which entries have gone."""


def bring_up_to_date(scan: CatalogScan, rows: LoadedRows) -> bool:
    """Bring loaded entries of the present to the state of a later transaction.

    Returns False if loading again is better; the rows may then be half changed. Nobody else may
    hold the rows, and no object may have moved between the two transactions. An entry never changes
    without a new version, so versions show what to remove and what to load.
    """
    if scan.now < rows.read_at:  # if the clock was set back, expired entries are visible again
        return False
    connection = rows.session.connect()
    try:
        return _Delta(connection, scan, rows).apply()
    finally:
        rows.session.release(connection)


class _Delta:
    def __init__(
        self, connection: duckdb.DuckDBPyConnection, scan: CatalogScan, rows: LoadedRows
    ) -> None:
        self._connection = connection
        self._scan = scan
        self._rows = rows
        self._gone = 0

    def apply(self) -> bool:
        """Apply the changes. Returns False if loading again is better."""
        rows, table = self._rows, self._rows.table
        self._delete("epoch_us(expires_at) <= ?", [self._scan.now])
        last = self._number(f"SELECT coalesce(max(version), 0) FROM {table}")
        standing = self._scan.standing(last)
        above = self._keep_standing(0, _LAST) if standing is None else last
        if above is None:
            added = 0
        else:
            added = self._bring(above)
            if added * _MOST_CHANGED > rows.count:
                return False
            self._delete("key IN (SELECT key FROM temp.fresh)")
        if standing is not None and self._number(f"SELECT count(*) FROM {table}") != standing:
            self._remove_vanished(last)
            if self._number(f"SELECT count(*) FROM {table}") != standing:
                return False
        if not self._is_continued() or self._is_pack_unused():
            return False
        if self._gone and rows.values is not None and rows.values.fetched is not None:
            # A catalog may give the number of a collected object to a new one.
            self._connection.execute(
                f"DELETE FROM {rows.values.fetched} "
                f"WHERE object_id NOT IN (SELECT object_id FROM {table})"
            )
        if added:
            self._insert()
        rows.count += added - self._gone
        rows.changed += added + self._gone
        note_read(self._connection, self._scan, rows)
        return rows.changed * _MOST_CHANGED <= rows.count

    def _is_continued(self) -> bool:
        """Return whether the catalog is still the one from which the rows came.

        A catalog that was restored from a backup, or a replica that lacks the last commits, uses
        version numbers a second time. Then the version of the newest loaded row belongs to another
        entry in the catalog.
        """
        newest = self._connection.execute(
            f"SELECT version, key, epoch_us(updated_at) FROM {self._rows.table} "
            "ORDER BY version DESC LIMIT 1"
        ).fetchone()
        return newest is None or self._scan.holds(*newest)

    def _is_pack_unused(self) -> bool:
        """Return whether no row needs one of the packs that are read whole. A collection may have
        deleted that pack."""
        values = self._rows.values
        if not self._gone or values is None or not values.packs:
            return False
        used = self._number(
            f"SELECT count(DISTINCT place // {values.stride}) FROM {self._rows.table}"
        )
        return used < len(values.packs)

    def _number(self, sql: str) -> int:
        ((number,),) = self._connection.execute(sql).fetchall()
        return int(number)

    def _delete(self, condition: str, params: list[int] | None = None) -> None:
        check()
        sql = f"DELETE FROM {self._rows.table} WHERE {condition}"
        ((deleted,),) = self._connection.execute(sql, params or []).fetchall()
        self._gone += deleted

    def _keep_standing(self, first: int, last: int) -> int | None:
        """Remove the rows with versions from `first` to `last` that the catalog no longer has.

        Returns the version above which all entries of the catalog must be loaded, or None if none
        must be.
        """
        import pyarrow as pa

        connection, table = self._connection, self._rows.table
        batches = list(self._scan.versions(first, last))
        standing = pa.Table.from_batches(batches, pa.schema([("version", pa.int64())]))
        connection.register("standing", standing)
        among = f"version BETWEEN {first} AND {last}"
        self._delete(f"{among} AND version NOT IN (SELECT version FROM standing)")
        ((lowest,),) = connection.execute(
            "SELECT min(version) - 1 FROM standing "
            f"WHERE version NOT IN (SELECT version FROM {table})"
        ).fetchall()
        connection.unregister("standing")
        return None if lowest is None else int(lowest)

    def _remove_vanished(self, last: int) -> None:
        """Remove the rows with versions up to `last` that the catalog no longer has. None of its
        versions up to there can be new.

        Counts versions in ranges, and compares only the ranges whose counts differ.
        """
        width = max(1, last // _RANGES)
        counted = f"SELECT version // {width} AS range, count(*) FROM {self._rows.table} GROUP BY 1"
        for number, count in self._connection.execute(counted).fetchall():
            first, end = number * width, min(last, (number + 1) * width - 1)
            if self._scan.count(first, end) != count:
                check()
                self._keep_standing(first, end)

    def _bring(self, above: int) -> int:
        """Load entries with higher versions into a table of their own, except those that are loaded
        already. Returns their number."""
        rows, connection = self._rows, self._connection
        connection.execute(f"CREATE TEMP TABLE fresh ({rows.definition})")
        how = Scan("entries", columns=scanned(rows.columns), above=above)
        added = insert_scan(connection, self._scan, how, rows, "temp.fresh")
        ((there,),) = connection.execute(
            f"DELETE FROM temp.fresh WHERE version IN (SELECT version FROM {rows.table})"
        ).fetchall()
        return added - int(there)

    def _insert(self) -> None:
        """Insert the new entries. An entry with the content of a loaded one gets its place."""
        rows, connection = self._rows, self._connection
        if rows.values is None or not rows.values.packs:
            connection.execute(f"INSERT INTO {rows.table} FROM temp.fresh")
        else:
            connection.execute(
                f"INSERT INTO {rows.table} SELECT f.*, p.place FROM temp.fresh f LEFT JOIN ("
                f"SELECT object_id, any_value(place) AS place FROM {rows.table} "
                "WHERE object_id IN (SELECT object_id FROM temp.fresh) GROUP BY object_id"
                ") p USING (object_id)"
            )
        rows.added = rows.values is not None
        connection.execute("DROP TABLE temp.fresh")
