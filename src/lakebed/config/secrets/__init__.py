"""Where secrets come from: a source is one file and one line of `SOURCES`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from lakebed.config.problems import suggestion
from lakebed.config.secrets.env import EnvSecrets
from lakebed.errors import ConfigurationError


class SecretsBackend(Protocol):
    """A place that keeps secrets."""

    def get(self, name: str) -> str:
        """The secret of that name.

        Raises ConfigurationError naming the source and the name, never a value, if it has none.
        """
        ...


SOURCES: dict[str, Callable[..., SecretsBackend]] = {"env": EnvSecrets}


def create_secrets_backend(source: str = "env", **options: object) -> SecretsBackend:
    """Open a source of secrets.

    `source`: `env`, the environment, whose option `prefix` stands before every name.
    Raises ConfigurationError for an unknown source or option.
    """
    if source not in SOURCES:
        raise ConfigurationError(f"no secrets source {source!r}: {suggestion(source, SOURCES)}")
    try:
        return SOURCES[source](**options)
    except TypeError as error:
        raise ConfigurationError(f"secrets source {source}: {error}") from None
