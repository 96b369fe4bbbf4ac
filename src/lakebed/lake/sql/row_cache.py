"""Rows of relations, loaded from the catalog and kept for later queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from lakebed.catalog.protocol import Catalog
from lakebed.catalog.scan import CatalogScan, Scan
from lakebed.duckdb.conditions import Bounds
from lakebed.duckdb.session import Session
from lakebed.lake.sql.delta import bring_up_to_date
from lakebed.lake.sql.rows import LoadedRows, copy_rows, load_changes, load_number, load_scan
from lakebed.lake.sql.wanted import Wanted, is_renewable, scan_of

_KEPT_ROWS = 5_000_000
_KEPT = 100  # tables that are kept, however few rows they have


class _Kept(NamedTuple):
    """Loaded rows for later queries, which use them as they are or update them first."""

    rows: LoadedRows
    state: object
    moved: object


class RowCache:
    """Loads rows of relations into a DuckDB session, and keeps some. One thread at a time may use
    it."""

    def __init__(self, catalog: Catalog, session: Session) -> None:
        self._catalog = catalog
        self._session = session
        self._kept: dict[Wanted, _Kept] = {}

    def load(self, wanted: Sequence[Wanted]) -> dict[Wanted, LoadedRows]:
        """Return the rows of relations. All of them show the same state of the catalog.

        Hold them before another thread loads.
        """
        if not wanted:
            return {}
        scans = {want: scan_of(want) for want in wanted if want.relation != "changes"}
        found = dict[Wanted, LoadedRows]()
        try:
            with self._catalog.scan(list(scans.values())) as scan:
                self._forget_stale(scan)
                for want in dict.fromkeys(wanted):
                    found[want] = self._find(scan, want) or self._load(scan, want, scans.get(want))
        except BaseException:
            for rows in found.values():  # rows that are not kept are dropped
                rows.hold()
                rows.release()
            raise
        self._make_room(found)
        return found

    def _find(self, scan: CatalogScan, want: Wanted) -> LoadedRows | None:
        """Return kept rows that are current, or that an update makes current, or None."""
        same = [other for other in self._kept if want.is_served_by(other)]
        wider = list[Wanted]()
        if want.relation != "documents":  # all of its values would be read
            whole = want._replace(bounds=Bounds(), limit=None)
            wider = [other for other in self._kept if whole.is_served_by(other)]
        for other in (*same, *wider):
            if _is_current(scan, other, self._kept[other]):
                return self._kept[other].rows
        # Counting is faster than an update of rows.
        renewed = (self._renew(scan, other) for other in same if want.columns)
        return next(filter(None, renewed), None)

    def _renew(self, scan: CatalogScan, want: Wanted) -> LoadedRows | None:
        """Update kept rows. Return None if that would take longer than loading them."""
        kept = self._kept[want]
        del self._kept[want]
        try:
            with self._session.errors():
                return self._renewed(scan, want, kept.rows)
        finally:
            kept.rows.release()

    def _renewed(self, scan: CatalogScan, want: Wanted, rows: LoadedRows) -> LoadedRows | None:
        changes = want.moments == (None,)
        own = copy_rows(rows) if changes and rows.is_shared else rows
        own.hold()
        try:
            if changes:
                if not bring_up_to_date(scan, own):
                    return None
            else:
                for moment in want.moments:
                    assert moment is not None
                    scan.check(moment)
            self._keep(want, _Kept(own, scan.state, scan.moved))
        finally:
            own.release()
        return own

    def _load(self, scan: CatalogScan, want: Wanted, how: Scan | None) -> LoadedRows:
        with self._session.errors():
            if how is None:
                a, b = want.moments
                assert a is not None
                changed = scan.diff(a, b, want.bounds.low, want.bounds.high)
                rows = load_changes(self._session, changed, want.columns)
            elif not want.columns:
                # Not kept, because the time when the first of them expires is unknown.
                return load_number(self._session, scan.total(how.moment), want.relation)
            else:
                rows = load_scan(self._session, scan, how, want.relation, want.columns)
        is_present = None in want.moments
        # An entry of the present expires without a new version, and a difference does not say when.
        lasts = not (how is None and is_present)
        if lasts and (scan.state is not None or is_renewable(want)):
            self._keep(want, _Kept(rows, scan.state, scan.moved))
        return rows

    def _keep(self, want: Wanted, kept: _Kept) -> None:
        kept.rows.hold()
        self._kept[want] = kept

    def _make_room(self, found: Mapping[Wanted, LoadedRows]) -> None:
        """Drop kept rows beyond the limit, and rows whose columns other kept rows all have.

        The rows in `found` stay.
        """
        used = list(found.values())
        for want, kept in list(self._kept.items()):
            others = (other for other in self._kept if other != want)
            if kept.rows not in used and any(map(want.is_served_by, others)):
                del self._kept[want]
                kept.rows.release()
        count = sum(kept.rows.count for kept in self._kept.values())
        for want, kept in list(self._kept.items()):
            is_much = count > _KEPT_ROWS or len(self._kept) > _KEPT
            if is_much and kept.rows not in used:
                count -= kept.rows.count
                del self._kept[want]
                kept.rows.release()

    def _forget_stale(self, scan: CatalogScan) -> None:
        for want, kept in list(self._kept.items()):
            lasts = kept.moved == scan.moved and is_renewable(want)
            if not lasts and not _is_current(scan, want, kept):
                del self._kept[want]
                kept.rows.release()


def _is_current(scan: CatalogScan, want: Wanted, kept: _Kept) -> bool:
    """Return whether rows are still current.

    They are if the catalog's state is the same and, for rows of the present, none has expired.
    """
    if scan.state is None or kept.state != scan.state:
        return False
    if None not in want.moments:
        return True
    expiry, read_at = kept.rows.next_expiry, kept.rows.read_at
    # If the clock was set back, expired rows are visible again.
    return read_at <= scan.now and (expiry is None or expiry > scan.now)
