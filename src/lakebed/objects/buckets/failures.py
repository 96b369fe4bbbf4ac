"""Failures of a bucket: which of them are temporary, and the error for each."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from lakebed.errors import ConnectError, LakebedError, RateLimitedError, StorageError

_QUERY = re.compile(r"\?\S+")
_THROTTLED = frozenset({"SlowDown", "TooManyRequests", "ServerBusy", "RequestLimitExceeded"})
_TRANSIENT = frozenset(
    {
        "RequestTimeout", "InternalError", "OperationTimedOut", "BadDigest",
        "ConditionalRequestConflict", "OperationAborted",  # somebody writes the same object
    }
)  # fmt: skip
_TRANSIENT_STATUS = frozenset({408, 429, 500, 502, 503, 504})
_NO_BUCKET = frozenset({"NoSuchBucket", "ContainerNotFound", "ContainerBeingDeleted"})
_CREDENTIALS = {
    "ExpiredToken": "the session token has expired",
    "ExpiredTokenException": "the session token has expired",
    "TokenRefreshRequired": "the session token has expired",
    "InvalidToken": "the session token is not valid",
    "InvalidClientTokenId": "the access key is not known",
    "InvalidAccessKeyId": "the access key is not known",
    "SignatureDoesNotMatch": "the secret key is wrong",
    "AuthFailure": "the secret key is wrong",
    "AuthorizationFailure": "the account key or token is wrong or has expired",
    "AuthenticationFailed": "the account key or token is wrong or has expired",
    "InvalidAuthenticationInfo": "the account key or token is wrong or has expired",
    "NoCredentials": "no credentials were found",
    "RequestTimeTooSkewed": "this machine's clock is too far from the service's: set it right",
}
_WRONG_REGION = frozenset(
    {
        "PermanentRedirect",
        "Redirect",
        "301",
        "AuthorizationHeaderMalformed",
        "IllegalLocationConstraintException",
    }
)
_KEY_REFUSED = re.compile(r"kms|encryption ?scope|cryptoKey|encryption", re.IGNORECASE)


class Failure(NamedTuple):
    """A refusal, or a missing answer.

    `status`: the HTTP status, or 0. `code`: the service's own code. `answered`: whether the service
    was reached. `region`: the bucket's, if known. `retry_after`: the seconds that the service asks
    to wait, or None.
    """

    message: str
    code: str = ""
    status: int = 0
    answered: bool = True
    region: str = ""
    retry_after: float | None = None

    @property
    def throttled(self) -> bool:
        """Whether the service asks to slow down."""
        return self.code in _THROTTLED or self.status in (429, 503)

    @property
    def refused(self) -> bool:
        """Whether the service refuses the credentials."""
        return self.code in _CREDENTIALS or self.status == 401

    @property
    def transient(self) -> bool:
        """Whether the same request may succeed a little later."""
        return (
            not self.answered
            or self.throttled
            or self.code in _TRANSIENT
            or self.status in _TRANSIENT_STATUS
        )

    @property
    def told(self) -> str:
        """The message on one line. Queries of URLs are removed, as they may hold signatures."""
        return _QUERY.sub("?…", " ".join(self.message.split()))

    @property
    def gone(self) -> bool:
        """Whether the answer says that the object does not exist."""
        return self.status == 404 and self.code not in _NO_BUCKET

    @property
    def present(self) -> bool:
        """Whether a conditional write was refused, for example because the object exists."""
        return self.status == 412 or self.code == "BlobAlreadyExists"

    def error(self, action: str, bucket: str, seconds: float) -> LakebedError:
        """Return the error for this failure.

        `action`: what was attempted (`write s3://…`). `seconds`: how long a transient failure was
        retried, or 0 if it was tried once.
        """
        tried = f", tried for {seconds:.0f} s" if seconds else ""
        told = self.told
        if not self.answered:
            return ConnectError(
                f"cannot {action}: the service does not answer{tried}: {told}",
                "connection_timeout" if "imeout" in told or "timed out" in told
                else "connection_error",
            )  # fmt: skip
        if self.throttled:
            return RateLimitedError(
                f"cannot {action}: the service asks to slow down{tried}: {told}", self.retry_after
            )
        if self.refused:
            reason = _CREDENTIALS.get(self.code, "the credentials are refused")
            return ConnectError(f"cannot {action}: {reason}", "auth_failed")
        reasons = (f"cannot {action}", self._reason(bucket), told)
        return StorageError(": ".join(reason for reason in reasons if reason))

    def _reason(self, bucket: str) -> str:
        if self.code in _NO_BUCKET or self.status == 404:
            return f"there is no bucket {bucket!r}"
        if self.code in _WRONG_REGION or self.status == 301:
            where = f"the region {self.region}" if self.region else "another region"
            name = f"region: {self.region}" if self.region else "region"
            return f"the bucket {bucket!r} is in {where}: set `{name}`"
        if self.code in ("InvalidObjectState", "BlobArchived"):
            return "it is archived and must be restored before it is read"
        if _KEY_REFUSED.search(f"{self.code} {self.message}".replace(bucket, "")):
            return "the service refuses the requested encryption"
        if self.status == 403 or self.code in ("AccessDenied", "AllAccessDisabled"):
            return f"these credentials have no right to it in the bucket {bucket!r}"
        return ""


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds in the header Retry-After, or None. A date is not read, because no bucket
    sends one."""
    value = headers.get("retry-after", "")
    return float(value) if value.isdecimal() else None
