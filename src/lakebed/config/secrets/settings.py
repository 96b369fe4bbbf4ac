"""The settings of a source of secrets, chosen by `source`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import BeforeValidator, Discriminator, Tag

from lakebed.config.fields import Raw, wrong
from lakebed.config.problems import kind, quoted
from lakebed.config.secrets.aws import AwsSecrets
from lakebed.config.secrets.azure import AzureSecrets
from lakebed.config.secrets.base import Secrets
from lakebed.config.secrets.env import EnvSecrets
from lakebed.config.secrets.gcp import GcpSecrets
from lakebed.config.secrets.outside import OutsideSecrets
from lakebed.config.secrets.sources import SOURCES, known_sources
from lakebed.suggestions import suggestion

OUTSIDE = "outside"


def _known(value: object) -> Raw | Secrets:
    if isinstance(value, Secrets):
        return value
    if not isinstance(value, Mapping):
        raise wrong(f"expected a mapping, got {kind(value)}")
    source = value.get("source", "env")
    if not isinstance(source, str) or source not in known_sources():
        raise wrong(f"is {quoted(source)}: {suggestion(str(source), known_sources())}", "source")
    return dict(value)


def _tag(value: object) -> str:
    source = (
        value.get("source", "env") if isinstance(value, Mapping) else getattr(value, "source", "")
    )
    return source if source in SOURCES else OUTSIDE


SecretsSettings = Annotated[
    Annotated[
        Annotated[EnvSecrets, Tag("env")]
        | Annotated[GcpSecrets, Tag("gcp")]
        | Annotated[AwsSecrets, Tag("aws")]
        | Annotated[AzureSecrets, Tag("azure")]
        | Annotated[OutsideSecrets, Tag(OUTSIDE)],
        Discriminator(_tag),
    ],
    BeforeValidator(_known),
]
