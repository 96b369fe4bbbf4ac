"""Secrets in Google Secret Manager."""

from __future__ import annotations

import re
from functools import cached_property
from typing import Any, ClassVar, Literal

from pydantic import Field

from lakebed.config.clouds import GOOGLE, WAIT
from lakebed.config.fields import Text
from lakebed.config.secrets.base import CloudSecrets
from lakebed.errors import ConfigurationError

_NAME = re.compile(r"[A-Za-z0-9_-]{1,255}")


class GcpSecrets(CloudSecrets):
    """Google Secret Manager: the newest version of each secret."""

    cloud: ClassVar[str] = "Google Secret Manager"
    names: ClassVar[re.Pattern[str] | None] = _NAME
    signs: ClassVar[str] = "up to 255 letters, digits, '-' and '_'"

    source: Literal["gcp"]
    project_id: Text | None = Field(
        None, description="The project of the secrets. Default: the project of the credentials."
    )

    @cached_property
    def _client(self) -> tuple[Any, str]:
        """The client of the service, and the project."""
        auth = GOOGLE.client("google.auth")
        manager = GOOGLE.client("google.cloud.secretmanager_v1")
        credentials, project = auth.default(
            scopes=["https://www.googleapis.com/auth/cloud-platform"]
        )
        project = self.project_id or project
        if not project:
            raise ConfigurationError(
                "source gcp: project_id is missing, and the credentials do not name it"
            )
        # Use HTTP, because gRPC's threads do not survive a fork.
        return manager.SecretManagerServiceClient(
            credentials=credentials, transport="rest"
        ), project

    def _fetch(self, secret: str) -> str:
        if not _NAME.fullmatch(secret):
            self._missing(secret, f"a name has {self.signs}")
        answers = GOOGLE.client("google.api_core.exceptions")
        auth = GOOGLE.client("google.auth.exceptions")
        try:
            client, project = self._client
            path = client.secret_version_path(project, secret, "latest")
            data: bytes = client.access_secret_version(name=path, timeout=WAIT).payload.data
        except answers.NotFound:
            self._missing(secret, "no such secret, or it has no version")
        except (answers.Forbidden, answers.Unauthorized, auth.DefaultCredentialsError) as error:
            self._refused(secret, error)
        except (answers.GoogleAPIError, auth.GoogleAuthError) as error:
            self._unreachable(secret, error)
        try:
            return data.decode()
        except UnicodeDecodeError:
            self._missing(secret, "its bytes are not valid UTF-8")
