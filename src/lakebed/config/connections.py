"""How to connect to a Postgres server, for those who do it themselves."""

from __future__ import annotations

from collections.abc import Mapping

from lakebed.config.interpolation import expand_env_vars
from lakebed.config.problems import kind
from lakebed.config.providers.options import ServerOptions
from lakebed.config.secrets import create_secrets_backend
from lakebed.config.validation import validate_model
from lakebed.errors import ConfigurationError


def build_provider_connection_string(
    provider: str = "self-hosted",
    credentials: Mapping[str, str] | None = None,
    **config: object,
) -> str:
    """The libpq connection string of a Postgres server at a provider.

    `provider`: `self-hosted`, `gcp`, `aws` or `azure`. `credentials`: `username` and `password`, of
    any characters; without a password the string has none. `config`: `host`, `port` and `database`;
    for `gcp` in place of `host` also `project`, `region` and `instance`; `user_at_host` for
    `azure`; `sslmode` (`require` if left out, except self-hosted), `sslrootcert`, `sslcert` and
    `sslkey`. An address that is left out comes from the environment, as in a configuration.

    The string holds the password: do not show it.

    Raises ConfigurationError naming the setting for what is wrong or does not go together.
    """
    login = {} if credentials is None else credentials
    if not isinstance(login, Mapping):
        raise ConfigurationError(f"credentials: expected a mapping, got {kind(login)}")
    for name in login:
        if name not in ("username", "password"):
            raise ConfigurationError(f"credentials.{name}: expected username and password")
    for name in ("connection_string", "url", "credentials", "iam", "user", "password"):
        if name in config:
            raise ConfigurationError(
                f"{name}: is nothing that a connection string is built of: open the catalog with it"
            )
    given = config | {"user": login.get("username"), "password": login.get("password")}
    return validate_model(ServerOptions, given | {"provider": provider}, "").address()


def resolve_catalog_credentials(config: Mapping[str, object]) -> dict[str, str]:
    """The `username` and `password` of a Postgres catalog, asked from where its settings say.

    `config`: the settings of the catalog, with `credentials` and perhaps `user`; or `credentials`
    by itself, a mapping with `source`. References such as `${NAME}` are replaced.

    Raises ConfigurationError for settings that are wrong and for a secret that is not there, naming
    source and key; ConnectError for a source that cannot be reached or refuses;
    DependencyMissingError, with the pip command, for a client that is not installed.
    """
    if not isinstance(config, Mapping):
        raise ConfigurationError(f"expected the settings of a catalog, got {kind(config)}")
    given = expand_env_vars(config)
    credentials, user = (
        (given["credentials"], given.get("user")) if "credentials" in given else (given, None)
    )
    if not isinstance(credentials, Mapping) or "source" not in credentials:
        raise ConfigurationError("credentials.source: is missing")
    options = {str(name): value for name, value in credentials.items()}
    return create_secrets_backend(**options).credentials(user)
