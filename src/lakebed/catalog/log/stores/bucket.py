"""A log in a folder or a bucket. Each item is a file.

The type `blob-sqlite` is the same log under other names for its options.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from hashlib import sha256

from lakebed.catalog.log.opening import COMMON, open_log
from lakebed.catalog.log.stores.address import BUCKET, LOCK_TTL, inner_uri
from lakebed.catalog.opened import CatalogOptions, OpenedCatalog
from lakebed.catalog.options import seconds
from lakebed.errors import ConfigurationError
from lakebed.locks import Lock, create_lock
from lakebed.objects.opening import open_store, parse_place
from lakebed.objects.store import NewWriter, ObjectStore

ITEM_BYTES = 64 << 20
LOCK_BACKENDS = ("none", "redis", "dynamodb", "firestore")


class BucketLogStore:
    """The items of a log as files in `store`. `owned`: whether closing this closes `store`."""

    item_bytes = ITEM_BYTES

    def __init__(self, store: ObjectStore, *, owned: bool = True) -> None:
        if not isinstance(store, NewWriter):
            raise ConfigurationError(
                f"catalog: {store.uri('')} cannot hold a log, because its filesystem cannot write "
                "a file only if it is absent: use a folder, s3://, gs:// or az://"
            )
        self._store = store
        self._writer: NewWriter = store
        self._owned = owned

    def put_new(self, name: str, data: bytes) -> bool:
        return self._writer.write_new(name, data)

    def get(self, name: str) -> bytes | None:
        try:
            return self._store.read(name)
        except FileNotFoundError:
            return None

    def put(self, name: str, data: bytes) -> None:
        self._store.write(name, data)

    def delete(self, name: str) -> None:
        self._store.delete([name])

    def close(self) -> None:
        if self._owned:
            self._store.close()


def open_bucket(given: Mapping[str, object], options: CatalogOptions) -> OpenedCatalog:
    """Open the catalog of `{"type": "bucket"}`, in the lake's own storage.

    With `uri`, it is in another folder or bucket, and all other options are for its filesystem. As
    a URL: `bucket://` for the lake's own storage, `bucket://name/prefix` on S3,
    `bucket://gs://name/prefix` for any other service, `bucket:///path` for a folder.
    """
    rest = dict(given)
    uri = rest.pop("uri", None) or rest.pop("url", None)
    if isinstance(uri, str) and uri.startswith(BUCKET):
        uri = inner_uri(uri)
    return _open(uri, "uri", rest, options)


def open_blob_sqlite(given: Mapping[str, object], options: CatalogOptions) -> OpenedCatalog:
    """Open the catalog of `{"type": "blob-sqlite", "blob_uri": …}`, a log in a folder or bucket.

    `lock_backend`: `redis`, `dynamodb` or `firestore` for a lock that is held during each commit,
    or `none`. `lock_ttl`: seconds after which a dead client loses the lock. `lock_options`: the
    options that `create_lock` takes for that kind, such as `url`. With the lock, fewer commits lose
    a race and have to be repeated. The log is correct without the lock, and when the lock fails.
    """
    rest = dict(given)
    uri = rest.pop("blob_uri", None) or rest.pop("url", None)
    if uri is None:
        raise ConfigurationError("catalog.blob_uri is missing: a folder, or a URI of a bucket")
    kind, more = rest.pop("lock_backend", None) or "none", rest.pop("lock_options", None) or {}
    ttl = seconds({"lock_ttl": rest.pop("lock_ttl", None) or LOCK_TTL}, "lock_ttl", LOCK_TTL)
    if kind not in LOCK_BACKENDS:
        raise ConfigurationError(
            f"catalog.lock_backend is {kind!r}: expected {', '.join(LOCK_BACKENDS)}"
        )
    if not isinstance(more, Mapping) or (more and kind == "none"):
        raise ConfigurationError(
            "catalog.lock_options: expected a mapping, beside a lock_backend, with what "
            "create_lock takes for it"
        )
    lock = None
    if kind != "none":
        name = f"lakebed/{sha256(str(uri).encode()).hexdigest()[:24]}"
        lock = partial(create_lock, str(kind), name, ttl, **{str(k): v for k, v in more.items()})
        lock().close()  # reports wrong options now
    return _open(uri, "blob_uri", rest, options, lock)


def _open(
    uri: object,
    field: str,
    given: dict[str, object],
    options: CatalogOptions,
    lock: Callable[[], Lock] | None = None,
) -> OpenedCatalog:
    common = {name: given.pop(name) for name in COMMON if name in given}
    owned = uri is not None
    if owned:
        place, given = parse_place(f"catalog.{field}", {**given, "uri": uri})
        store = open_store(place, given)
    elif given:
        raise ConfigurationError(
            f"catalog: unknown option {min(given)!r}: the options of a filesystem need uri"
        )
    elif options.storage is None:
        raise ConfigurationError(
            "catalog: a bucket catalog lies in the lake's storage: give storage, or catalog.uri"
        )
    else:
        store = options.storage
        place = store.uri("").rstrip("/")
    try:
        site = store.site()
        return open_log(
            lambda: BucketLogStore(store, owned=owned),
            f"{BUCKET}{place}",
            common,
            options,
            place=f"bucket {site.service} {site.path} {given.get('endpoint_url', '')}",
            lock=lock,
        )
    except BaseException:
        if owned:
            store.close()
        raise
