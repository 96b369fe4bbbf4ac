"""Where secrets come from: a source is one file and one line of `SOURCES`."""

from __future__ import annotations

from importlib import import_module, metadata
from typing import TYPE_CHECKING, Protocol

from lakebed.config.problems import quoted
from lakebed.errors import ConfigurationError
from lakebed.suggestions import suggestion

if TYPE_CHECKING:
    from lakebed.config.secrets.base import Secrets

ENTRY_POINTS = "lakebed.secrets"
"""The group of entry points by which an installed package offers sources: name = module:opener.
The opener takes the options of the source by keyword and gives a `SecretsBackend`."""

SOURCES = {
    "env": "lakebed.config.secrets.env:EnvSecrets",
    "gcp": "lakebed.config.secrets.gcp:GcpSecrets",
    "aws": "lakebed.config.secrets.aws:AwsSecrets",
    "azure": "lakebed.config.secrets.azure:AzureSecrets",
}


class SecretsBackend(Protocol):
    """A place that keeps secrets."""

    def get(self, name: str) -> str:
        """The secret of that name.

        Raises ConfigurationError naming the source and the name, never a value, if it has none.
        """
        ...


def known_sources() -> set[str]:
    """The sources that a configuration may name, those of installed packages included."""
    return {*SOURCES, *(point.name for point in metadata.entry_points(group=ENTRY_POINTS))}


def source_model(source: str) -> type[Secrets]:
    """The class of a source: its settings, and how it is asked."""
    module, _, name = SOURCES.get(
        source, "lakebed.config.secrets.outside:OutsideSecrets"
    ).partition(":")
    model: type[Secrets] = getattr(import_module(module), name)
    return model


def create_secrets_backend(source: str = "env", **options: object) -> Secrets:
    """Open a source of secrets.

    `source`: `env`, environment variables; `gcp`, Google Secret Manager; `aws`, AWS Secrets
    Manager; `azure`, Azure Key Vault; or one of an installed package. Its options: `prefix` of env;
    `project_id` of gcp; `region` of aws; `vault_url` of azure; `secret_prefix` or `secret_name` of
    the three; `username_key` and `password_key` of all. No cloud is asked before a secret is.

    What it gives has `get(name)`, the secret of that name, and `credentials()`, a mapping with
    `username` and `password`.

    Raises ConfigurationError for an unknown source or option, and later for a secret that is not
    there; DependencyMissingError, with the pip command, for a client that is not installed.
    """
    if not isinstance(source, str) or source not in known_sources():
        known = suggestion(str(source), known_sources())
        raise ConfigurationError(f"no secrets source {quoted(source)}: {known}")
    from lakebed.config.validation import validate_model

    return validate_model(
        source_model(source), {"source": source, **options}, f"secrets source {source}"
    )
