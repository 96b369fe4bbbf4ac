"""The sources of secrets. Each is one file and one line of `SOURCES`."""

from __future__ import annotations

from importlib import import_module, metadata
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from lakebed.config.secrets.base import Secrets

ENTRY_POINTS = "lakebed.secrets"
"""The group of the entry points by which installed packages offer sources: name = module:opener.
The opener takes the options of the source as keywords and returns a `SecretsBackend`."""

SOURCES = {
    "env": "lakebed.config.secrets.env:EnvSecrets",
    "gcp": "lakebed.config.secrets.gcp:GcpSecrets",
    "aws": "lakebed.config.secrets.aws:AwsSecrets",
    "azure": "lakebed.config.secrets.azure:AzureSecrets",
}


class SecretsBackend(Protocol):
    """A source of secrets."""

    def get(self, name: str) -> str:
        """Return the secret of that name.

        Raises ConfigurationError, naming the source and the name but never a value, if there is no
        such secret.
        """
        ...


def known_sources() -> set[str]:
    """Return the sources that a configuration can name, including those of installed packages."""
    return {*SOURCES, *(point.name for point in metadata.entry_points(group=ENTRY_POINTS))}


def source_model(source: str) -> type[Secrets]:
    """Return the class of a source. It holds the source's settings and reads its secrets."""
    module, _, name = SOURCES.get(
        source, "lakebed.config.secrets.outside:OutsideSecrets"
    ).partition(":")
    model: type[Secrets] = getattr(import_module(module), name)
    return model
