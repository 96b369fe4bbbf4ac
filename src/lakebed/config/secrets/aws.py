"""Secrets in AWS Secrets Manager."""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar, Literal

from pydantic import Field

from lakebed.config.clouds import AWS, WAIT
from lakebed.config.fields import Text
from lakebed.config.secrets.base import CloudSecrets
from lakebed.errors import ConfigurationError

_REFUSALS = {
    "AccessDenied",
    "AccessDeniedException",
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "UnrecognizedClientException",
}


class AwsSecrets(CloudSecrets):
    """AWS Secrets Manager: the current version of each secret."""

    cloud: ClassVar[str] = "AWS Secrets Manager"

    source: Literal["aws"]
    region: Text | None = Field(
        None,
        description="The region. Default: as in the AWS configuration (`AWS_REGION`, the profile).",
    )

    @cached_property
    def _client(self) -> Any:
        boto3 = AWS.client("boto3")
        config = AWS.client("botocore.config").Config(
            connect_timeout=WAIT, read_timeout=WAIT, retries={"mode": "standard"}
        )
        return boto3.session.Session(region_name=self.region).client(
            "secretsmanager", config=config
        )

    def _fetch(self, secret: str) -> str:
        boto = AWS.client("botocore.exceptions")
        try:
            found = self._client.get_secret_value(SecretId=secret)
        except boto.NoRegionError:
            raise ConfigurationError(
                "source aws: region is missing, and the AWS configuration does not name it"
            ) from None
        except boto.ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            if code == "ResourceNotFoundException":
                self._missing(secret, "no such secret, or it has no current version")
            if code in _REFUSALS:
                self._refused(secret, error)
            self._unreachable(secret, error)
        except boto.NoCredentialsError as error:
            self._refused(secret, error)
        except boto.BotoCoreError as error:
            self._unreachable(secret, error)
        text = found.get("SecretString")
        if not isinstance(text, str):
            self._missing(secret, "it holds bytes, not text")
        return text
