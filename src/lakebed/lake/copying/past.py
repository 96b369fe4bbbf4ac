"""Copy a lake with its past: store every kept version again, in the same order and at its time.

The copy uses only the ordinary calls of the target's catalog. So it works between any two catalogs,
and the target's history and snapshots come about as the source's did.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any, NamedTuple

import pyarrow as pa

from lakebed.catalog.protocol import TakesHistory
from lakebed.catalog.scan import Scan
from lakebed.errors import (
    ConflictError,
    CorruptionError,
    ValidationError,
)
from lakebed.lake.checks import check_prefix
from lakebed.lake.copying.batch import store_rows
from lakebed.lake.copying.entries import EntryCopy, state_of
from lakebed.lake.copying.lakes import check_pair, copy_name, keeps_moment, kept_moment
from lakebed.lake.copying.report import CopyReport
from lakebed.lake.history.snapshots import LakeView
from lakebed.lake.lake import Lake
from lakebed.model import Delete, DiffRow, Progress, SnapshotRow

_SETTING = "copied"
_TOGETHER = 5000


class _Step(NamedTuple):
    """The event with one number of the source's counter.

    A version was stored, or if `removed`, a key was deleted. `replaces`: the event ended another
    version, which is kept.
    """

    number: int
    time: int
    key: str
    removed: bool
    replaces: bool


def copy_whole(
    source: Lake, target: Lake, prefix: str, *, history: bool, progress: Progress | None
) -> CopyReport:
    """Copy entries, the versions that are kept, and snapshots. See `lakebed.copy`."""
    check_pair(source, target)
    if history and source._history == "all" and target._history != "all":
        raise ValidationError(
            "history=True needs a target with history='all', like the source: "
            f"{target.name} keeps versions only for its snapshots"
        )
    with kept_moment(source, copy_name(target._lake_id)) as (view, kept):
        return tell_past(source, view, kept, target, prefix, progress)


def tell_past(
    source: Lake,
    view: Lake | LakeView,
    kept: SnapshotRow | None,
    target: Lake,
    prefix: str,
    progress: Progress | None,
    *,
    private: bool = False,
) -> CopyReport:
    """Copy the source as it is at a moment, with its history and snapshots.

    `view`, `kept`: the results of `kept_moment`. `private` is as for `store_rows`.
    """
    past = _Past(source, target, prefix, kept, private=private)
    past.run(progress)
    copy = EntryCopy(source, target, "fail", private=private)
    copy.run(view.list(prefix).rows(), None)  # nothing is left to copy: this only counts
    differing = copy.verify(view.list(prefix).rows())
    past.verify()
    done = copy.report(differing, versions=past.versions, snapshots=len(past.made))
    told = {
        "copied": past.stored,
        "unchanged": done.unchanged - past.stored,
        "bytes": past.bytes + done.bytes,
    }
    return CopyReport(**(dict(done) | told))


class _Past:
    """The repetition of a source's steps in a target."""

    def __init__(
        self,
        source: Lake,
        target: Lake,
        prefix: str,
        kept: SnapshotRow | None,
        *,
        private: bool,
    ) -> None:
        if not isinstance(target._catalog, TakesHistory):
            raise ValidationError(f"the catalog {target.name} cannot store versions of the past")
        self._source = source
        self._target = target
        self._private = private
        self._catalog: TakesHistory = target._catalog
        self._prefix, self._bounds = prefix, check_prefix(prefix)
        self._last = sys.maxsize if kept is None else kept.version
        self._now = source._catalog.now() if kept is None else kept.created_at
        self._keep_all = target._history == "all"
        self._clock = 0
        self.stored = 0  # how many current entries were stored
        self.versions = 0
        self.made = set[str]()  # ids of snapshots
        self.bytes = 0  # the size of the contents that were read
        self._snapshots = [
            row
            for row in source._catalog.snapshots()
            if row.version <= self._last and not keeps_moment(row)
        ]

    def run(self, progress: Progress | None) -> None:
        """Repeat all steps that the target does not have yet."""
        done = self._begin()
        steps = [step for step in self._steps() if step.number > done]
        waiting: Sequence[SnapshotRow] = [
            row for row in self._snapshots if self._target._catalog.find_snapshot(row.id) is None
        ]
        told = 0
        with self._catalog.at_time(lambda: self._clock):
            for group in self._groups(steps, [row.version for row in waiting]):
                waiting = self._make_snapshots(waiting, before=group[0].number)
                self._tell(group)
                self._note(group[-1].number)
                told += len(group)
                if progress:
                    progress(told, len(steps))
            self._make_snapshots(waiting, before=None)
        if steps:
            self._note(steps[-1].number)
        if self._keep_all:
            self._catalog.lack_history(self._lacking())

    def _lacking(self) -> int:
        """Return the time before which versions may be missing in the source, and so in the
        target."""
        if self._source._history != "all" or not isinstance(self._source._catalog, TakesHistory):
            return self._now
        return self._source._catalog.history_since()

    def verify(self) -> None:
        """Compare each snapshot of the source with that of the target.

        The first snapshot is compared completely, each other one by its changes since the one
        before. Raises CorruptionError if a snapshot differs.
        """
        self._drop_gone()
        lakes = (self._source, self._target)
        low, high = self._bounds
        before: SnapshotRow | None = None
        for row in self._snapshots:
            here = self._target._catalog.find_snapshot(row.id)
            if here is None:
                raise CorruptionError(f"the snapshot {row.name!r} is missing in the target")
            moments = row.moment(), here.moment()
            if before is None:
                both = [_states(lake, row.id, self._prefix) for lake in lakes]
                alike = all(a == b for a, b in zip_longest(*both))
            else:
                there = self._target._catalog.find_snapshot(before.id)
                assert there is not None
                earlier = before.moment(), there.moment()
                diffs = [
                    map(_change, lake._catalog.diff(first, then, low, high))
                    for lake, first, then in zip(lakes, earlier, moments, strict=True)
                ]
                alike = all(a == b for a, b in zip_longest(*diffs))
            if not alike:
                raise CorruptionError(f"the snapshot {row.name!r} differs in the target")
            before = row

    def _drop_gone(self) -> None:
        """Drop the snapshots that were dropped in the source meanwhile."""
        there = {row.id for row in self._source._catalog.snapshots()}
        for row in self._snapshots:
            if row.id not in there:
                self._target._catalog.drop_snapshot(row.id)
                self.made.discard(row.id)
        self._snapshots = [row for row in self._snapshots if row.id in there]

    def _begin(self) -> int:
        """Return the last step that an earlier run of this copy has repeated, or 0."""
        mine = {"source": self._source._lake_id, "prefix": self._prefix}

        def begin(found: str | None) -> str:
            if found is not None:
                known = json.loads(found)
                if {name: known[name] for name in mine} != mine:
                    raise ConflictError(
                        f"{self._target.name} holds the history of another lake or prefix"
                    )
                return found
            stats = self._target.stats()
            if stats.entries or stats.expired or stats.history or stats.snapshots:
                raise ConflictError(
                    "history and snapshots can be copied only to an empty lake, and "
                    f"{self._target.name} is not empty: copy only the entries, or name a new "
                    "target"
                )
            return json.dumps(mine | {"number": 0})

        number = json.loads(self._catalog.change_setting(_SETTING, begin))["number"]
        return int(number)

    def _note(self, number: int) -> None:
        def note(found: str | None) -> str:
            return json.dumps(json.loads(found or "{}") | {"number": number})

        self._catalog.change_setting(_SETTING, note)

    def _steps(self) -> list[_Step]:
        """Return the steps up to the moment of the copy, in their order."""
        wanted = Scan("history", *self._bounds)
        rows = list[tuple[str, int, int, int | None, int | None]]()
        names = ("key", "version", "updated_at", "end_version", "ended_at")
        with self._source._catalog.scan([wanted]) as scan:
            for batch in scan.rows(wanted):
                columns = (batch.column(name) for name in names)
                rows += zip(*(_numbers(column) for column in columns), strict=True)
        versions = {row[1] for row in rows}
        ends = {row[3] for row in rows}
        steps = [
            _Step(version, updated_at, key, removed=False, replaces=version in ends)
            for key, version, updated_at, _, _ in rows
            if version <= self._last
        ]
        steps += [
            _Step(end, ended_at or 0, key, removed=True, replaces=True)
            for key, _, _, end, ended_at in rows
            if end is not None and end <= self._last and end not in versions
        ]
        return sorted(steps)

    def _groups(self, steps: Sequence[_Step], cuts: Sequence[int]) -> Iterator[list[_Step]]:
        """Yield the steps in lists, each of which one transaction can repeat.

        A list has no key twice, and no snapshot between its steps. All of its steps that end a
        version happened at the same time.
        """
        borders = iter(sorted(cuts))
        border = next(borders, None)
        group, keys, time = list[_Step](), set[str](), None
        for step in steps:
            crossed = False
            while border is not None and step.number > border:
                border, crossed = next(borders, None), True
            timed = step.replaces or self._keep_all
            if group and (
                crossed
                or step.removed is not group[0].removed
                or step.key in keys
                or (timed and time is not None and step.time != time)
                or len(group) == _TOGETHER
            ):
                yield group
                group, keys, time = [], set(), None
            group.append(step)
            keys.add(step.key)
            if timed:
                time = step.time
        if group:
            yield group

    def _tell(self, group: Sequence[_Step]) -> None:
        self._clock = next((step.time for step in group if step.replaces), group[-1].time)
        if group[0].removed:
            self._target._catalog.commit([Delete(step.key) for step in group])
            return
        found = self._source._catalog.get_versions([step.number for step in group])
        # The others were pruned meanwhile. If a snapshot had one of them, `verify` finds out.
        rows = sorted((version.row for version in found), key=lambda row: row.key.encode())
        self.bytes += store_rows(
            self._source, self._target, rows, timed=True, private=self._private
        )
        ended = sum(
            version.end_version is not None and version.end_version <= self._last
            for version in found
        )
        self.versions += ended
        self.stored += len(found) - ended

    def _make_snapshots(
        self, waiting: Sequence[SnapshotRow], before: int | None
    ) -> Sequence[SnapshotRow]:
        """Make the snapshots from before the step `before`. Return the others."""
        left = list[SnapshotRow]()
        for row in waiting:
            if before is not None and row.version >= before:
                left.append(row)
                continue
            self._clock = row.created_at
            self._target._catalog.create_snapshot(row.id, row.name, row.message, row.author)
            self.made.add(row.id)
        return left


def _numbers(column: pa.Array) -> list[Any]:
    """Return a column as a list, with times in microseconds."""
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.int64())
    found: list[Any] = column.to_pylist()
    return found


def _states(lake: Lake, snapshot: str, prefix: str) -> Iterator[tuple[str, object]]:
    for row in lake.at(snapshot).list(prefix).rows():
        yield row.key, state_of(row)


def _change(row: DiffRow) -> tuple[object, ...]:
    either = row.after or row.before
    assert either is not None
    return either.key, *(side and state_of(side) for side in (row.before, row.after))
