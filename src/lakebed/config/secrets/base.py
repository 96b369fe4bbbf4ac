"""The base classes of all sources of secrets."""

from __future__ import annotations

import json
import re
from abc import abstractmethod
from typing import ClassVar, NoReturn

from pydantic import Field, model_validator

from lakebed.config.clouds import first_line
from lakebed.config.fields import Model, Text, wrong
from lakebed.errors import ConfigurationError, ConnectError


class Secrets(Model):
    """A source of secrets: its settings, and how secrets are read from it."""

    source: str
    username_key: Text = Field(
        "username", description="The name, in this source, of the secret with the user."
    )
    password_key: Text = Field(
        "password", description="The name, in this source, of the secret with the password."
    )

    @abstractmethod
    def get(self, name: str) -> str:
        """Return the secret of that name.

        Raises ConfigurationError, naming the source and the name but never a value, if there is no
        such secret; ConnectError if the source cannot be reached or refuses access.
        """

    def credentials(self, user: str | None = None) -> dict[str, str]:
        """Return `username` and `password`. If `user` is given, only the password is read."""
        username = self.get(self.username_key) if user is None else user
        return {"username": username, "password": self.get(self.password_key)}


class CloudSecrets(Secrets):
    """A cloud's service. Each secret has its own name, or one secret holds all of them as JSON."""

    cloud: ClassVar[str]
    names: ClassVar[re.Pattern[str] | None] = None
    """Matches the names that the service allows (`signs` says which, in words); None if all."""
    signs: ClassVar[str] = ""

    secret_prefix: Text | None = Field(
        None,
        description="Put before each name: with `db-`, `password` is the secret `db-password`.",
    )
    secret_name: Text | None = Field(
        None,
        description="One secret for all names: a JSON object whose keys are the names, or plain "
        "text, which is then the password.",
    )

    @model_validator(mode="after")
    def _one_way(self) -> CloudSecrets:
        if self.secret_prefix is not None and self.secret_name is not None:
            raise wrong("cannot be combined with secret_name: give one of them", "secret_prefix")
        if self.names is not None:
            for field in ("secret_prefix", "secret_name"):
                self._check_name(field, getattr(self, field), self.names)
        return self

    def _check_name(self, field: str, name: str | None, allowed: re.Pattern[str]) -> None:
        if name is None or allowed.fullmatch(name):
            return
        bad = next(sign for sign in name if not allowed.fullmatch(sign))
        better = re.sub(r"-+", "-", re.sub(r"[^A-Za-z0-9-]", "-", name)).lstrip("-")
        raise wrong(
            f"has {bad!r}, but the names of {self.cloud} consist of {self.signs}: use a name such "
            "as "
            f"{better!r}",
            field,
        )

    @abstractmethod
    def _fetch(self, secret: str) -> str:
        """Return the text of a secret, by the name that the service knows."""

    def get(self, name: str) -> str:
        if self.secret_name is not None:
            return self._part(self._fetch(self.secret_name), name)
        return self._fetch(f"{self.secret_prefix or ''}{name}")

    def credentials(self, user: str | None = None) -> dict[str, str]:
        if self.secret_name is None:
            return super().credentials(user)
        # Read once, so that user and password are of the same version.
        text = self._fetch(self.secret_name)
        username = self._part(text, self.username_key) if user is None else user
        return {"username": username, "password": self._part(text, self.password_key)}

    def _part(self, text: str, name: str) -> str:
        """Return the value under a name in a secret that holds several."""
        try:
            found = json.loads(text)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            if name == self.password_key:
                return text
            self._missing(
                name, f"{self.secret_name!r} is not a JSON object, so it holds only the password"
            )
        part = found.get(name)
        if isinstance(part, bool) or not isinstance(part, (str, int)):
            self._missing(name, f"the JSON of {self.secret_name!r} has no text under that name")
        return str(part)

    def _missing(self, name: str, why: str) -> NoReturn:
        raise ConfigurationError(
            f"no secret {name!r} in source {self.source} ({self.cloud}): {why}"
        ) from None

    def _refused(self, name: str, error: Exception) -> NoReturn:
        raise ConnectError(
            f"source {self.source} ({self.cloud}) refuses access to the secret {name!r}: "
            f"{first_line(error)}",
            "auth_failed",
        ) from None

    def _unreachable(self, name: str, error: Exception) -> NoReturn:
        raise ConnectError(
            f"cannot read the secret {name!r} from source {self.source} ({self.cloud}): "
            f"{first_line(error)}"
        ) from None
