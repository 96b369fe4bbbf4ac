"""RDS and Aurora PostgreSQL on AWS, directly or behind RDS Proxy."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from typing import ClassVar

from lakebed.config.clouds import AWS, first_line
from lakebed.config.providers.base import Provider, Target, Token
from lakebed.errors import ConfigurationError, ConnectError

# https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.IAMDBAuth.html
_LIFETIME = 900.0  # seconds
_REGION = re.compile(r"\.([a-z0-9-]+)\.rds\.amazonaws\.com(\.cn)?$")


class Aws(Provider):
    """RDS, Aurora and RDS Proxy."""

    name: ClassVar[str] = "aws"
    options: ClassVar[frozenset[str]] = frozenset({"region"})
    variables: ClassVar[Mapping[str, str]] = {
        "host": "RDS_HOSTNAME",
        "port": "RDS_PORT",
        "database": "RDS_DB_NAME",
    }
    login: ClassVar[str | None] = "IAM token"

    def tokens(self, target: Target) -> Callable[[], Token]:
        boto3 = AWS.client("boto3")
        boto = AWS.client("botocore.exceptions")
        named = _REGION.search(target.host)
        region = target.region or (named[1] if named else None)
        session = boto3.session.Session(region_name=region)
        if session.region_name is None:
            raise ConfigurationError(
                "catalog.region is missing: neither the host nor the AWS configuration names it"
            )
        client = session.client("rds")

        def token() -> Token:
            # The token is signed locally, without a request. The client renews its credentials
            # itself.
            begin = time.time()
            try:
                value = client.generate_db_auth_token(
                    DBHostname=target.host, Port=target.port, DBUsername=target.user
                )
            except (boto.BotoCoreError, boto.ClientError) as error:
                raise ConnectError(
                    f"cannot get a token for RDS from AWS: {first_line(error)}", "auth_failed"
                ) from None
            return Token(value, begin + _LIFETIME)

        return token
