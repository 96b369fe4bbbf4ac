"""Turns the errors of services that keep logs into errors of `lakebed.errors`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lakebed.catalog.statements.hiding import Hiding, Mask
from lakebed.errors import ConnectError, LakebedError, RateLimitedError

PAUSE = 1.0
"""The seconds before another try if a service asks to slow down without naming a time."""

Explain = Callable[[Exception], LakebedError]


class Failures:
    """Turns the errors of one driver into errors of `lakebed.errors`.

    `kinds`: the driver's classes of errors. `mask`: hides secrets in messages.
    """

    def __init__(self, kinds: tuple[type[Exception], ...], explain: Explain, mask: Mask) -> None:
        self._kinds = kinds
        self._explain = explain
        self._hiding = Hiding(mask, "")

    @contextmanager
    def ours(self) -> Iterator[None]:
        """Open a block that turns the driver's errors into errors of `lakebed.errors`."""
        try:
            yield
        except self._kinds as error:
            raise self._hiding.explained(error, self._explain) from error


def unreachable(service: str, told: object, *, timeout: bool) -> ConnectError:
    """Return the error for a service that did not answer in time."""
    if timeout:
        return ConnectError(f"{service} did not answer in time: {told}", "connection_timeout")
    return ConnectError(f"{service} cannot be reached: {told}")


def refused(service: str, told: object) -> ConnectError:
    """Return the error for credentials that are refused or lack a right."""
    return ConnectError(f"{service} refuses access: {told}", "auth_failed")


def throttled(service: str, told: object, after: object = None) -> RateLimitedError:
    """Return the error for a service that asks to slow down. `after`: the seconds that it named."""
    try:
        seconds = max(0.0, float(str(after)))
    except ValueError:  # missing, or a date, which HTTP also allows
        seconds = PAUSE
    return RateLimitedError(f"{service} asks to slow down: {told}", seconds)
