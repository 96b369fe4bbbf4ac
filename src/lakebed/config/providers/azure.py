"""Azure Database for PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

from lakebed.config.clouds import AZURE, first_line
from lakebed.config.providers.base import Provider, Target, Token
from lakebed.errors import ConnectError

# https://learn.microsoft.com/azure/postgresql/flexible-server/how-to-configure-sign-in-azure-ad-authentication
_SCOPE = "https://ossrdbms-aad.database.windows.net/.default"


class Azure(Provider):
    """Flexible Server, and the older single server."""

    name: ClassVar[str] = "azure"
    options: ClassVar[frozenset[str]] = frozenset({"user_at_host"})
    variables: ClassVar[Mapping[str, str]] = {"host": "AZURE_POSTGRESQL_HOST"}
    enforces_tls: ClassVar[bool] = True
    login: ClassVar[str | None] = "Entra ID token"

    def user(self, user: str, host: str, *, at_host: bool) -> str:
        server = f"@{host.partition('.')[0]}"
        return user if not at_host or user.endswith(server) else user + server

    def tokens(self, _target: Target) -> Callable[[], Token]:
        refused = AZURE.client("azure.core.exceptions").AzureError
        credential = AZURE.client("azure.identity").DefaultAzureCredential()

        def token() -> Token:
            try:
                found = credential.get_token(_SCOPE)  # the client caches it until it nearly expires
            except refused as error:
                raise ConnectError(
                    f"cannot get a token for Postgres from Azure: {first_line(error)}",
                    "auth_failed",
                ) from None
            return Token(found.token, float(found.expires_on))

        return token
