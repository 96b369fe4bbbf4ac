"""Choose a point of a backup, and read it as a lake."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from lakebed.catalog.opened import CatalogOptions
from lakebed.catalog.sqlite.opening import open_sqlite
from lakebed.clock import from_micros, to_micros
from lakebed.errors import NotFoundError, ValidationError
from lakebed.lake.backup.manifest import CATALOG, Manifest
from lakebed.lake.backup.place import BackupPlace
from lakebed.lake.lake import Lake
from lakebed.lake.opening import assemble
from lakebed.lake.ownership import BESIDE


@contextmanager
def opened_point(place: BackupPlace, point: Manifest) -> Iterator[Lake]:
    """Open the lake of a point, read-only, for the length of the block."""
    with tempfile.TemporaryDirectory(prefix="lakebed-point-") as folder:
        path = Path(folder, "catalog.db")
        place.fetch(point, CATALOG, path)
        opened = open_sqlite(path, CatalogOptions(read_only=True))
        with assemble(opened, place.another_store(), BESIDE, read_only=True) as lake:
            yield lake


def choose_point(
    place: BackupPlace, point: str | None, at: datetime | None
) -> tuple[Manifest, datetime | None]:
    """Return a point, and the time at which to read it, which is None for the point's own.

    By default, that is the newest point. With `at`, it is the first later point that has every
    version since then, or else the last point before. Raises NotFoundError if there is none.
    """
    if point is not None and at is not None:
        raise ValidationError("give either a point or a time, not both")
    points = place.points()
    if not points:
        raise NotFoundError(f"{place.name} holds no point: no backup has ended yet")
    if at is not None:
        return _at(place, points, at)
    if point is None:
        return points[-1], None
    for found in points:
        if found.id == point:
            return found, None
    raise NotFoundError(f"{place.name} holds no point {point!r}: its last is {points[-1].id!r}")


def _at(
    place: BackupPlace, points: Sequence[Manifest], at: datetime
) -> tuple[Manifest, datetime | None]:
    if not isinstance(at, datetime) or at.tzinfo is None:
        raise ValidationError(f"at must be a datetime with a time zone, got {at!r}")
    wanted = to_micros(at)
    points = sorted(points, key=lambda point: point.created_at)
    for point in points:
        if point.history == "all" and point.since <= wanted <= point.created_at:
            return point, at
    before = [point for point in points if point.created_at <= wanted]
    if not before:
        raise NotFoundError(
            f"{place.name} holds no point of {at.isoformat()} or before: its first is of "
            f"{from_micros(points[0].created_at).isoformat()}"
        )
    return before[-1], None
