"""Connection strings and credentials, for programs that connect to Postgres themselves."""

from __future__ import annotations

from collections.abc import Mapping

from lakebed.config.problems import kind, quoted
from lakebed.config.providers.server import ServerOptions
from lakebed.config.reading.interpolation import expand_env_vars
from lakebed.config.reading.validation import validate_model
from lakebed.config.secrets.base import Secrets
from lakebed.config.secrets.sources import known_sources, source_model
from lakebed.errors import ConfigurationError
from lakebed.suggestions import suggestion


def build_provider_connection_string(
    provider: str = "self-hosted",
    credentials: Mapping[str, str] | None = None,
    **config: object,
) -> str:
    """Build the libpq connection string of a Postgres server at a provider.

    `provider`: `self-hosted`, `gcp`, `aws` or `azure`.
    `credentials`: a mapping with `username` and `password`, which may have any characters. Without
    a password the string has none.
    `config`: `host`, `port` and `database`; for `gcp` also `project`, `region` and `instance` in
    place of `host`; for `azure` also `user_at_host`; and `sslmode` (default `require`, except for
    self-hosted), `sslrootcert`, `sslcert` and `sslkey`. Instead of the address you can give a
    `connection_string` (or `url`), to which the other settings are added. If you leave out the
    address, it comes from the environment, as in a configuration.

    The string contains the password: do not show it.

    Raises ConfigurationError, naming the setting, if a setting is invalid or settings do not fit
    together.
    """
    login = {} if credentials is None else credentials
    if not isinstance(login, Mapping):
        raise ConfigurationError(f"credentials: expected a mapping, got {kind(login)}")
    for name in login:
        if name not in ("username", "password"):
            raise ConfigurationError(
                f"credentials.{name}: unknown key: expected username or password"
            )
    for name in ("credentials", "iam", "iam_auth", "user", "password"):
        if name in config:
            raise ConfigurationError(
                f"{name}: cannot be used to build a connection string: give it to the catalog"
            )
    given = config | {"user": login.get("username"), "password": login.get("password")}
    return validate_model(ServerOptions, given | {"provider": provider}, "").address()


def resolve_catalog_credentials(config: Mapping[str, object]) -> dict[str, str]:
    """Look up the `username` and `password` of a Postgres catalog.

    `config`: the settings of the catalog, with `credentials` and optionally `user`; or only
    `credentials`, a mapping with `source`. References such as `${NAME}` are replaced. If `config`
    is empty, the result is empty.

    Raises ConfigurationError for invalid settings, and for a missing secret, naming its source and
    key; ConnectError if the source cannot be reached or refuses access; DependencyMissingError,
    with the pip command, if a client is not installed.
    """
    if not isinstance(config, Mapping):
        raise ConfigurationError(f"expected the settings of a catalog, got {kind(config)}")
    if not config:
        return {}
    given = expand_env_vars(config)
    credentials, user = (
        (given["credentials"], given.get("user")) if "credentials" in given else (given, None)
    )
    if not isinstance(credentials, Mapping) or "source" not in credentials:
        raise ConfigurationError("credentials.source is missing")
    options = {str(name): value for name, value in credentials.items()}
    return create_secrets_backend(**options).credentials(user)


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
    return validate_model(
        source_model(source), {"source": source, **options}, f"secrets source {source}"
    )
