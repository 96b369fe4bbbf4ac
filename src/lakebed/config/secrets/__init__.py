"""Secrets from the environment and from the clouds. Each source is one file."""

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
    Manager; `azure`, Azure Key Vault; or a source of an installed package.
    `options`: `prefix` for env; `project_id` for gcp; `region` for aws; `vault_url` for azure;
    `secret_prefix` or `secret_name` for the three clouds; `username_key` and `password_key` for
    all. No cloud is contacted before the first secret is read.

    The result has `get(name)`, which returns the secret of that name, and `credentials()`, which
    returns a mapping with `username` and `password`. They raise ConfigurationError for a missing
    secret, and ConnectError if the source cannot be reached or refuses access.

    Raises ConfigurationError for an unknown source or option, and DependencyMissingError, with the
    pip command, if a client is not installed (for the clouds, when the first secret is read).
    """
    if not isinstance(source, str) or source not in known_sources():
        known = suggestion(str(source), known_sources())
        raise ConfigurationError(f"unknown secrets source {quoted(source)}: {known}")
    from lakebed.config.validation import validate_model  # it imports the sources

    return validate_model(
        source_model(source), {"source": source, **options}, f"secrets source {source}"
    )
