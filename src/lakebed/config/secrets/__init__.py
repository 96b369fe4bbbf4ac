"""Secrets from the environment and from the clouds: a source is one file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lakebed.config.problems import quoted
from lakebed.config.secrets.sources import known_sources, source_model
from lakebed.errors import ConfigurationError
from lakebed.suggestions import suggestion

if TYPE_CHECKING:
    from lakebed.config.secrets.base import Secrets


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
    from lakebed.config.validation import validate_model  # which knows the sources

    return validate_model(
        source_model(source), {"source": source, **options}, f"secrets source {source}"
    )
