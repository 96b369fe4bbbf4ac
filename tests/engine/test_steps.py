"""Steps: what they may say, what they give, and what happens when one fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lakebed.engine import YAMLEngine
from lakebed.errors import ConfigurationError, NotFoundError, ValidationError
from tests.engine.conftest import Write, refused, run

LOCAL = {
    "ltm": {"backend": "sqlite", "path": "memory.db"},
    "backends": {"metadata": {"type": "lake"}, "blob": {"type": "local", "root": "files"}},
}


def test_a_file_runs(write: Write) -> None:
    path = write(
        """
        settings:
          ltm: {backend: sqlite, path: memory.db}
          backends:
            metadata: {type: lake}
            blob: {type: local, root: files}
        steps:
          - uses: ltm.store
            with:
              key: user/{{ input.name }}
              value: "{{ input.profile }}"
              metadata: {source: chat}
            as: stored
          - uses: ltm.retrieve
            with: {key: "user/{{ input.name }}"}
            as: found
          - uses: metadata.set_document
            with:
              collection: users
              doc_id: "{{ input.name }}"
              data: {likes: "{{ found.value.likes }}", known: "{{ stored.success }}"}
          - uses: metadata.query
            with: {collection: users, filters: [[likes, array-contains, tea]]}
            as: users
          - uses: blob.upload
            with: {path: "notes/{{ item }}.txt", content: "{{ index }}: {{ item }}"}
            for_each: "{{ found.value.likes }}"
            if: item != "jazz"
            as: files
          - uses: blob.download
            with: {path: "{{ files[0].path }}"}
            as: file
          - uses: lake.snapshot
            with: {name: before}
          - uses: ltm.delete
            with: {key: "user/{{ input.name }}"}
          - uses: lake.diff
            with: {a: before}
            as: diff
          - uses: lake.sql
            with:
              query: SELECT key FROM entries WHERE key = $key
              params: {key: "documents/users/{{ input.name }}"}
            as: rows
          - uses: session.create_session
            with: {title: "Plan", participants: ["{{ input.name }}"]}
            as: session
          - uses: session.add_chunk
            with: {session_id: "{{ session.id }}", content: "hello"}
          - uses: session.list_sessions
            as: sessions
        """
    )
    with YAMLEngine.from_file(path) as engine:
        result = engine.run({"name": "Ada", "profile": {"likes": ["tea", "jazz"]}})
        assert engine.metadata.get_document("users", "Ada")["data"] == {
            "likes": ["tea", "jazz"],
            "known": True,
        }
    assert isinstance(result, dict)
    assert result["success"], result
    assert result["found"]["value"] == {"likes": ["tea", "jazz"]}
    assert result["found"]["metadata"] == {"source": "chat"}
    assert result["users"]["count"] == 1
    assert [file["path"] for file in result["files"]] == ["notes/tea.txt"]
    assert result["file"]["content"] == b"0: tea"
    assert result["diff"]["removed"] == ["user/Ada"]
    assert result["rows"]["rows"] == [{"key": "documents/users/Ada"}]
    assert result["sessions"]["results"][0]["title"] == "Plan"
    assert {step["status"] for step in result["steps"]} == {"done"}


def test_a_whole_expression_keeps_its_type() -> None:
    seen: list[Any] = []
    given = {"n": 3, "f": 1.5, "yes": True, "list": [1, {"a": None}], "text": "7", "bytes": b"\xff"}
    engine = YAMLEngine(
        steps=[
            {
                "uses": "see",
                "with": {
                    **{name: f"{{{{ input.{name} }}}}" for name in given},
                    "sum": "{{ input.n + 1 }}",
                    "spaced": "  {{- input.n -}}  ",
                    "braces": "{{ '}}' ~ '{{' }}",
                    "two": "{{ input.n }}{{ input.n }}",
                    "mixed": "n={{ input.n }}",
                    "nested": [{"deep": "{{ input.list }}"}],
                    "plain": "no template { here }",
                    "number": 5,
                },
            }
        ]
    )
    engine.register("see", lambda **given: seen.append(given))
    assert engine.run(given)["success"]
    assert seen == [
        {
            **given,
            "sum": 4,
            "spaced": 3,
            "braces": "}}{{",
            "two": "33",
            "mixed": "n=3",
            "nested": [{"deep": given["list"]}],
            "plain": "no template { here }",
            "number": 5,
        }
    ]


def test_inserted_values_are_no_templates() -> None:
    hostile = "{{ env.HOME }}{% for a in [1] %}"
    result = run(
        [
            {"uses": "ltm.store", "with": {"key": "k", "value": "{{ input.text }}"}},
            {"uses": "ltm.store", "with": {"key": "m", "value": "said: {{ input.text }}"}},
            {"uses": "ltm.retrieve", "with": {"key": "k"}, "as": "whole"},
            {"uses": "ltm.retrieve", "with": {"key": "m"}, "as": "mixed"},
            {"uses": "ltm.store", "with": {"key": "n", "value": "{{ whole.value }}"}},
            {"uses": "ltm.retrieve", "with": {"key": "n"}, "as": "again"},
        ],
        {"text": hostile},
    )
    assert result["whole"]["value"] == result["again"]["value"] == hostile
    assert result["mixed"]["value"] == f"said: {hostile}"


def test_conditions() -> None:
    steps = [
        {"uses": "ltm.store", "with": {"key": "a", "value": 1}, "if": "input.yes", "as": "a"},
        {"uses": "ltm.store", "with": {"key": "b", "value": 1}, "if": "{{ not input.yes }}",
         "as": "b"},
        {"uses": "ltm.store", "with": {"key": "c", "value": 1}, "if": "b is none", "as": "c"},
        {"uses": "ltm.store", "with": {"key": "d", "value": 1}, "if": False, "as": "d"},
    ]  # fmt: skip
    result = run(steps, {"yes": True})
    assert [step["status"] for step in result["steps"]] == ["done", "skipped", "done", "skipped"]
    assert (result["b"], result["d"]) == (None, None)
    assert result["c"]["success"]


def test_a_failure_stops_or_not() -> None:
    bad = {"uses": "ltm.store", "with": {"key": "", "value": 1}, "as": "bad"}
    good = {"uses": "ltm.store", "with": {"key": "k", "value": "{{ bad.error_type }}"}, "as": "ok"}
    result = run([bad, good])
    assert not result["success"]
    assert (result["step"], result["error_type"]) == (0, "validation_error")
    assert result["error"] == "key must not be empty"
    assert "ok" not in result
    result = run([{**bad, "on_error": "continue"}, good])
    assert result["success"]
    assert result["bad"]["error_type"] == "validation_error"
    assert result["ok"]["success"]
    assert [step["status"] for step in result["steps"]] == ["failed", "done"]
    each = {
        "uses": "ltm.store",
        "with": {"key": "{{ item }}", "value": "{{ index }}"},
        "for_each": ["a", "", "b"],
        "as": "all",
    }
    assert [one["success"] for one in run([each])["all"]] == [True, False]
    result = run([{**each, "on_error": "continue"}])
    assert [one["success"] for one in result["all"]] == [True, False, True]
    assert result["steps"][0]["status"] == "failed"
    assert run([{**each, "for_each": "{{ input.no }}"}], {"no": 5})["error"] == (
        "for_each must be a list, got int"
    )
    assert run([{**each, "for_each": []}])["all"] == []


def test_functions_of_ones_own() -> None:
    steps = [
        {"uses": "greet", "with": {"name": "{{ input.name }}"}, "as": "greeting"},
        {"uses": "team.count", "with": {"text": "{{ greeting }}"}, "as": "length"},
    ]
    engine = YAMLEngine(steps=steps)
    with pytest.raises(ConfigurationError, match="unknown function 'greet': expected one of"):
        engine.run({"name": "Ada"})
    engine.register("greet", lambda name: f"Hello {name}")
    engine.register("team.count", lambda text: len(text))
    assert engine.run({"name": "Ada"})["length"] == 9

    def fail(**_: object) -> None:
        raise RuntimeError("broken")

    def refuse(**_: object) -> None:
        raise NotFoundError("nobody")

    for function, kind, error in (
        (fail, "function_error", "RuntimeError: broken"),
        (refuse, "not_found", "nobody"),
        (lambda name: {"success": False}, "function_error", "the function returned success: false"),  # noqa: ARG005
        (lambda name: object(), "validation_error", "holds a value of type object"),  # noqa: ARG005
        (lambda: 1, "function_error", "TypeError"),
    ):
        engine.register("greet", function)
        result = engine.run({"name": "Ada"})
        assert (result["success"], result["error_type"]) == (False, kind)
        assert error in result["error"]
    for name, function in (("", len), (5, len), ("a", 5)):
        with pytest.raises(ValidationError):
            engine.register(name, function)  # type: ignore[arg-type]


def test_functions_of_installed_packages(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = folder / "site"
    (package / "extra-1.dist-info").mkdir(parents=True)
    (package / "extra-1.dist-info" / "METADATA").write_text("Name: extra\nVersion: 1\n")
    (package / "extra-1.dist-info" / "entry_points.txt").write_text(
        "[lakebed.engine_functions]\nextra.shout = extra_functions:shout\n"
    )
    (package / "extra_functions.py").write_text("def shout(text):\n    return text.upper()\n")
    monkeypatch.syspath_prepend(str(package))
    steps = [{"uses": "extra.shout", "with": {"text": "{{ input.a }}"}, "as": "loud"}]
    assert run(steps, {"a": "ada"})["loud"] == "ADA"


WRONG = [
    ({"uses": "ltm.stor", "with": {}}, "steps[0].uses: unknown function: did you mean 'ltm.store'"),
    ({"uses": "ltm.close"}, "steps[0].uses: unknown function"),
    ({"uses": "ltm.__init__"}, "steps[0].uses: unknown function"),
    ({"uses": "blob.upload_file"}, "steps[0].uses: unknown function"),
    ({"uses": "lake.purge"}, "steps[0].uses: unknown function"),
    ({"with": {}}, "steps[0].uses: is missing"),
    ({"use": "ltm.store"}, "did you misspell it as 'use'?"),
    ({"uses": "ltm.store", "whith": {}}, "steps[0].whith: unknown key: did you mean 'with'?"),
    ({"uses": "ltm.store", "with": {"key": "k"}}, "steps[0].with.value: is missing"),
    (
        {"uses": "ltm.store", "with": {"key": "k", "value": 1, "vlue": 1}},
        "steps[0].with.vlue: unknown argument: did you mean 'value'?",
    ),
    ({"uses": "a", "with": []}, "steps[0].with: expected a mapping, got a list"),
    ({"uses": "a", "as": "two words"}, "steps[0].as: expected a name of letters"),
    ({"uses": "a", "as": "_a"}, "steps[0].as: expected a name of letters"),
    ({"uses": "a", "as": "input"}, "steps[0].as: is reserved"),
    ({"uses": "a", "on_error": "panic"}, "steps[0].on_error: 'panic' is unknown: expected 'stop'"),
    ({"uses": "a", "with": {"a": "{{ input."}}, "steps[0].with: template: "),
    ({"uses": "a", "with": {"a": "{{ later.value }}"}}, "steps[0].with: template: unknown name "),
    ({"uses": "a", "with": {"a": "{{ item }}"}}, "steps[0].with: template: unknown name 'item'"),
    ({"uses": "a", "if": "nothing > 1"}, "steps[0].if: template: unknown name 'nothing'"),
    ({"uses": "a", "for_each": "{{ all }}"}, "steps[0].for_each: template: unknown name 'all'"),
    (
        {"uses": "lake.sql", "with": {"query": "SELECT '{{ input.a }}'"}},
        "steps[0].with.query: must not contain a template: write $name, and give its value in ",
    ),
    ("ltm.store", "steps[0]: expected a mapping with uses, got text"),
]


@pytest.mark.parametrize(("step", "message"), WRONG, ids=lambda part: str(part)[:40])
def test_mistakes_are_found_before_anything_runs(step: Any, message: str, folder: Path) -> None:
    assert message in refused({"settings": LOCAL, "steps": [step]})
    assert not list(folder.iterdir())


def test_wrong_documents_and_inputs() -> None:
    assert "steps: expected a list of steps, got a mapping" in refused({"steps": {}})
    engine = YAMLEngine(settings=LOCAL)
    with pytest.raises(ConfigurationError, match="has no steps"):
        engine.run({})
    engine = YAMLEngine(settings=LOCAL, steps=[{"uses": "ltm.search"}])
    for given in ("text", ["a"], {"a": object()}, {"a": open}):
        with pytest.raises(ValidationError, match=r"^input "):
            engine.run(given)  # type: ignore[arg-type]


def test_a_dry_run_does_nothing(folder: Path) -> None:
    step = {"uses": "ltm.store", "with": {"key": "k", "value": "{{ input.a }}"}, "as": "stored"}
    with YAMLEngine(settings=LOCAL, steps=[step]) as engine:
        result = engine.run({}, dry_run=True)
    assert result == {"success": True, "steps": [{**step, "status": "planned"}]}
    assert not list(folder.iterdir())
