"""Purge: remove keys for good."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lakebed.errors import CorruptionError, ValidationError
from lakebed.lake.checks import check_flag, check_key, check_prefix
from lakebed.lake.upkeep.collecting import Collecting, CollectRun
from lakebed.lake.upkeep.compacting import Compacting, CompactRun, packfuls
from lakebed.model import PackRow, Progress
from lakebed.objects.names import hash_of, upload_of
from lakebed.objects.packs import pack_holds
from lakebed.records import Report

_STEP = 1000


class PurgeReport(Report):
    """The receipt of a purge.

    | field | |
    | --- | --- |
    | `entries`, `versions` | how many current entries and earlier versions were removed |
    | `bytes` | the size, as stored, of contents to which nothing else referred |
    | `files` | how many files were deleted from the storage |
    | `packs_rewritten` | how many packs were rewritten without the values |
    | `snapshots` | the names of the snapshots that had the keys, which are marked |
    | `remains` | texts on where copies of the values may be left |
    | `dry_run` | nothing was changed; packs that would be rewritten or deleted count as rewritten |
    """

    entries: int
    versions: int
    bytes: int
    files: int
    packs_rewritten: int
    snapshots: Sequence[str]
    remains: Sequence[str]
    dry_run: bool


class _Rewriting:
    """How many packs a purge has rewritten, and which packs it could not rewrite."""

    def __init__(self) -> None:
        self.packs = 0
        self.stuck: list[str] = []


class Purging(Compacting, Collecting):
    """The call `purge`."""

    def purge(
        self,
        key: str | None = None,
        prefix: str | None = None,
        *,
        dry_run: bool = False,
        progress: Progress | None = None,
    ) -> PurgeReport:
        """Remove a key, or all keys under a prefix, from the present, the history and all
        snapshots.

        Bytes to which nothing else refers go at once. Files are deleted without grace. Packs and
        segments of the search index that also hold other values are rewritten. A reader of a purged
        value gets an error. Snapshots that had the keys are marked (`purged_at`). Each transaction
        removes a thousand keys. After an interruption, call `purge` again. `maintain` finishes the
        removal of contents that had already lost their key.

        `dry_run` counts, and changes nothing.

        Raises ValidationError unless exactly one of `key` and `prefix` is given, and for an empty
        prefix. Raises StorageError if the storage fails. Then call `purge` again.
        """
        low, high = _range(key, prefix)
        if check_flag("dry_run", dry_run):
            return self._preview(low, high)
        self._must_write("purge")
        self._must_own("purge")
        unfinished = self._searcher().has_purged()  # another purge has not finished
        entries = versions = byte_size = 0
        snapshots: dict[str, None] = {}
        hashes = set[bytes]()
        rewriting = _Rewriting()
        while step := self._catalog.purge(low, high, _STEP):
            if not step.entries and not step.versions:
                break
            entries, versions = entries + step.entries, versions + step.versions
            byte_size += step.byte_size
            snapshots |= dict.fromkeys(step.snapshots)
            hashes.update(step.hashes)
            for pack in step.packs:
                self._rewrite(pack, rewriting)
            if progress:
                progress(entries, None)
        forgotten = self._searcher().forget(low, high, thorough=unfinished)
        # Values of these keys that were replaced earlier have no name any more, so they are
        # garbage.
        self._collect_objects(CollectRun())
        files = 0
        if self._objects is not None:
            self._erase_copies(hashes, rewriting)
            files = self._empty_trash(0, CollectRun())
        return PurgeReport(
            entries=entries,
            versions=versions,
            bytes=byte_size,
            files=files,
            packs_rewritten=rewriting.packs,
            snapshots=list(snapshots),
            remains=self._remains(rewriting.stuck, forgotten),
            dry_run=False,
        )

    def _preview(self, low: str, high: str) -> PurgeReport:
        found = self._catalog.preview_purge(low, high)
        return PurgeReport(
            entries=found.entries,
            versions=found.versions,
            bytes=found.byte_size,
            files=found.files,
            packs_rewritten=found.packs,
            snapshots=list(found.snapshots),
            remains=[],
            dry_run=True,
        )

    def _rewrite(self, pack: PackRow, rewriting: _Rewriting) -> None:
        """Move the live values of a pack elsewhere, and turn the pack into trash that is due at
        once."""
        run = CompactRun()
        for items in packfuls(self._living(pack, run)):
            self._repack(items, run)
        self._catalog.expedite([pack.uri])
        report = run.report()
        rewriting.packs += report.packs_written > 0
        if report.damaged:
            rewriting.stuck.append(pack.uri)

    def _erase_copies(self, hashes: set[bytes], rewriting: _Rewriting) -> None:
        """Rewrite or delete other files with the same bytes.

        These are packs with dead copies, trash within its grace, and interrupted uploads.
        """
        if not hashes:
            return
        for pack in self._packs_with_dead():
            if self._holds(pack.uri, hashes):
                self._catalog.wear(pack)
                self._rewrite(pack, rewriting)
        uploads = [path for path in self._catalog.uploads() if self._holds(path, hashes)]
        self._catalog.discard(uploads)
        self._catalog.expedite(uploads)
        latest, waiting = self._catalog.now(), ""
        while paths := self._catalog.due_trash(latest, waiting, _STEP):
            self._catalog.expedite([path for path in paths if self._holds(path, hashes)])
            waiting = paths[-1]

    def _packs_with_dead(self) -> Iterator[PackRow]:
        after = 0
        while packs := self._catalog.packs_with_dead(after, _STEP):
            yield from packs
            after = packs[-1].id

    def _holds(self, path: str, hashes: set[bytes]) -> bool:
        """Return whether a file holds one of these contents."""
        assert self._objects is not None
        if not path.startswith("packs/"):
            return hash_of(upload_of(path)) in hashes
        try:
            return pack_holds(self._objects, path, hashes)
        except FileNotFoundError:
            return False
        except CorruptionError:  # it cannot be read, so it is deleted
            return True

    def _remains(self, stuck: Sequence[str], forgotten: bool) -> list[str]:
        remains = [f"the pack {uri}, which holds damaged values" for uri in stuck]
        if not forgotten:
            remains.append("segments of the search index: maintain() writes them anew")
        remains += self._catalog.scrub()
        if uploads := len(self._catalog.uploads()):
            remains.append(f"{uploads} uploads that are under way, or were broken off")
        waiting = self._catalog.trash()
        if waiting:
            remains.append(
                f"{waiting} files that were given up earlier and whose grace is not over: "
                "collect(grace=0) deletes them"
            )
        if worn := sum(1 for _ in self._packs_with_dead()):
            remains.append(
                f"{worn} packs with values that had lost their last name before: compact() "
                "rewrites a pack once most of it is dead"
            )
        if self._objects is not None:
            remains.append(
                "files that killed writers left and the catalog does not know: "
                "collect(orphans=True) deletes those older than a day"
            )
        remains.append("backups of the catalog and the storage, and published copies")
        return remains


def _range(key: str | None, prefix: str | None) -> tuple[str, str]:
    if (key is None) == (prefix is None):
        raise ValidationError("purge takes either key or prefix")
    if key is not None:
        return check_key(key), key + "\x01"  # no key holds NUL
    if prefix == "":
        raise ValidationError("prefix must not be empty: to purge a whole lake, delete its folder")
    return check_prefix(prefix)
