"""The settings of the catalog `litestream`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lakebed.config.fields import LocalPath, LocalPathOrUri, Model, Seconds, Text


class LitestreamOptions(Model):
    """A SQLite file that Litestream copies to a replica all the time. One node at a time."""

    path: LocalPath = Field(description="The file. Restored from the replica if it does not exist.")
    replica: LocalPathOrUri = Field(description="A folder, or `s3://bucket/prefix`.")
    endpoint_url: Text | None = Field(None, description="For a replica in S3.")
    region: Text | None = Field(None, description="For a replica in S3.")
    fence_ttl: Seconds = Field(
        60.0,
        description="Seconds after which another node may take over the replica of a dead node.",
    )
    fence_timeout: Seconds = Field(
        90.0, description="Seconds to wait until another node has given up the replica."
    )

    def as_catalog(self) -> dict[str, object]:
        """The catalog as `lakebed.open` takes it."""
        return {"type": "litestream"} | {
            name: value
            for name in LitestreamOptions.model_fields
            if (value := getattr(self, name)) is not None
        }


class LitestreamCatalogSettings(LitestreamOptions):
    """Names in a SQLite file with a replica."""

    type: Literal["litestream"]
