"""One run of `store_batch`: entries are checked, staged, packed and committed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from lakebed.catalog.protocol import BatchCounts, MissingContentError, StagedRow
from lakebed.errors import LakebedError, StorageError, ValidationError
from lakebed.lake.entries.batch_report import BatchReport
from lakebed.lake.entries.packing import Packer
from lakebed.lake.entries.spool import Spool
from lakebed.lake.entries.staging import ATTEMPTS
from lakebed.model import Progress
from lakebed.values.encoded import Encoded, EncodedFile

if TYPE_CHECKING:
    from lakebed.lake.entries.writing import Writing

CHUNK = 5_000
"""The number of entries that a batch that is not atomic commits at once. Each commit holds the
write lock for a fraction of a second."""
_SMALL = 500
_FIELDS = frozenset({"key", "value", "metadata", "ttl", "expires_at"})


class Batch:
    """One run of `store_batch`."""

    def __init__(self, lake: Writing, atomic: bool, progress: Progress | None) -> None:
        self._lake = lake
        self._atomic = atomic
        self._progress = progress
        self._errors: dict[str, LakebedError] = {}
        self._failed = 0
        self._counts = BatchCounts(0, 0, 0, 0)
        self._staged = 0
        self._spool = Spool()
        self._packer = Packer(
            lake._catalog, lake._objects, self._spool, strict=atomic, mend=lake._mend
        )

    def read(self, entries: Iterable[Mapping[str, Any]]) -> None:
        """Read all entries. If the batch is not atomic, commit each full chunk."""
        total = len(entries) if isinstance(entries, Sequence) else None
        number = 0
        for number, entry in enumerate(entries, 1):
            try:
                row, encoded = self._check(entry)
            except LakebedError as error:
                self._fail([_label(entry, number)], error)
            else:
                self._stage(row, encoded)
            if self._staged >= CHUNK and not self._atomic:
                self._commit()
            if self._progress and number % 100 == 0:
                self._progress(number, total)
        if self._progress and number % 100:
            self._progress(number, total)

    def finish(self) -> BatchReport:
        """Commit the rest. If the batch is atomic and an entry was refused, raise that entry's
        error."""
        if self._atomic and self._errors:
            first = next(iter(self._errors.values()))
            first.errors = self._errors
            raise first
        self._commit()
        created, changed, unchanged, deduplicated = self._counts
        return BatchReport(
            stored=self._spool.distinct,
            created=created,
            changed=changed,
            unchanged=unchanged,
            deduplicated=deduplicated,
            replaced=self._spool.replaced,
            failed=self._failed,
            errors=self._errors,
        )

    def close(self) -> None:
        """Discard everything that no commit has taken."""
        try:
            self._packer.close()
        finally:
            self._spool.close()

    def _stage(self, row: StagedRow, encoded: Encoded | EncodedFile | None) -> None:
        large = None if row.inline_value is not None else encoded
        try:
            if self._atomic and self._errors:
                return  # nothing will be stored; the other entries are only checked
            self._spool.add(row)
            self._staged += 1
            if large is not None:
                self._packer.add(large)
        finally:
            if large is not None:
                large.close()

    def _check(self, entry: Mapping[str, Any]) -> tuple[StagedRow, Encoded | EncodedFile | None]:
        """Return the row of an entry, and its value, or None if the lake has the value already."""
        if type(entry) is not dict and not isinstance(entry, Mapping):
            raise ValidationError(
                f"an entry must be a mapping with key and value, got {type(entry).__name__}"
            )
        if not _FIELDS.issuperset(entry):
            unknown = min(str(name) for name in entry if name not in _FIELDS)
            raise ValidationError(
                f"an entry has the unknown field {unknown!r}: expected {', '.join(sorted(_FIELDS))}"
            )
        if "key" not in entry or "value" not in entry:
            raise ValidationError("an entry must have a key and a value")
        return self._lake._row(
            entry["key"],
            entry["value"],
            entry.get("metadata"),
            entry.get("ttl"),
            entry.get("expires_at"),
        )

    def _commit(self) -> None:
        """Upload the values that wait for a pack, and commit the staged entries."""
        try:
            counts = self._upload_and_commit()
        except LakebedError as error:
            if self._atomic:
                raise
            self._packer.discard()
            self._fail(self._spool.drop(), error)
        else:
            self._packer.committed()
            self._counts = BatchCounts(*map(sum, zip(self._counts, counts, strict=True)))
            if counts.deduplicated:
                self._mend_reused()
        self._spool.clear()
        self._staged = 0

    def _upload_and_commit(self) -> BatchCounts:
        """Upload and commit.

        A content that the lake already had may be collected just before the commit. Then it is
        uploaded as well, and the commit is tried again.
        """
        for attempt in range(ATTEMPTS):
            if attempt:
                self._packer.add_kept()
            uploads = self._packer.finish()
            for content, error in self._packer.failed.items():
                self._fail(self._spool.drop(content), error)
            try:
                return self._lake._catalog.commit_batch(self._spool, uploads)
            except MissingContentError as error:
                missing = error
        raise StorageError(
            "contents that this batch uploaded or meant to reuse were collected before its commit: "
            "store it again"
        ) from missing

    def _mend_reused(self) -> None:
        """Make sure that small contents of the batch can be read if they are in the storage.

        A compaction has moved such contents there. The batch has their bytes, so it can replace
        lost ones. The batch has already happened, so a content that the storage refuses becomes
        inline, as after a single store.
        """
        lake = self._lake
        if lake._objects is None:
            return
        small = (
            Encoded(row.format, row.inline_value, row.content_hash)
            for row in self._spool
            if row.inline_value is not None
        )
        while some := list(islice(small, _SMALL)):
            try:
                lake._mend(some)
            except LakebedError:
                lake._put_inline(some)

    def _fail(self, labels: Sequence[str], error: LakebedError) -> None:
        self._failed += len(labels)
        for label in labels:
            self._errors.setdefault(label, error)


def _label(entry: object, number: int) -> str:
    key = entry.get("key") if isinstance(entry, Mapping) else None
    return key if isinstance(key, str) and key else f"entry {number}"
