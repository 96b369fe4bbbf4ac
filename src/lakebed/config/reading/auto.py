"""Chooses services by the environment, for `backend: auto`, `store: auto` and `storage: auto`."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

from lakebed.catalog.registry import catalog_of_scheme, known_catalogs
from lakebed.config.masking import guard, mask, mask_address
from lakebed.config.providers.address import address_from_environment

Options = Mapping[str, object]
DEFAULT_PREFIX = "lakebed"


class Choice(NamedTuple):
    """What was chosen: its type, its options, and the reason, in words that may be shown."""

    type: str
    options: Options
    why: str

    def told(self, part: str) -> str:
        """Return the choice on one line, without secrets."""
        return f"{part} auto: chose {self.type}{self._shown()}, because {self.why}"

    def _shown(self) -> str:
        url = self.options.get("url") or self.options.get("connection_string")
        if isinstance(url, str):
            return f" at {mask_address(url)}"
        plain = mask({name: guard(value, name) for name, value in self.options.items()})
        assert isinstance(plain, dict)
        named = [str(plain[name]) for name in _NAMES if plain.get(name) and plain[name] != "***"]
        return f" ({', '.join(named)})" if named else ""


class _Service(NamedTuple):
    """A service: its type, and a function that returns its options and the variable that names it,
    or None."""

    type: str
    look: Callable[[], tuple[Options, str] | None]


_NAMES = ("host", "region", "endpoint_url")


def _first(*variables: str) -> tuple[str, str] | None:
    """Return the first variable that is set, and its value."""
    return next(((name, os.environ[name]) for name in variables if os.environ.get(name)), None)


def _optional(**variables: tuple[str, ...]) -> dict[str, str]:
    """Return the options whose variables are set."""
    found = {option: _first(*names) for option, names in variables.items()}
    return {option: pair[1] for option, pair in found.items() if pair}


def _by(name: str, option: str, *more: str) -> Callable[[], tuple[Options, str] | None]:
    """Return the `look` of a service whose address is in one variable."""

    def look() -> tuple[Options, str] | None:
        found = _first(name, *more)
        return None if found is None else ({option: found[1]}, found[0])

    return look


def _postgres() -> tuple[Options, str] | None:
    address = address_from_environment()
    if address is None:
        return None
    return address, "DATABASE_URL" if "connection_string" in address else "POSTGRES_HOST"


def _turso() -> tuple[Options, str] | None:
    found = _first("TURSO_DATABASE_URL", "TURSO_URL", "LIBSQL_URL")
    if found is None:
        return None
    return {"url": found[1], **_optional(auth_token=("TURSO_AUTH_TOKEN",))}, found[0]


def _d1() -> tuple[Options, str] | None:
    database = _first("CLOUDFLARE_D1_DATABASE_ID", "CLOUDFLARE_DATABASE_ID")
    account = _first("CLOUDFLARE_ACCOUNT_ID")
    if database is None or account is None:
        return None
    token = _optional(api_token=("CLOUDFLARE_API_TOKEN",))
    return {"account_id": account[1], "database_id": database[1], **token}, database[0]


def _dynamodb() -> tuple[Options, str] | None:
    table = _first("DYNAMODB_TABLE", "LAKEBED_DYNAMODB_TABLE")
    if table is None:
        return None
    more = _optional(
        region=("AWS_REGION", "AWS_DEFAULT_REGION"),
        endpoint_url=("DYNAMODB_ENDPOINT_URL", "AWS_ENDPOINT_URL_DYNAMODB"),
    )
    return {"table": table[1], **more}, table[0]


def _firestore() -> tuple[Options, str] | None:
    found = _first("FIRESTORE_PROJECT", "FIRESTORE_COLLECTION", "FIRESTORE_EMULATOR_HOST")
    if found is None:
        return None
    project = _optional(project=("FIRESTORE_PROJECT", "GOOGLE_CLOUD_PROJECT"))
    return project | _optional(collection=("FIRESTORE_COLLECTION",)), found[0]


def _other_sql() -> tuple[Options, str] | None:
    url = os.environ.get("DATABASE_URL", "")
    return ({"url": url}, "DATABASE_URL") if "://" in url else None


def _s3() -> tuple[Options, str] | None:
    bucket = _first("S3_BUCKET", "AWS_S3_BUCKET")
    if bucket is None:
        return None
    more = _optional(
        region=("S3_REGION", "AWS_REGION", "AWS_DEFAULT_REGION"),
        endpoint_url=("S3_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"),
        access_key=("S3_ACCESS_KEY",),
        secret_key=("S3_SECRET_KEY",),
    )
    return {"bucket": bucket[1], **more}, bucket[0]


def _azure() -> tuple[Options, str] | None:
    container = _first("AZURE_STORAGE_CONTAINER")
    if container is None:
        return None
    more = _optional(
        connection_string=("AZURE_STORAGE_CONNECTION_STRING",),
        account_name=("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT"),
        account_key=("AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_KEY"),
    )
    return {"bucket": container[1], **more}, container[0]


_MONGODB = _Service("mongodb", _by("MONGODB_URL", "url", "MONGODB_URI", "MONGO_URL"))
_DYNAMODB = _Service("dynamodb", _dynamodb)
_FIRESTORE = _Service("firestore", _firestore)
_POSTGRES = _Service("postgres", _postgres)

CATALOGS = (
    _POSTGRES,
    _Service("sqlalchemy", _other_sql),
    _Service("turso", _turso),
    _Service("d1", _d1),
    _MONGODB,
    _DYNAMODB,
    _FIRESTORE,
    _Service("redis", _by("REDIS_URL", "url")),
)
"""In order of preference: SQL servers, then services that keep a log. Redis is last, because it may
lose acknowledged writes when it stops."""
DOCUMENTS = (_POSTGRES, _MONGODB, _DYNAMODB, _FIRESTORE)
FILES = (
    _Service("s3", _s3),
    _Service("gcs", _by("GCS_BUCKET", "bucket", "GOOGLE_CLOUD_STORAGE_BUCKET")),
    _Service("azure", _azure),
)


def seen(services: tuple[_Service, ...], known: Collection[str]) -> Choice | None:
    """Return the first service that the environment names and whose type is in `known`, or None."""
    for service in services:
        found = service.look()
        if found is not None and service.type in known:
            options, variable = found
            return Choice(service.type, options, f"{variable} is set")
    return None


def option_of(service: str) -> Options:
    """Return the address that the environment names for a type of service. The result is empty if
    it names none."""
    for one in (*CATALOGS, *FILES):
        if one.type == service and (found := one.look()) is not None:
            return found[0]
    return {}


_OF_THE_MEMORY = ("table", "collection")


def documents_of(service: str) -> Options:
    """Return the address for documents. The table and the collection of the memory are left out,
    because documents have their own."""
    found = option_of(service).items()
    return {name: value for name, value in found if name not in _OF_THE_MEMORY}


def choose_catalog(backends: Collection[str]) -> Choice | None:
    """Choose for `backend: auto`: a database, or a bucket for names and contents. Returns None if
    the environment names neither."""
    found = seen(CATALOGS, backends)
    if found is not None and found.type == "sqlalchemy":
        named = catalog_of_scheme(str(found.options["url"]).partition("://")[0])
        return found._replace(type=named) if named in backends else found
    if found is not None or "bucket" not in known_catalogs():
        return found
    bucket = seen(FILES, ("s3", "gcs"))
    if bucket is None:
        return None
    options = dict(bucket.options)
    scheme = "gs" if bucket.type == "gcs" else "s3"
    storage = {"uri": f"{scheme}://{options.pop('bucket')}/{DEFAULT_PREFIX}"}
    renamed = {"access_key": "key", "secret_key": "secret"}
    storage |= {renamed.get(name, name): str(value) for name, value in options.items()}
    return Choice("duckdb", {"catalog": {"type": "bucket"}, "storage": storage}, bucket.why)


def choose_documents(known: Collection[str]) -> Choice:
    """Choose the store of documents: the database that the environment names, else the lake of the
    memory."""
    variables = "DATABASE_URL, POSTGRES_HOST, MONGODB_URL, DYNAMODB_TABLE and FIRESTORE_PROJECT"
    return seen(DOCUMENTS, known) or Choice("lake", {}, f"none of {variables} is set")


def choose_files(known: Collection[str]) -> Choice:
    """Choose the storage of files: the bucket that the environment names, else a local folder."""
    variables = "S3_BUCKET, GCS_BUCKET and AZURE_STORAGE_CONTAINER"
    return seen(FILES, known) or Choice("local", {}, f"none of {variables} is set")
