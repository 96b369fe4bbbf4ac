"""Replaces `${VAR}`, `${VAR:-default}`, `{{ env.name }}` and `{{ secrets.name }}` in strings."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from lakebed.config.problems import Path, dotted
from lakebed.errors import ConfigurationError, LakebedError

if TYPE_CHECKING:
    from lakebed.config.secrets.sources import SecretsBackend

Fail = Callable[[Path, str], Exception]
"""Makes the error of one setting."""

_REFERENCE = re.compile(
    r"\$\$\{"  # a literal ${
    r"|\$\{(?P<variable>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^{}]*))?\}"
    r"|\{\{\s*(?P<kind>env|secrets)\.(?P<name>[A-Za-z0-9_./-]+)\s*\}\}"
    r"|(?P<wrong>\$\{|\{\{)"
)


class Interpolation:
    """Replaces references in data. References inside an inserted text are not replaced.

    `secrets`: looks up `{{ secrets.name }}`. If None, such references stay as they are.
    `used`: collects the inserted secrets, so that they can be masked wherever the data is shown.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        secrets: Callable[[], SecretsBackend] | None,
        fail: Fail,
    ) -> None:
        self.used: set[str] = set()
        self._environment = environment
        self._secrets = secrets
        self._fail = fail

    def expand(self, value: object, path: Path = ()) -> object:
        """Return a copy of the data with all references in its strings replaced."""
        if isinstance(value, str):
            return self._text(value, path) if "{" in value else value
        if isinstance(value, os.PathLike):
            return self._text(os.fspath(value), path)
        if isinstance(value, Mapping):
            return {key: self.expand(item, (*path, str(key))) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.expand(item, (*path, index)) for index, item in enumerate(value)]
        return value

    def _text(self, text: str, path: Path) -> str:
        def replace(found: re.Match[str]) -> str:
            if found[0] == "$${":
                return "${"
            if found["wrong"]:
                raise self._fail(path, _WRONG[found["wrong"]])
            if found["kind"] == "secrets":
                return found[0] if self._secrets is None else self._secret(found["name"], path)
            return self._variable(found["variable"] or found["name"], found["default"], path)

        return _REFERENCE.sub(replace, text)

    def _variable(self, name: str, default: str | None, path: Path) -> str:
        value = self._environment.get(name)
        if default is not None:
            return value or default  # as in a shell, :- also covers an empty variable
        if value is None:
            raise self._fail(path, f"the environment variable {name} is not set")
        return value

    def _secret(self, name: str, path: Path) -> str:
        assert self._secrets is not None
        try:
            value = self._secrets().get(name)
        except LakebedError as error:
            raise self._fail(path, str(error)) from None
        if value:
            self.used.add(value)
        return value


_WRONG = {
    "${": "'${' must be followed by NAME} or NAME:-default}; write $${ for a literal '${'",
    "{{": "'{{' must be followed by env.NAME }} or secrets.NAME }}",
}


def expand_env_vars(value: Any) -> Any:
    """Replace `${VAR}`, `${VAR:-default}` and `{{ env.VAR }}` in a string, or in all strings of a
    mapping or list.

    The default also replaces an empty variable. `$${` gives a literal `${`. `{{ secrets.name }}`
    stays as it is, because only a whole configuration says where secrets come from.

    Raises ConfigurationError, naming the variable, if it is not set, and if a reference is
    malformed.
    """

    def fail(path: Path, message: str) -> Exception:
        return ConfigurationError(f"{dotted(path)}: {message}" if path else message)

    return Interpolation(os.environ, None, fail).expand(value)
