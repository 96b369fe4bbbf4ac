"""Copies between two stores if at least one of them is not a lake."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from lakebed.clock import system_clock
from lakebed.errors import ValidationError
from lakebed.lake.copying.entries import OnConflict, conflict_of
from lakebed.lake.copying.report import CopyReport
from lakebed.model import Progress
from lakebed.moving.outside import Item, Outside

_PAGE = 500
_PAGE_BYTES = 8 << 20
_NAMED = 100
_SHOWN = 3


def copy_across(
    source: Outside,
    target: Outside,
    prefix: str,
    on_conflict: OnConflict,
    progress: Progress | None,
) -> CopyReport:
    """Copy items; see `lakebed.copy`. The source is read three times: to find what the target
    cannot hold, to copy, and to compare."""
    total = _check(source, target, prefix, on_conflict)
    copied = replaced = unchanged = byte_size = done = 0
    kept = set[str]()
    for page in _pages(source.items(prefix)):
        here = target.find([item.key for item in page])
        wanted = list[Item]()
        for item in page:
            there = here.get(item.key)
            if target.is_alike(item, there):
                unchanged += 1
            elif there is None:
                copied += 1
                wanted.append(item)
            elif on_conflict == "replace":
                replaced += 1
                wanted.append(item)
            else:  # "fail" has found no conflict before: this entry is new, and is kept
                kept.add(item.key)
        if wanted:
            target.store(wanted)
        byte_size += sum(item.content.byte_size for item in wanted)
        done += len(page)
        if progress:
            progress(done, total)
    return CopyReport(
        entries=copied + replaced + unchanged + len(kept),
        copied=copied,
        replaced=replaced,
        unchanged=unchanged,
        skipped=len(kept),
        removed=0,
        bytes=byte_size,
        versions=0,
        snapshots=0,
        differing=_differing(source, target, prefix, kept),
        notes=list(_notes(source, target)),
        cursor=None,
    )


def _check(source: Outside, target: Outside, prefix: str, on_conflict: OnConflict) -> int:
    """Return the number of items. Before anything is written, raise an error for items that the
    target cannot hold and, with "fail", for those that differ in it."""
    count = refused = 0
    reasons, conflicts = list[str](), list[str]()
    for page in _pages(source.items(prefix)):
        count += len(page)
        here = target.find([item.key for item in page]) if on_conflict == "fail" else {}
        for item in page:
            reason = target.refusal(item)
            if reason is not None:
                refused += 1
                if len(reasons) < _SHOWN:
                    reasons.append(f"{item.key!r} {reason}")
            elif item.key in here and not target.is_alike(item, here[item.key]):
                conflicts.append(item.key)
    if refused:
        more = ", …" if refused > len(reasons) else ""
        raise ValidationError(
            f"{target.name} cannot hold {refused:,} of {count:,} entries, and nothing was written: "
            f"{', '.join(reasons)}{more}"
        )
    if conflicts:
        raise conflict_of(conflicts)
    return count


def _differing(source: Outside, target: Outside, prefix: str, kept: set[str]) -> list[str]:
    """Return up to a hundred keys whose items differ between source and target."""
    differing = list[str]()
    for page in _pages(source.items(prefix)):
        here = target.find([item.key for item in page])
        now = system_clock()
        differing += [
            item.key
            for item in page
            if item.key not in kept
            and not target.is_alike(item, here.get(item.key))
            and not item.is_over(now + target.precision)
        ]
        if len(differing) >= _NAMED:
            break
    return differing[:_NAMED]


def _notes(source: Outside, target: Outside) -> Iterator[str]:
    if not target.keeps_times:
        yield f"{target.name} does not keep when entries were created and updated"
    elif not source.tells_times:
        yield f"{source.name} does not tell when entries were created and updated"
    if not source.tells_expiry:
        yield f"{source.name} does not tell when entries expire: the copies never expire"


def _pages(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Yield pages of the items that have not expired."""
    coming = (item for item in items if not item.is_over(system_clock()))
    while page := list(islice(coming, 1)):
        size = page[0].content.byte_size
        for item in islice(coming, _PAGE - 1):
            page.append(item)
            size += item.content.byte_size
            if size >= _PAGE_BYTES:
                break
        yield page
