"""Logins that may change while the pool is open."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable

from lakebed.config.providers.base import Provider, Target, Token
from lakebed.config.secrets.base import Secrets
from lakebed.errors import ConfigurationError


class Login(ABC):
    """Gives the `user` and `password` for a new connection. Each connection asks again."""

    kind: str
    expires_at: float | None = None

    def __init__(self) -> None:
        self._lock = threading.Lock()  # several threads of the pool connect at once

    def __call__(self) -> dict[str, str]:
        with self._lock:
            found = self._ask()
        for name, value in found.items():
            check_text(value, name)
        return found

    @abstractmethod
    def _ask(self) -> dict[str, str]: ...

    def __repr__(self) -> str:
        return f"<login by {self.kind}>"


class SecretLogin(Login):
    """A password, and usually a user, from a source of secrets."""

    def __init__(self, secrets: Secrets, user: str | None, spell: Callable[[str], str]) -> None:
        super().__init__()
        self.kind = f"password from source {secrets.source}"
        self._secrets = secrets
        self._user = user
        self._spell = spell

    def _ask(self) -> dict[str, str]:
        found = self._secrets.credentials(self._user)
        return {"user": self._spell(found["username"]), "password": found["password"]}


class TokenLogin(Login):
    """A provider's token instead of a password."""

    def __init__(self, provider: Provider, target: Target) -> None:
        super().__init__()
        self.kind = str(provider.login)
        self._provider = provider
        self._target = target
        self._token: Callable[[], Token] | None = None

    def _ask(self) -> dict[str, str]:
        self._token = self._token or self._provider.tokens(self._target)
        value, self.expires_at = self._token()
        return {"user": self._target.user, "password": value}


def check_text(value: str, name: str) -> None:
    """Raise ConfigurationError for a text that libpq cannot send to Postgres."""
    try:
        if b"\0" not in value.encode():
            return
    except UnicodeEncodeError:
        pass
    raise ConfigurationError(f"the {name} of the catalog contains NUL, or bytes that are not UTF-8")
