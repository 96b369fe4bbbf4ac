"""Secrets in Azure Key Vault."""

from __future__ import annotations

import re
from functools import cached_property
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from lakebed.config.clouds import AZURE, WAIT
from lakebed.config.fields import Text, wrong
from lakebed.config.secrets.base import CloudSecrets

_NAME = re.compile(r"[A-Za-z0-9-]{1,127}")


class AzureSecrets(CloudSecrets):
    """Azure Key Vault: the newest version of each secret."""

    cloud: ClassVar[str] = "Azure Key Vault"
    names: ClassVar[re.Pattern[str] | None] = _NAME
    signs: ClassVar[str] = "up to 127 letters, digits and '-'"

    source: Literal["azure"]
    vault_url: Text = Field(description="The vault, such as `https://NAME.vault.azure.net`.")

    @model_validator(mode="after")
    def _encrypted(self) -> AzureSecrets:
        if not self.vault_url.startswith("https://"):
            raise wrong("expected https://NAME.vault.azure.net", "vault_url")
        return self

    @cached_property
    def _client(self) -> Any:
        identity = AZURE.client("azure.identity")
        vault = AZURE.client("azure.keyvault.secrets")
        return vault.SecretClient(
            vault_url=self.vault_url,
            credential=identity.DefaultAzureCredential(),
            connection_timeout=WAIT,
            read_timeout=WAIT,
        )

    def _fetch(self, secret: str) -> str:
        if not _NAME.fullmatch(secret):
            self._missing(secret, f"a name has {self.signs}")
        core = AZURE.client("azure.core.exceptions")
        try:
            value = self._client.get_secret(secret).value
        except core.ResourceNotFoundError:
            self._missing(secret, "no such secret in the vault")
        except core.ClientAuthenticationError as error:
            self._refused(secret, error)
        except core.HttpResponseError as error:
            if error.status_code in (401, 403):
                self._refused(secret, error)
            self._unreachable(secret, error)
        except core.AzureError as error:
            self._unreachable(secret, error)
        if not isinstance(value, str):
            self._missing(secret, "it has no value")
        return value
