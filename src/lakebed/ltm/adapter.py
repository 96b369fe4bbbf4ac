"""The LTM interface over a lake: the same calls, with results and errors as dictionaries."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Self

from lakebed.errors import CatalogError, LakebedError, NotFoundError
from lakebed.lake.checks import TTL, check_entries
from lakebed.lake.lake import Lake
from lakebed.lake.searching import Mode
from lakebed.ltm.expiry import Expiring, expiry_of
from lakebed.ltm.results import found, listed, not_found, stored
from lakebed.ltm.transactions import LTMTransaction
from lakebed.reporting import Result, explain, failure, reported


class LTMBackend:
    """Long-term memory for agents: the calls of a lake, with results as dictionaries.

    Every result has `success`. If it is False, `error` says why, `error_type` names the kind of
    error (see `lakebed.errors`), and `retry_after` is the seconds to wait, if a service asked for
    that. `ttl` (seconds, or text such as `"1h30m"`) and `expires_at` (ISO 8601 with an offset) in
    an entry's metadata set its expiry, and stay in the metadata. `expires_at` wins.

    `lake`: a lake, or a function that opens one. Such a function is called by the first call that
    needs the lake. Safe to use from any thread. Close it, or use it in a `with` block.
    """

    _lake: Lake | None = None  # a default for the repr of a backend whose constructor failed

    def __init__(self, lake: Lake | Callable[[], Lake]) -> None:
        self._lake = lake if isinstance(lake, Lake) else None
        self._open = lake if not isinstance(lake, Lake) else None
        self._lock = threading.Lock()
        self._closed = False

    @property
    def lake(self) -> Lake:
        """The lake itself. Use it for what this interface has no call for, such as snapshots.

        Raises what opening the lake raises, if it is not open yet, and CatalogError if this memory
        was closed before it opened one.
        """
        return self._lake if self._lake is not None else self._connect()

    def _connect(self) -> Lake:
        with self._lock:
            if self._closed:
                raise CatalogError("the lake is closed")
            if self._lake is None:
                assert self._open is not None
                self._lake = self._open()
            return self._lake

    @reported
    def store(
        self,
        key: str,
        value: Any,
        metadata: dict[str, Any] | None = None,
        *,
        ttl: TTL | None = None,
        expires_at: datetime | str | None = None,
        if_absent: bool = False,
        if_match: str | None = None,
        keep_expiry: bool = False,
    ) -> Result:
        """Store a value under a key, replacing the whole entry.

        `ttl` (seconds, a timedelta, or text such as `"1h30m"`) or `expires_at` (a datetime, or ISO
        8601 with an offset) sets the expiry, and takes precedence over the metadata. `keep_expiry`:
        an entry that exists keeps its expiry, whatever the metadata say. `if_absent` and `if_match`
        are as for `Lake.store`; if their condition does not hold, the error type is `conflict`.

        Returns `{success, stored, key, created, content_hash, inlined, byte_size, deduplicated}`,
        and `storage_uri` if the value is not inline. If nothing changed, `stored` is False and
        `deduplicated` True.
        """
        wait, moment = expiry_of(metadata, ttl, expires_at, keep=keep_expiry)
        return stored(
            self.lake.store(
                key,
                value,
                metadata,
                ttl=wait,
                expires_at=moment,
                if_absent=if_absent,
                if_match=if_match,
                keep_expiry=keep_expiry,
            )
        )

    @reported
    def touch(
        self, key: str, *, ttl: TTL | None = None, expires_at: datetime | str | None = None
    ) -> Result:
        """Change when an entry expires: `{success, touched, key, expires_at}`.

        The value and the metadata stay as they are. `ttl` and `expires_at` are as for `store`. With
        neither, the entry no longer expires. A missing key is a success with `touched` False.
        """
        wait, moment = expiry_of(None, ttl, expires_at)
        try:
            until = self.lake.touch(key, ttl=wait, expires_at=moment).expires_at
        except NotFoundError:
            return {"success": True, "touched": False, "key": key, "expires_at": None}
        shown = None if until is None else until.isoformat()
        return {"success": True, "touched": True, "key": key, "expires_at": shown}

    @reported
    def retrieve(self, key: str, default: Any = None) -> Result:
        """Return the value of a key: `{success, value, found, metadata, content_hash, inlined}`.

        A missing key is a success, with `found` False and `default` as its value.
        """
        read = self.lake.read_entry(key)
        return not_found(default) if read is None else found(*read)

    @reported
    def delete(self, key: str, *, if_match: str | None = None) -> Result:
        """Delete an entry: `{success, deleted, key}`.

        A missing key is a success with `deleted` False. `if_match`: delete only if the content has
        this hash; otherwise the error type is `conflict`.
        """
        return {"success": True, "deleted": self.lake.delete(key, if_match=if_match), "key": key}

    @reported
    def list(
        self,
        prefix: str = "",
        *,
        metadata_filter: dict[str, Any] | None = None,
        limit: int = 100,
        after: str | None = None,
    ) -> Result:
        """Return the entries whose key begins with `prefix`, without their values, in key order:
        `{success, entries, count, after}`.

        `entries` is a list of `{key, metadata, content_hash, format, byte_size, inlined,
        created_at, updated_at, expires_at}`, with times in ISO 8601. `limit`: the most entries to
        return. `after`: start after this key. Pass the `after` of the result to the next call. It
        is None at the end.
        """
        found = self.lake.list(prefix, metadata_filter=metadata_filter, limit=limit, after=after)
        entries = [listed(entry) for entry in found]
        more = entries[-1]["key"] if entries and len(entries) == limit else None
        return {"success": True, "entries": entries, "count": len(entries), "after": more}

    @reported
    def search(
        self,
        query: str | None = None,
        metadata_filter: dict[str, Any] | None = None,
        limit: int = 10,
        prefix: str = "",
        offset: int = 0,
        *,
        value_filter: dict[str, Any] | None = None,
        thread: bool | Mapping[str, float] = False,
        mode: Mode | None = None,
    ) -> Result:
        """Return the entries that match best: `{success, results, count, total}`.

        `results` is a list of `{key, value, metadata, score}`, the best first. `count` is its
        length, `total` the number of all matches. The arguments are those of `Lake.search`.
        """
        hits = self.lake.search(
            query,
            metadata_filter=metadata_filter,
            value_filter=value_filter,
            prefix=prefix,
            limit=limit,
            offset=offset,
            thread=thread,
            mode=mode,
        )
        results = [dict(hit) for hit in hits]
        return {"success": True, "results": results, "count": len(results), "total": hits.total}

    def store_batch(self, entries: Iterable[Mapping[str, Any]], atomic: bool = True) -> Result:
        """Store many entries: `{success, stored_count, failed_count, errors}`.

        Each entry is a mapping with `key`, `value` and optionally `metadata`. `errors` maps the key
        of each entry that failed to `{error, error_type}`. `atomic`: store all or none. Otherwise
        all valid entries are stored, and the call fails only if every entry failed.
        """
        expiring = Expiring(entries)
        try:
            check_entries(entries)
            report = self.lake.store_batch(expiring, atomic=atomic)
            count, failed, errors = report.stored, report.failed, report.errors
            first = next(iter(errors.values()), None)
        except LakebedError as error:
            count, failed, errors, first = 0, len(error.errors), error.errors, error
        errors = {key: expiring.errors.get(key, error) for key, error in errors.items()}
        result = {"success": True}
        if first is not None and count == 0:
            result = failure(next(iter(errors.values()), first))
        return result | {
            "stored_count": count,
            "failed_count": failed,
            "errors": {key: explain(error) for key, error in errors.items()},
        }

    @reported
    def retrieve_batch(self, keys: Iterable[str]) -> Result:
        """Return the values of many keys: `{success, entries, found_count, missing_count}`.

        `entries` maps each key to the result of `retrieve`, or to None if the key is missing. If a
        value cannot be read, its key maps to `{success, error, error_type}`. Then `success` of the
        call is False too, but the other values are returned.
        """
        read = self.lake.retrieve_batch(keys)
        rows = read.rows
        entries: dict[str, Result | None] = {
            key: found(rows[key], value) for key, value in read.items()
        }
        entries |= dict.fromkeys(read.missing)
        entries |= {key: failure(error) for key, error in read.errors.items()}
        result = {"success": True}
        for error in read.errors.values():
            result = failure(error)
            break
        counts = {"found_count": len(read), "missing_count": len(read.missing)}
        return result | {"entries": entries} | counts

    @reported
    def cleanup_expired(self, batch_size: int = 100) -> Result:
        """Remove expired entries: `{success, deleted_count, remaining_count}`.

        `batch_size`: how many entries each transaction removes.
        """
        done = self.lake.cleanup_expired(batch_size)
        return {"success": True, "deleted_count": done.deleted, "remaining_count": done.remaining}

    def iterate_all(self) -> Iterator[tuple[str, Any, dict[str, Any]]]:
        """Yield all entries as `(key, value, metadata)`, in key order. They are read as you
        iterate.

        This call has no result to put errors in, so it raises them (see `lakebed.errors`).
        """
        for entry in self.lake.list():
            yield entry.key, entry.value, entry.metadata

    def transaction(self) -> LTMTransaction:
        """Begin a transaction: stores and deletes that happen together or not at all."""
        return LTMTransaction(lambda: self.lake.transaction())

    def close(self) -> None:
        """Close the lake. Later calls fail. Closing again does nothing."""
        with self._lock:
            self._closed = True
            if self._lake is not None:
                self._lake.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        # A lazy lake has no name until it connects, and asking for the name would connect it.
        known = {} if self._lake is None else vars(self._lake)
        where = known.get("name", "not connected")
        return f"<{type(self).__name__} {where}>"
