"""What may be shown of a server whose address is a secret, or has one in it."""

from __future__ import annotations

import re
from collections.abc import Callable

from lakebed.errors import LakebedError

Mask = Callable[[str], str]
"""Makes of a text what may be shown of it; `str` where nothing is hidden."""

_ADDRESS = re.compile(r'(?<=server at )"[^"]*"(?: \([^)]*\))?')


class Hiding:
    """Masks the texts of one server's errors. `host`: as it is connected to."""

    def __init__(self, mask: Mask, host: str) -> None:
        self._mask = mask
        self._host_is_hidden = mask(host) != host

    def text(self, text: str) -> str:
        """The text as it may be shown."""
        if self._host_is_hidden:  # libpq names the address that it resolved to
            text = _ADDRESS.sub('"***"', text)
        return self._mask(text)

    def error(self, error: Exception) -> None:
        """Mask the texts in an error, which stays what it is: others ask for its kind."""
        error.args = tuple(self.text(arg) if isinstance(arg, str) else arg for arg in error.args)
        if isinstance(error, LakebedError):
            error.message = self.text(error.message)

    def explained(
        self, error: Exception, explain: Callable[[Exception], LakebedError]
    ) -> LakebedError:
        """The error of ours for one of the driver's, both masked."""
        self.error(error)
        failure = explain(error)
        self.error(failure)
        return failure
