"""Templates in the values of steps: Jinja2's sandbox, over plain data."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from lakebed.errors import DependencyMissingError, ValidationError

if TYPE_CHECKING:
    from jinja2.sandbox import SandboxedEnvironment

Path = tuple[str | int, ...]
_LONGEST = 1_000_000  # the most characters or items in the result of an operator
_HIGHEST_POWER = 64
_PLAIN = (str, bool, int, float, bytes, date, datetime, type(None))
_UNSAFE_OF_TEXT = frozenset(
    {"center", "expandtabs", "format", "format_map", "ljust", "rjust", "zfill"}
)
"""Methods that make a long text from a short one, or look into objects."""
_REMOVED_FILTERS = ("center", "format", "indent", "pprint", "xmlattr")
_SECRET = re.compile(
    r"PASSWORD|PASSWD|PASSPHRASE|SECRET|CREDENTIAL|PRIVATE"
    r"|(?:^|_)(?:PASS|PWD|KEYS?|APIKEY|TOKENS?|AUTH|DSN|COOKIE|CONNECTION_STRING)(?:_|$)",
    re.IGNORECASE,
)
_MISTAKES = (
    ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError,
)  # fmt: skip
"""Errors that an expression may raise because of its data."""
_PWD = {"PWD", "OLDPWD"}
_LOGIN = re.compile(r"://[^/?#\s]*:[^/?#\s]*@")


class Env:
    """The environment variables that templates may see, as `env.NAME`.

    A variable whose name or value looks like a secret is refused, unless `allowed` names it. `used`
    collects the values of allowed variables, so that errors can mask them.
    """

    def __init__(self, allowed: Collection[str]) -> None:
        self._allowed = frozenset(allowed)
        self.used: set[str] = set()

    def __getitem__(self, name: str) -> str:
        value = os.environ[name]
        if name in self._allowed:
            self.used.add(value)
        elif (_SECRET.search(name) and name not in _PWD) or _LOGIN.search(value):
            raise _refused(f"env.{name} may be a secret: name it in the document's list env")
        return value

    def __str__(self) -> str:
        raise _refused("env cannot be shown: write env.NAME")

    __repr__ = __str__


def _refused(message: str) -> Exception:
    from jinja2.exceptions import SecurityError

    return SecurityError(message)


def plain(value: object, where: str) -> Any:
    """Return a copy of plain data: JSON's types, bytes and dates. A tuple becomes a list.

    Raises ValidationError for anything else, because templates could call its methods.
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item, where) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item, where) for item in value]
    if type(value) in _PLAIN:
        return value
    if isinstance(value, str):  # Jinja2's Markup, such as tojson gives
        return str.__str__(value)
    raise ValidationError(f"{where} holds a value of type {type(value).__name__}: expected JSON")


class Templates:
    """Renders the values of steps.

    A text that is one whole `{{ expression }}` becomes the value of the expression, with its type.
    Other texts stay text. Inserted values are never rendered as templates.
    """

    def __init__(self) -> None:
        self._environment = _sandbox()

    def names(self, value: object) -> set[str]:
        """Return the names that the templates in a value use. Raises ValidationError for a
        malformed template."""
        from jinja2 import meta

        found: set[str] = set()
        for text in _texts(value):
            with _explained():
                found |= meta.find_undeclared_variables(self._environment.parse(text))
        return found

    def render(self, value: object, names: Mapping[str, object]) -> Any:
        """Return the value with its templates replaced.

        Raises ValidationError if a template fails or does not give plain data.
        """
        if isinstance(value, Mapping):
            return {key: self.render(item, names) for key, item in value.items()}
        if isinstance(value, list):
            return [self.render(item, names) for item in value]
        return self._text(value, names) if isinstance(value, str) else value

    def _text(self, text: str, names: Mapping[str, object]) -> Any:
        if "{" not in text:
            return text
        with _explained():
            whole = self._whole(text)
            if whole is None:
                return self._environment.from_string(text).render(names)
            result = self._environment.compile_expression(whole, undefined_to_none=False)(**names)
            from jinja2 import Undefined

            if isinstance(result, Undefined):
                str(result)  # raises an error that names what is missing
            return plain(result, "template: an expression")

    def _whole(self, text: str) -> str | None:
        """Return the expression if the text is nothing else, or None."""
        from jinja2 import nodes

        body = self._environment.parse(text).body
        if len(body) != 1 or not isinstance(body[0], nodes.Output) or len(body[0].nodes) != 1:
            return None
        if isinstance(body[0].nodes[0], nodes.TemplateData):
            return None
        inner = text.strip()
        if not (inner.startswith("{{") and inner.endswith("}}")):
            return None
        return inner[2:-2].strip("-+ \n\t") if inner[2:3] in "-+" else inner[2:-2].rstrip("-")


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, str) and "{" in value:
        yield value


@contextmanager
def _explained() -> Iterator[None]:
    """Open a block that turns the errors of templates into ValidationError."""
    from jinja2.exceptions import TemplateError

    try:
        yield
    except TemplateError as error:
        raise ValidationError(f"template: {error.message or type(error).__name__}") from None
    except _MISTAKES as error:
        if isinstance(error, ValidationError):
            raise
        raise ValidationError(f"template: {type(error).__name__}: {error}") from None


def _sandbox() -> SandboxedEnvironment:
    try:
        from jinja2 import StrictUndefined
        from jinja2.exceptions import SecurityError
        from jinja2.sandbox import ImmutableSandboxedEnvironment
    except ImportError as error:
        raise DependencyMissingError(
            "templates need the package jinja2: pip install 'lakebed[engine]'"
        ) from error

    class Missing(StrictUndefined):
        """A name that does not exist."""

        @property
        def _undefined_message(self) -> str:
            if isinstance(self._undefined_obj, Env):
                return f"the environment variable {self._undefined_name} is not set"
            return super()._undefined_message

    class Sandbox(ImmutableSandboxedEnvironment):
        """Jinja2's sandbox, without the operations that make a long text from a short template."""

        intercepted_binops = frozenset({"*", "**", "%", "+"})

        def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
            if isinstance(obj, (str, bytes)) and attr in _UNSAFE_OF_TEXT:
                return False
            return super().is_safe_attribute(obj, attr, value)

        def wrap_str_format(self, value: Any) -> None:
            """Do not wrap str.format, because `is_safe_attribute` refuses it: with a width it could
            make a text of any length."""
            del value

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            _check_size(operator, left, right, SecurityError)
            return super().call_binop(context, operator, left, right)

    environment = Sandbox(undefined=Missing, autoescape=False)
    for name in ("cycler", "joiner", "lipsum", "namespace"):
        del environment.globals[name]
    for name in _REMOVED_FILTERS:
        del environment.filters[name]
    return environment


def _check_size(operator: str, left: Any, right: Any, refused: type[Exception]) -> None:
    """Refuse an operation whose result could be far larger than its operands."""
    if operator == "**" and not (isinstance(right, (int, float)) and abs(right) <= _HIGHEST_POWER):
        raise refused(f"an exponent may be at most {_HIGHEST_POWER}")
    if operator == "%" and isinstance(left, (str, bytes)):
        raise refused("% does not format text here: write {{ }} in the text")
    sizes = [len(side) for side in (left, right) if isinstance(side, (str, bytes, list, tuple))]
    if operator == "*" and sizes:
        times = right if isinstance(right, int) else left
        sizes = [sizes[0] * times] if isinstance(times, int) else sizes
    if sum(sizes) > _LONGEST:
        raise refused(f"a value may have at most {_LONGEST:,} characters or items")
