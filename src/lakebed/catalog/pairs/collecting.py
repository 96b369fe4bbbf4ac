"""Collection: finds contents that nothing names, and notes the files to delete."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

from lakebed.catalog.pairs.commit import Commit
from lakebed.catalog.pairs.core import PairStore
from lakebed.catalog.pairs.records import Records
from lakebed.model import Collected


class Collects(PairStore):
    """The calls for `collect`. `Upkeep` describes them."""

    def lapse_leases(self, limit: int) -> int:
        def give_up(records: Records, _: Commit) -> int:
            now = self.now()
            ended = (path for path, until in records.leases() if until <= now)
            paths = list(islice(ended, limit))
            for path in paths:
                records.give_up(path, now)
            return len(paths)

        return self._writing(give_up)

    def collect(self, after: int, limit: int, *, dry_run: bool = False) -> Collected:
        def drop(records: Records, commit: Commit) -> Collected:
            found = list(islice(records.contents(max(after, 0), "d"), limit))
            dropped = [content for stored in found for content in commit.drop(stored)]
            last = found[-1].number if len(found) == limit else None
            return Collected(len(dropped), sum(content.byte_size for content in dropped), last)

        return self._rehearse(drop) if dry_run else self._writing(drop)

    def preview_collect(self) -> int:
        def drop(records: Records, commit: Commit) -> int:
            now, before = self.now(), sum(1 for _ in records.trash())
            for path in [path for path, until in records.leases() if until <= now]:
                records.give_up(path, now)
            for stored in list(records.contents(kind="d")):
                commit.drop(stored)
            return sum(1 for _ in records.trash()) - before

        return self._rehearse(drop)

    def due_trash(self, horizon: int, after: str, limit: int) -> Sequence[str]:
        def find(records: Records) -> list[str]:
            due = (path for path, since in records.trash(after) if since <= horizon)
            return list(islice(due, limit))

        return self._reading(find)

    def trash(self) -> int:
        return self._reading(lambda records: sum(1 for _ in records.trash()))

    def add_trash(self, paths: Iterable[str]) -> None:
        def note(records: Records, _: Commit) -> None:
            for path in paths:
                records.add_trash(path, self.now())

        self._writing(note)

    def forget_trash(self, paths: Iterable[str]) -> None:
        def forget(records: Records, _: Commit) -> None:
            for path in paths:
                records.pairs.remove("t" + path)

        self._writing(forget)

    def unknown(self, paths: Iterable[str]) -> Sequence[str]:
        def find(records: Records) -> list[str]:
            return [
                path for path in paths if all(records.pairs.get(k + path) is None for k in "flt")
            ]

        return self._reading(find)

    def orphans_listed(self) -> int:
        return self._reading(lambda records: records.counter("orphans_listed"))

    def note_orphans_listed(self, time: int) -> None:
        self._writing(lambda records, _: records.put_setting("orphans_listed", str(time)))
