"""The steps of a document, and the checks of them before anything runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import Field, field_validator

from lakebed.config.fields import Model, Text, wrong
from lakebed.config.problems import Path, kind
from lakebed.config.reading.document import Document
from lakebed.config.reading.validation import validate_at
from lakebed.engine.functions import QUERY, check_uses
from lakebed.engine.templates import Templates
from lakebed.errors import ValidationError

RESERVED = frozenset(
    {"input", "env", "item", "index", "success", "error", "error_type", "step", "steps"}
)
"""Names that a step cannot give to its result."""
_TEMPLATES = ("with", "if", "for_each")


class Step(Model):
    """One call."""

    uses: Text = Field(
        description="The function: `ltm.store`, `metadata.query`, `blob.upload`, "
        "`session.create_session`, `lake.snapshot` …, or one of your own."
    )
    with_: dict[str, Any] = Field(
        default_factory=dict, alias="with", description="Its arguments; texts may be templates."
    )
    as_: Text | None = Field(
        None, alias="as", description="The name under which later steps see the result."
    )
    if_: str | bool | None = Field(
        None, alias="if", description="An expression. Unless it is true, the step is skipped."
    )
    for_each: str | list[Any] | None = Field(
        None,
        description="A list, or an expression that gives one. The step runs for each `item`, with "
        "`index` from 0, and its result is a list.",
    )
    on_error: Literal["stop", "continue"] = Field(
        "stop",
        description="What to do if the call fails. With `continue`, its result holds the error.",
    )
    name: Text | None = Field(None, description="A name for the people who read the file.")

    @field_validator("as_")
    @classmethod
    def _is_name(cls, name: str | None) -> str | None:
        if name is not None and (not name.isidentifier() or name.startswith("_")):
            raise wrong("expected a name of letters, digits and '_', such as found")
        if name in RESERVED:
            raise wrong(f"is reserved: {name!r} means something else")
        return name


def read_steps(document: Document, raw: object, at: Path = ("steps",)) -> tuple[Step, ...]:
    """Validate the steps at a path of a document.

    Raises ConfigurationError, with the path of the mistake, for a malformed setting, an unknown
    function, an unknown or missing argument, a template that cannot be parsed, and a name that no
    earlier step has in its `as`.
    """
    if not isinstance(raw, list):
        raise document.error(at, f"expected a list of steps, got {kind(raw)}")
    templates = Templates()
    steps, names = [], {"input", "env"}
    for number, one in enumerate(raw):
        path = (*at, number)
        if not isinstance(one, Mapping):
            raise document.error(path, f"expected a mapping with uses, got {kind(one)}")
        step = validate_at(document, Step, one, path)
        problem = check_uses(step.uses, step.with_)
        if problem is not None:
            raise document.error((*path, *problem[0].split(".")), problem[1])
        _check_templates(document, step, one, path, templates, names)
        steps.append(step)
        if step.as_ is not None:
            names.add(step.as_)
    return tuple(steps)


def _check_templates(
    document: Document,
    step: Step,
    raw: Mapping[str, object],
    at: Path,
    templates: Templates,
    names: Iterable[str],
) -> None:
    uses, argument = QUERY
    query = step.with_.get(argument)
    if step.uses == uses and isinstance(query, str) and ("{{" in query or "{%" in query):
        raise document.error(
            (*at, "with", argument),
            "must not contain a template: write $name, and give its value in params",
        )
    known = {*names, *(("item", "index") if step.for_each is not None else ())}
    for setting in _TEMPLATES:
        value = raw.get(setting)
        if setting == "if" and isinstance(value, str):
            value = as_expression(value)
        try:
            used = templates.names(value)
        except ValidationError as error:
            raise document.error((*at, setting), str(error)) from None
        for name in sorted(used - known):
            named = ", ".join(sorted(known))
            raise document.error(
                (*at, setting), f"template: unknown name {name!r}: expected one of {named}"
            )


def as_expression(condition: str) -> str:
    """Return a condition as a template. The condition may be written without braces."""
    return condition if "{{" in condition or "{%" in condition else f"{{{{ {condition} }}}}"
