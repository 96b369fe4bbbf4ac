"""Shows settings without their passwords, tokens and keys."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pydantic import SecretStr

from lakebed.errors import LakebedError

MASK = "***"
ADDRESSES = ("connection_string", "url")
# Options of filesystems that are not secret; every other text is masked.
_PLAIN_OPTIONS = {
    "access",
    "account_host",
    "account_name",
    "addressing_style",
    "cache_regions",
    "consistency",
    "default_location",
    "encryption",
    "endpoint_url",
    "host",
    "profile",
    "project",
    "region",
    "region_name",
    "requester_pays",
    "signature_version",
    "username",
}
_USER_INFO = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)(?P<info>.*)@", re.DOTALL)
_QUERY = re.compile(r"(?<=[?&;])(?P<name>[^=&;]*)=[^&;]*")
_PLAIN_QUERY = {
    "application_name",
    "charset",
    "connect_timeout",
    "host",
    "options",
    "port",
    "sslmode",
    "target_session_attrs",
    "user",
}
_PAIR = re.compile(r"(?P<name>\w+)\s*=\s*(?P<value>'(?:[^'\\]|\\.)*'?|\S*)", re.DOTALL)
_PLAIN_PAIRS = _PLAIN_QUERY | {"dbname", "hostaddr"}


def mask_address(address: str) -> str:
    """Return a URL or a libpq connection string without its secrets.

    In a URL, the user stays and everything else before the last `@` is masked, whatever characters
    the password has. Parameters are masked too, except for well-known plain ones.
    """
    if "://" not in address:
        shown = [
            f"{pair['name']}={pair['value'] if pair['name'] in _PLAIN_PAIRS else MASK}"
            for pair in _PAIR.finditer(address)
        ]
        return " ".join(shown) or MASK

    def user_info(found: re.Match[str]) -> str:
        user, separator, _password = found["info"].partition(":")
        return f"{found['scheme']}{user}{separator}{MASK if separator else ''}@"

    def parameter(found: re.Match[str]) -> str:
        plain = found["name"] in _PLAIN_QUERY
        return found[0] if plain else f"{found['name']}={MASK}"

    return _QUERY.sub(parameter, _USER_INFO.sub(user_info, address, count=1))


def mask(value: object, name: str = "") -> object:
    """Return settings as plain data, with passwords, keys and tokens masked."""
    if isinstance(value, SecretStr):
        text = value.get_secret_value()
        return mask_address(text) if name in ADDRESSES else MASK
    if isinstance(value, Mapping):
        return {key: mask(item, str(key)) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [mask(item, name) for item in value]
    return mask_address(value) if isinstance(value, str) and "://" in value else value


def guard(value: object, name: str) -> object:
    """Return an option of a filesystem, with its texts turned into secrets unless it is known to be
    plain."""
    if isinstance(value, Mapping):
        return {key: guard(item, str(key)) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [guard(item, name) for item in value]
    return SecretStr(value) if isinstance(value, str) and name not in _PLAIN_OPTIONS else value


def reveal(value: object) -> object:
    """Return plain data with the secrets in it: for connecting, never for showing."""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, Mapping):
        return {key: reveal(item) for key, item in value.items()}
    return [reveal(item) for item in value] if isinstance(value, (list, tuple)) else value


def without(value: object, secrets: Iterable[str]) -> object:
    """Return plain data, with every occurrence of `secrets` in its texts masked."""
    longest_first = sorted(secrets, key=len, reverse=True)
    if isinstance(value, str):
        for secret in longest_first:
            value = value.replace(secret, MASK)
        return value
    if isinstance(value, dict):
        return {key: without(item, longest_first) for key, item in value.items()}
    return [without(item, longest_first) for item in value] if isinstance(value, list) else value


@contextmanager
def hiding(secrets: Iterable[str]) -> Iterator[None]:
    """Open a block that removes `secrets` from the text of every error that leaves it."""
    try:
        yield
    except LakebedError as error:
        shown = str(without(error.message, secrets))
        if shown != error.message:
            error.message, error.args = shown, (shown,)
            error.__cause__ = None  # the driver's own error has the same secrets
            error.__suppress_context__ = True
        raise


class Options(dict[str, Any]):
    """Keyword arguments that print without their secrets."""

    def __init__(self, settings: Mapping[str, object], secrets: Iterable[str] = ()) -> None:
        secrets = frozenset(secrets)
        super().__init__(
            {
                name: Options(value, secrets) if isinstance(value, Mapping) else reveal(value)
                for name, value in settings.items()
            }
        )
        self._shown = {
            name: without(mask(value, name), secrets) for name, value in settings.items()
        }

    def __repr__(self) -> str:
        return repr({name: self._shown.get(name, MASK) for name in self})
