"""What the services of log stores say when they refuse or do not answer, as errors of ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lakebed.catalog.statements.hiding import Hiding, Mask
from lakebed.errors import ConnectError, LakebedError, RateLimitedError

PAUSE = 1.0
"""Seconds to wait before another try where a service that asks to slow down names no time."""

Explain = Callable[[Exception], LakebedError]


class Failures:
    """Turns the errors of one driver into ours. `kinds`: the driver's; `mask`: of what is shown."""

    def __init__(self, kinds: tuple[type[Exception], ...], explain: Explain, mask: Mask) -> None:
        self._kinds = kinds
        self._explain = explain
        self._hiding = Hiding(mask, "")

    @contextmanager
    def ours(self) -> Iterator[None]:
        """A block whose errors of the driver leave it as ours."""
        try:
            yield
        except self._kinds as error:
            raise self._hiding.explained(error, self._explain) from error


def unreachable(service: str, told: object, *, timeout: bool) -> ConnectError:
    """The service did not answer, or not in time."""
    if timeout:
        return ConnectError(f"{service} did not answer in time: {told}", "connection_timeout")
    return ConnectError(f"{service} cannot be reached: {told}")


def refused(service: str, told: object) -> ConnectError:
    """The service does not take the credentials, or they lack a right."""
    return ConnectError(f"{service} refuses access: {told}", "auth_failed")


def throttled(service: str, told: object, after: object = None) -> RateLimitedError:
    """The service asks to slow down. `after`: the seconds that it named, as text or a number."""
    try:
        seconds = max(0.0, float(str(after)))
    except ValueError:  # none, or the date that HTTP allows too
        seconds = PAUSE
    return RateLimitedError(f"{service} asks to slow down: {told}", seconds)
