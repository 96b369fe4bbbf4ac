"""Runs the steps of a document, one after another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from lakebed.config.masking import without
from lakebed.engine.functions import FAILED
from lakebed.engine.steps import Step, as_expression
from lakebed.engine.templates import Env, Templates, plain
from lakebed.errors import LakebedError, ValidationError
from lakebed.reporting import Result, failure


class Run:
    """One run of the steps. `functions`: by the `uses` of the steps. `secrets`: returns the texts
    that no error may show."""

    def __init__(
        self,
        functions: Mapping[str, Callable[..., Any]],
        env: Env,
        secrets: Callable[[], frozenset[str]],
    ) -> None:
        self._functions = functions
        self._env = env
        self._secrets = secrets
        self._templates = Templates()
        self._log: list[dict[str, object]] = []

    def run(self, steps: tuple[Step, ...], given: Any) -> Result:
        """Run the steps. Return `{success, steps}` and the result of each step that has an `as`. If
        a failed step stopped the run, the result also has `error`, `error_type` and `step`, the
        number of that step, counted from 0."""
        names: dict[str, Any] = {"input": given, "env": self._env}
        result: Result = {"success": True}
        for number, step in enumerate(steps):
            outcome = self._step(step, names)
            if step.as_ is not None:
                names[step.as_] = result[step.as_] = outcome
            failed = self._log[-1]
            if failed["status"] == "failed" and step.on_error == "stop":
                why = {name: failed[name] for name in ("error", "error_type")}
                result = {**result, "success": False, **why, "step": number}
                break
        return {**result, "steps": self._log}

    def _step(self, step: Step, names: Mapping[str, Any]) -> Any:
        """Run one step. Return its result, or None if it was skipped."""
        told: dict[str, object] = {"uses": step.uses, "as": step.as_, "status": "skipped"}
        self._log.append({name: value for name, value in told.items() if value is not None})
        try:
            rounds = list(self._rounds(step, names))
        except LakebedError as error:
            return self._note(self._told(error))
        results = []
        for more in rounds:
            outcome = self._call(step, {**names, **more})
            if outcome is not _SKIPPED:
                self._note(outcome)
                results.append(outcome)
            if self._log[-1]["status"] == "failed" and step.on_error == "stop":
                break
        if step.for_each is not None:
            return results
        return results[0] if results else None

    def _rounds(self, step: Step, names: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        if step.for_each is None:
            yield {}
            return
        items = self._templates.render(step.for_each, names)
        if not isinstance(items, list):
            raise ValidationError(f"for_each must be a list, got {type(items).__name__}")
        yield from ({"item": item, "index": index} for index, item in enumerate(items))

    def _call(self, step: Step, names: Mapping[str, Any]) -> Any:
        try:
            condition = step.if_
            if isinstance(condition, str):
                condition = self._templates.render(as_expression(condition), names)
            if step.if_ is not None and not condition:
                return _SKIPPED
            arguments = self._templates.render(step.with_, names)
        except LakebedError as error:
            return self._told(error)
        try:
            outcome = plain(self._functions[step.uses](**arguments), f"the result of {step.uses}")
        except LakebedError as error:
            return self._told(error)
        return self._hide(outcome) if _has_failed(outcome) else outcome

    def _note(self, outcome: Any) -> Any:
        """Log how a call ended. A step has failed if one of its rounds has."""
        entry = self._log[-1]
        if _has_failed(outcome):
            entry |= {
                "status": "failed",
                "error": outcome.get("error", "the function returned success: false"),
                "error_type": outcome.get("error_type", FAILED),
            }
        elif entry["status"] != "failed":
            entry["status"] = "done"
        return outcome

    def _told(self, error: LakebedError) -> Result:
        return self._hide(failure(error))

    def _hide(self, result: Result) -> Result:
        hidden = without(result, self._secrets())
        assert isinstance(hidden, dict)
        return hidden


_SKIPPED = object()


def _has_failed(outcome: object) -> bool:
    return isinstance(outcome, dict) and outcome.get("success") is False
