"""The flat names of settings, such as `ltm_url`, and what each means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from lakebed.config.problems import ConfigProblem, Path
from lakebed.config.reading.document import Document
from lakebed.suggestions import closest

LTM = {
    "ltm_backend": "backend",
    "ltm_url": "url",
    "ltm_auth_token": "auth_token",
    "ltm_account_id": "account_id",
    "ltm_database_id": "database_id",
    "ltm_api_token": "api_token",
    "ltm_collection": "collection",
    "ltm_path": "path",
    "litestream_replica": "replica",
    "ltm_blob_uri": "blob_uri",
    "ltm_lock_backend": "lock_backend",
    "ltm_lock_ttl": "lock_ttl",
}
METADATA = {
    "metadata_backend_type": "type",
    "postgres_url": "url",
    "postgres_pool_size": "pool_size",
    "postgres_pool_max_overflow": "max_overflow",
    "postgres_async": "async",
}
BLOB = {
    "blob_backend_type": "type",
    "s3_bucket": "bucket",
    "s3_region": "region",
    "s3_endpoint_url": "endpoint_url",
    "s3_access_key": "access_key",
    "s3_secret_key": "secret_key",
}
WORDS = {**LTM, **METADATA, **BLOB}


class FlatDocument(Document):
    """A document whose settings have flat names. Errors use these names."""

    words: Mapping[str, str]
    at: Path

    def problem(self, path: Path, message: str) -> ConfigProblem:
        """Return the problem of one setting, named by the flat word that gave it."""
        if path and path[0] in self.words:
            path = (*self.at, self.words[str(path[0])], *path[1:])
        return super().problem(path, message)


class Flat(NamedTuple):
    """The settings of a part as nested words, and the document for its errors."""

    raw: dict[str, object]
    document: FlatDocument


def words_in(raw: Mapping[str, object]) -> dict[str, object]:
    """Return the flat words in a mapping, without those that are None."""
    return {name: value for name, value in raw.items() if name in WORDS and value is not None}


def refuse_misspelt(document: Document, raw: Mapping[str, object], at: Path) -> None:
    """Raise ConfigurationError for a key that is nearly a flat word."""
    for name in raw:
        near = closest(name, WORDS) if "_" in name and name not in WORDS else None
        if near is not None and name.partition("_")[0] == near.partition("_")[0]:
            raise document.error((*at, name), f"unknown key: did you mean {near!r}?")


def ltm_of(document: Document, words: Mapping[str, object], at: Path) -> Flat | None:
    """Return the settings of the memory, or None if no flat word gives any."""
    raw = {LTM[name]: value for name, value in words.items() if name in LTM}
    if not raw:
        return None
    names = {option: name for name, option in LTM.items()}
    backend = raw.setdefault("backend", "auto")
    if backend == "duckdb" and "path" in raw:  # its contents are in a storage
        raw["storage"] = raw.pop("path")
        names["storage"] = "ltm_path"
    if backend == "postgres" and "url" not in raw and "postgres_url" in words:
        raw["url"] = words["postgres_url"]
        names["url"] = "postgres_url"
    if "path" not in raw and "url" in raw:
        names["path"] = names["url"]
    return Flat(raw, _document(document, names, at))


def metadata_of(document: Document, words: Mapping[str, object], at: Path) -> Flat | None:
    """Return the settings of the documents, or None if no flat word gives any."""
    given = {METADATA[name]: value for name, value in words.items() if name in METADATA}
    kind = given.get("type", "postgres")
    if kind == "postgres":
        raw = {"type": kind, **given} if given else {}
    else:
        raw = {"type": kind}
        if words.get("ltm_backend") != "postgres":
            _refuse(document, words, at, "postgres_", "metadata_backend_type: postgres")
    names = {option: name for name, option in METADATA.items()}
    return Flat(raw, _document(document, names, at)) if raw else None


def blob_of(document: Document, words: Mapping[str, object], at: Path) -> Flat | None:
    """Return the settings of the files, or None if no flat word gives any."""
    raw = {BLOB[name]: value for name, value in words.items() if name in BLOB}
    if not raw:
        return None
    if raw.setdefault("type", "s3") != "s3":
        _refuse(document, words, at, "s3_", "blob_backend_type: s3")
    names = {option: name for name, option in BLOB.items()}
    return Flat(raw, _document(document, names, at))


def _refuse(
    document: Document, words: Mapping[str, object], at: Path, beginning: str, wanted: str
) -> None:
    for name in words:
        if name.startswith(beginning):
            raise document.error((*at, name), f"is an option of {wanted}")


def _document(document: Document, names: Mapping[str, str], at: Path) -> FlatDocument:
    found = FlatDocument(*document)
    found.words = {"connection_string": names.get("url", "url"), **names}
    found.at = at
    return found
