"""The settings of documents and files: one model for each type, as for catalogs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

from pydantic import ConfigDict, Field, model_validator

from lakebed.config.fields import (
    Count,
    LocalPath,
    Model,
    Positive,
    Raw,
    Seconds,
    Secret,
    Text,
    YesNo,
    wrong,
)
from lakebed.config.masking import guard, reveal
from lakebed.config.problems import Path, kind, quoted
from lakebed.config.providers.server import ServerOptions
from lakebed.config.reading.auto import documents_of, option_of
from lakebed.config.reading.document import Document
from lakebed.config.reading.validation import validate_at
from lakebed.documents.registry import get_registered_metadata_stores
from lakebed.files.registry import get_registered_blob_storages
from lakebed.objects.opening import wrong_options
from lakebed.suggestions import suggestion

DEFAULT_ROOT = "blobs"


class Part(Model):
    """The settings of a part: its `type`, and the options of that type."""

    @property
    def kind(self) -> str:
        """The type."""
        return str(self.__dict__["type"])

    @property
    def awaited(self) -> bool:
        """Whether its calls must be awaited."""
        return bool(getattr(self, "async_", False)) or self.kind.endswith("_async")

    def options(self) -> dict[str, Any]:
        """Return the options for the function that makes this type, secrets included."""
        given = self.model_dump(by_alias=True, exclude_none=True, exclude={"type"})
        return {name: reveal(value) for name, value in given.items()}


class OtherPart(Part):
    """A type whose options are not checked here. If none are given, they come from the
    environment."""

    model_config = ConfigDict(extra="allow")

    type: str
    async_: YesNo | None = Field(None, alias="async", description="Its calls are awaited.")

    @model_validator(mode="before")
    @classmethod
    def _guarded(cls, raw: Raw) -> Raw:
        return {
            name: guard(value, name) if name not in ("type", "async") else value
            for name, value in raw.items()
        }


class PostgresDocuments(ServerOptions, Part):
    """Documents in a Postgres database."""

    type: Literal["postgres"]
    schema_: Text = Field("public", alias="schema", description="Holds the table.")
    pool_size: Positive = Field(5, description="Connections that are kept open.")
    max_overflow: Count = Field(5, description="Connections beyond these, when all are in use.")
    auto_migrate: YesNo = Field(True, description="Create and migrate the table.")
    timeout: Seconds = Field(30.0, description="Seconds to wait for a connection.")
    statement_timeout: Seconds = Field(300.0, description="Seconds to wait for one statement.")
    lock_timeout: Seconds = Field(60.0, description="Seconds to wait for a lock.")
    pgbouncer: YesNo = Field(
        False, description="Set this if the connection goes through PgBouncer in transaction mode."
    )
    async_: YesNo = Field(False, alias="async", description="Its calls are awaited.")


class LakeDocuments(Part):
    """Documents in a lake."""

    type: Literal["lake"]
    path: LocalPath | None = Field(
        None, description="The folder of the lake. Left out: the lake of the memory."
    )
    async_: YesNo = Field(False, alias="async", description="Its calls are awaited.")


class LocalFiles(Part):
    """Files in a local folder."""

    type: Literal["local"]
    root: LocalPath = Field(DEFAULT_ROOT, description="The folder.")


class MemoryFiles(Part):
    """Files in the memory of the process."""

    type: Literal["memory"]


class S3Files(Part):
    """Files in a bucket of S3, or of a compatible service. All other keys are options of the
    storage, such as `addressing_style`."""

    model_config = ConfigDict(extra="allow")

    type: Literal["s3"]
    bucket: Text
    prefix: str | None = Field(None, description="A folder of the bucket.")
    region: Text | None = None
    endpoint_url: Text | None = Field(None, description="For a service that is not Amazon's.")
    access_key: Secret | None = Field(None, description="Left out: taken from the environment.")
    secret_key: Secret | None = None
    encryption: Text | None = Field(None, description="`SSE-S3` or `SSE-KMS`, in any case.")
    kms_key_id: Text | None = Field(None, description="The key of `SSE-KMS`.")

    @model_validator(mode="before")
    @classmethod
    def _checked(cls, raw: Raw) -> Raw:
        if raw.get("bucket") is None:
            raw = {**option_of("s3"), **raw}
        ours = {"type", "bucket", "prefix", "access_key", "secret_key"}
        others = {name: value for name, value in raw.items() if name not in ours}
        for name, problem in wrong_options("s3://bucket", others).items():
            raise wrong(problem, name)
        return {
            name: value if name in cls.model_fields else guard(value, name)
            for name, value in raw.items()
        }

    @model_validator(mode="after")
    def _keys_fit(self) -> S3Files:
        for one, other in (("access_key", "secret_key"), ("secret_key", "access_key")):
            if getattr(self, one) is None and getattr(self, other) is not None:
                raise wrong(f"is missing: {other} requires it", one)
        return self


class Family(NamedTuple):
    """The types of a part. `models`: those whose options are checked here. `known`: returns all
    types. `environment`: returns the options of a type that the environment names."""

    models: Mapping[str, type[Part]]
    known: Callable[[], list[str]]
    environment: Callable[[str], Mapping[str, object]]


DOCUMENTS = Family(
    {"postgres": PostgresDocuments, "lake": LakeDocuments},
    get_registered_metadata_stores,
    documents_of,
)
FILES = Family(
    {"s3": S3Files, "local": LocalFiles, "memory": MemoryFiles},
    get_registered_blob_storages,
    option_of,
)


def validate_part(document: Document, at: Path, raw: object, family: Family) -> Part:
    """Validate the settings of a part, which are at the path `at` of the document.

    Raises ConfigurationError, which lists every problem.
    """
    if not isinstance(raw, Mapping):
        raise document.error(at, f"expected a mapping with type, got {kind(raw)}")
    named, known = raw.get("type"), family.known()
    if named not in known:
        said = "is missing" if named is None else f"is {quoted(named)}"
        raise document.error((*at, "type"), f"{said}: {suggestion(str(named or ''), known)}")
    model = family.models.get(str(named), OtherPart)
    if model is OtherPart and not raw.keys() - {"type", "async"}:
        raw = {**family.environment(str(named).removesuffix("_async")), **raw}
    return validate_at(document, model, raw, at)
