"""What all sources of secrets have in common."""

from __future__ import annotations

import json
from abc import abstractmethod
from typing import ClassVar, NoReturn

from pydantic import Field, model_validator

from lakebed.config.clouds import first_line
from lakebed.config.fields import Model, Text, wrong
from lakebed.errors import ConfigurationError, ConnectError


class Secrets(Model):
    """A place that keeps secrets: its settings, and how it is asked."""

    source: str
    username_key: Text = Field(
        "username", description="The name, in this source, of the secret that is the user."
    )
    password_key: Text = Field(
        "password", description="The name, in this source, of the secret that is the password."
    )

    @abstractmethod
    def get(self, name: str) -> str:
        """The secret of that name.

        Raises ConfigurationError naming the source and the name, never a value, if it has none;
        ConnectError if the source cannot be reached or refuses.
        """

    def credentials(self, user: str | None = None) -> dict[str, str]:
        """`username` and `password`; with `user` given only the password is asked for."""
        username = self.get(self.username_key) if user is None else user
        return {"username": username, "password": self.get(self.password_key)}


class CloudSecrets(Secrets):
    """A cloud's service, where each secret has a name of its own, or one holds them all as JSON."""

    cloud: ClassVar[str]

    secret_prefix: Text | None = Field(
        None,
        description="Stands before each name: with `db-`, `password` is the secret `db-password`.",
    )
    secret_name: Text | None = Field(
        None,
        description="One secret for all: a JSON object whose keys are the names, or plain text, "
        "which then is the password.",
    )

    @model_validator(mode="after")
    def _one_way(self) -> CloudSecrets:
        if self.secret_prefix is not None and self.secret_name is not None:
            raise wrong("is given beside secret_name: expected one of them", "secret_prefix")
        return self

    @abstractmethod
    def _fetch(self, secret: str) -> str:
        """The text of a secret, by the service's own name for it."""

    def get(self, name: str) -> str:
        if self.secret_name is not None:
            return self._part(self._fetch(self.secret_name), name)
        return self._fetch(f"{self.secret_prefix or ''}{name}")

    def credentials(self, user: str | None = None) -> dict[str, str]:
        if self.secret_name is None:
            return super().credentials(user)
        # Asked once, so that both are of the same version.
        text = self._fetch(self.secret_name)
        username = self._part(text, self.username_key) if user is None else user
        return {"username": username, "password": self._part(text, self.password_key)}

    def _part(self, text: str, name: str) -> str:
        """What a secret that stands for several holds under a name."""
        try:
            found = json.loads(text)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            if name == self.password_key:
                return text
            self._missing(name, f"{self.secret_name!r} is no JSON object, so it is the password")
        part = found.get(name)
        if isinstance(part, bool) or not isinstance(part, (str, int)):
            self._missing(name, f"the JSON of {self.secret_name!r} has no text of that name")
        return str(part)

    def _missing(self, name: str, why: str) -> NoReturn:
        raise ConfigurationError(
            f"no secret {name!r} in source {self.source} ({self.cloud}): {why}"
        ) from None

    def _refused(self, name: str, error: Exception) -> NoReturn:
        raise ConnectError(
            f"source {self.source} ({self.cloud}) refuses the secret {name!r}: {first_line(error)}",
            "auth_failed",
        ) from None

    def _unreachable(self, name: str, error: Exception) -> NoReturn:
        raise ConnectError(
            f"source {self.source} ({self.cloud}) does not give the secret {name!r}: "
            f"{first_line(error)}"
        ) from None
