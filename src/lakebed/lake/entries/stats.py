"""The totals of a lake."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from lakebed.lake.base import LakeBase
from lakebed.lake.checks import check_flag
from lakebed.records import Report


class Upkeep(Report):
    """The state of the upkeep of a lake.

    | field | |
    | --- | --- |
    | `mode` | how this client takes part: `off`, `light` or `full` |
    | `holder` | the process that maintains the lake now, None if none does |
    | `until` | when its lease ends unless it is renewed, None if there is none |
    | `ran` | when the last run in turn ended, None if there was none |
    | `by` | the process that did it |
    | `seconds` | how long it took |
    | `did` | what it removed and moved, by name, as in the `MaintenanceReport` |
    | `failed` | why the newest run failed, None if it did not |

    A run in turn is one in the background (`auto_maintain="full"`) or of `lakebed maintain
    --every`. Other calls of `maintain` are not told here.
    """

    mode: str
    holder: str | None
    until: datetime | None
    ran: datetime | None
    by: str | None
    seconds: float | None
    did: dict[str, int] | None
    failed: str | None


class Stats(Report):
    """Totals over a lake. Sizes are in bytes, as stored.

    | field | |
    | --- | --- |
    | `entries` | entries that are visible now |
    | `expired` | expired entries that await `cleanup_expired` |
    | `entry_bytes` | what the visible entries' contents would take one by one |
    | `objects`, `object_bytes` | distinct contents, and what they take |
    | `inline_objects`, `inline_bytes` | those of them that lie in the catalog |
    | `packs`, `snapshots` | how many there are |
    | `history` | earlier versions that are kept |
    | `deduplicated_bytes` | what the visible entries save by sharing contents |
    | `estimated` | the names of the figures that are estimates, of two digits; often none |
    | `upkeep` | an `Upkeep`: what is known of the lake's upkeep; None in a snapshot or a scope |
    """

    entries: int
    expired: int
    entry_bytes: int
    objects: int
    object_bytes: int
    inline_objects: int
    inline_bytes: int
    packs: int
    snapshots: int
    history: int
    deduplicated_bytes: int
    estimated: list[str]
    upkeep: Upkeep | None

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value}" for name, value in self._figures())
        return f"{type(self).__name__}({shown})"

    def _repr_html_(self) -> str:
        from lakebed.values.html import fields

        return fields(type(self).__name__, self._figures())

    def _figures(self) -> Iterator[tuple[str, object]]:
        for name, value in self.items():
            if name == "upkeep" and value is None:
                continue
            yield name, f"about {value}" if name in self.estimated else value


class Statistics(LakeBase):
    """The call that counts."""

    def stats(self, *, exact: bool = False) -> Stats:
        """Return the totals of the lake.

        All figures are exact in a lake with up to 5,000 entries, contents and earlier versions.
        Counting would take seconds in a larger one, so some figures are estimated from a sample of
        the contents. `estimated` names them. They are off by a few per cent, and sizes by more if a
        few contents make up most of the bytes. With `exact`, everything is counted, however long
        that takes. `len(lake)` and the figures of a snapshot are always exact.
        """
        found = self._catalog.stats(exact=check_flag("exact", exact))._asdict()
        estimated = list(found.pop("estimated"))
        found["deduplicated_bytes"] = max(0, found["entry_bytes"] - found.pop("used_bytes"))
        if "entry_bytes" in estimated:
            estimated.append("deduplicated_bytes")
        for name in estimated:
            found[name] = about(found[name])
        return Stats(**found, estimated=estimated, upkeep=self._upkeep())

    def _upkeep(self) -> Upkeep | None:
        return None


def about(number: int) -> int:
    """Return the number with the two digits that an estimate has."""
    return int(float(f"{number:.1e}"))
