"""Reads the options of a log store from its address, such as `dynamodb://table/prefix`."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl, unquote, urlsplit

from lakebed.errors import ConfigurationError

BUCKET = "bucket://"
LOCK_TTL = 60.0
"""Seconds after which a dead client loses the lock of a log."""


def in_url(given: Mapping[str, object], *names: str) -> dict[str, object]:
    """Return the options, including those in the address, such as
    `dynamodb://table/prefix?region=…`.

    `names`: the options that the host and the parts of the path stand for, in this order.
    """
    rest = {name: value for name, value in given.items() if name != "url"}
    url = given.get("url")
    if url is None:
        return rest
    expected = "/".join(names)
    if not isinstance(url, str) or "://" not in url:
        raise ConfigurationError(f"catalog.url: expected a URL, <type>://{expected}")
    parts = urlsplit(url)
    # `hostname` would turn it into lower case.
    values = [parts.netloc, *parts.path.strip("/").split("/", len(names) - 2)]
    named = {name: unquote(value) for name, value in zip(names, values, strict=False) if value}
    options = dict(parse_qsl(parts.query))
    for name in named.keys() | options.keys():
        if (name in named) + (name in options) + (rest.get(name) is not None) > 1:
            raise ConfigurationError(f"catalog.{name} is given twice: in the URL and beside it")
    return rest | named | options


def inner_uri(url: str) -> str | None:
    """Return the place that a URL names after `bucket://`, or None for the lake's own storage.

    `bucket://name/prefix` is on S3, and `bucket:///path` is a folder.
    """
    rest = url.removeprefix(BUCKET)
    if not rest or "://" in rest or rest[0] in "/.~":
        return rest or None
    return f"s3://{rest}"
