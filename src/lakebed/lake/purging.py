"""Purge: forgetting for good."""

from __future__ import annotations

from collections.abc import Sequence

from lakebed.errors import ValidationError
from lakebed.lake.checks import check_key, check_prefix
from lakebed.lake.collecting import Collecting
from lakebed.lake.compacting import Compacting, CompactReport, CompactRun, packfuls
from lakebed.model import PackRow, Progress, Report

_STEP = 1000


class PurgeReport(Report):
    """The receipt of a purge.

    | field | |
    | --- | --- |
    | `entries`, `versions` | entries that stood, and earlier versions, that were removed |
    | `bytes` | content that nothing else held, as stored |
    | `files` | files deleted from the storage |
    | `packs_rewritten` | packs written anew without it |
    | `snapshots` | names of the snapshots that saw it, which are marked |
    | `remains` | where something of it may be left, in words |
    """

    entries: int
    versions: int
    bytes: int
    files: int
    packs_rewritten: int
    snapshots: Sequence[str]
    remains: Sequence[str]


class Purging(Compacting, Collecting):
    """The call that purges."""

    def purge(
        self,
        key: str | None = None,
        prefix: str | None = None,
        *,
        progress: Progress | None = None,
    ) -> PurgeReport:
        """Remove a key, or all keys under a prefix, from now, from history and from every snapshot.

        The bytes go at once where nothing else holds them: files are deleted without grace, packs
        that hold others beside them are rewritten, the text index forgets and is built anew by the
        next search. A reader caught in between looks again once, then gets a clear error. Snapshots
        that saw the keys are marked (`purged_at`). A thousand keys are one transaction; after an
        interruption call again.

        Raises ValidationError unless exactly one of `key` and `prefix` is given, and for an empty
        prefix; StorageError if the storage fails: call again then.
        """
        low, high = _range(key, prefix)
        entries = versions = byte_size = rewritten = 0
        snapshots: dict[str, None] = {}
        stuck: list[str] = []
        while step := self._catalog.purge(low, high, _STEP):
            if not step.entries and not step.versions:
                break
            entries, versions = entries + step.entries, versions + step.versions
            byte_size += step.byte_size
            snapshots |= dict.fromkeys(step.snapshots)
            for pack in step.packs:
                run = self._rewrite(pack)
                rewritten += run.packs_written > 0
                if run.damaged:
                    stuck.append(pack.uri)
            if progress:
                progress(entries, None)
        # Values of these keys that were replaced earlier have no name any more: they are garbage.
        self._collect_objects(False, None)
        files = 0 if self._objects is None else self._empty_trash_at(0, None)
        return PurgeReport(
            entries=entries,
            versions=versions,
            bytes=byte_size,
            files=files,
            packs_rewritten=rewritten,
            snapshots=list(snapshots),
            remains=self._remains(stuck),
        )

    def _rewrite(self, pack: PackRow) -> CompactReport:
        """Move what lives in a pack elsewhere and make the pack trash that is due at once."""
        run = CompactRun(None, None)
        for items in packfuls(self._living(pack, run)):
            self._repack(items, run)
        self._catalog.expedite([pack.uri])
        return run.report()

    def _remains(self, stuck: Sequence[str]) -> list[str]:
        remains = [f"the pack {uri}, which holds damaged values" for uri in stuck]
        if not self._catalog.scrub():
            remains.append(
                "the catalog's log, which others are reading: it is emptied once they finish"
            )
        waiting = self._catalog.trash()
        if waiting:
            remains.append(
                f"{waiting} files that were given up earlier and wait out their grace: "
                "collect(grace=0) deletes them"
            )
        remains.append("backups of the catalog and the storage, and published copies")
        return remains


def _range(key: str | None, prefix: str | None) -> tuple[str, str]:
    if (key is None) == (prefix is None):
        raise ValidationError("purge takes either key or prefix")
    if key is not None:
        return check_key(key), key + "\x01"  # no key holds NUL
    if prefix == "":
        raise ValidationError("prefix is empty: purging a whole lake is deleting its folder")
    return check_prefix(prefix)
