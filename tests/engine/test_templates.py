"""Templates see plain data and nothing else; secrets show nowhere."""

from __future__ import annotations

from typing import Any

import pytest

from lakebed.engine import YAMLEngine
from lakebed.errors import ConfigurationError
from tests.engine.conftest import run
from tests.waiting import in_time

CANARY = "hunter2-CANARY"


def rendered(template: str, given: dict[str, Any] | None = None, **root: Any) -> Any:
    """What a template gives, or the error of its step or document."""
    engine = YAMLEngine({"steps": [{"uses": "see", "with": {"it": template}, "as": "it"}], **root})
    engine.register("see", lambda it: it)
    return engine.run(given or {})


HOSTILE = [
    "{{ ''.__class__ }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ input.__class__ }}",
    "{{ input['__class__'] }}",
    "{{ input|attr('__class__') }}",
    "{{ input|map(attribute='__class__')|list }}",
    "{{ [input]|map(attribute='__class__')|first }}",
    "{{ input.items.__self__ }}",
    "{{ input.items.__func__ }}",
    "{{ input.keys.__globals__ }}",
    "{{ env.__class__ }}",
    "{{ env._allowed }}",
    "{{ env.used }}{{ env.used.clear() }}",
    "{{ env }}",
    "{{ env|string }}",
    "{{ env|list }}",
    "{{ env|tojson }}",
    "{{ self.__init__.__globals__ }}",
    "{{ self._TemplateReference__context.resolve('env') }}",
    "{{ cycler.__init__.__globals__ }}",
    "{{ lipsum.__globals__ }}",
    "{{ namespace() }}",
    "{{ joiner() }}",
    "{{ dict.__base__ }}",
    "{{ range.__class__ }}",
    "{{ range(10**9) }}",
    "{{ range(200000)|list }}",
    "{{ 'x' * 10**9 }}",
    "{{ 10**9 * 'x' }}",
    "{{ [0] * 10**9 }}",
    "{{ 2 ** (10**9) }}",
    "{{ 9 ** (9 ** 9) }}",
    "{{ '%1000000000d' % 1 }}",
    "{{ '{:>1000000000}'.format(1) }}",
    "{{ '{0.__class__}'.format(input) }}",
    "{{ '{a.__class__}'.format_map({'a': 1}) }}",
    "{{ 'x'.ljust(10**9) }}",
    "{{ 'x'.rjust(10**9) }}",
    "{{ 'x'.center(10**9) }}",
    "{{ 'x'.zfill(10**9) }}",
    "{{ '\\t'.expandtabs(10**9) }}",
    "{{ 'x'|center(10**9) }}",
    "{{ 'x'|indent(10**9, true) }}",
    "{{ '%s'|format(1) }}",
    "{% include '/etc/passwd' %}",
    "{% import 'os' as os %}",
    "{% from 'os' import path %}",
    "{% extends 'base' %}",
    "{{ input.update({'a': 1}) }}",
    "{{ input.clear() }}",
    "{{ input.list.append(1) }}",
    "{{ (lambda: 1)() }}",
    "{{ open('/etc/passwd') }}",
    "{{ __import__('os') }}",
    "{{ input.nothing }}",
    "{{ input.list[7] }}",
    "{{ 1 / 0 }}",
    "{{ 'a' + 1 }}",
    "{{ input.list|first|nothing }}",
    "{{ [].pop }}",
    "{{ ''.join }}",
    "{{ input.get }}",
]


@pytest.mark.parametrize("template", HOSTILE)
def test_hostile_templates(template: str) -> None:
    given: dict[str, Any] = {"list": [1, 2], "text": "x"}
    for text in (template, f"a {template} b"):
        with in_time(20):
            told = outcome(text, given)
        assert told.startswith("template: ") or (text != template and len(told) < 200), told
        for word in ("<class", "<function", "<module", "root:", "frozenset", "/root"):
            assert word not in told.replace(text, "")
    assert given == {"list": [1, 2], "text": "x"}


def outcome(template: str, given: dict[str, Any]) -> str:
    """What a template gives, or its error, wherever it is found."""
    try:
        result = rendered(template, given)
    except ConfigurationError as error:
        return str(error).partition("with: ")[2]
    return str(result["it"]) if result["success"] else str(result["error"])


def test_what_templates_can_do() -> None:
    for template, expected in (
        ("{{ input.list | map('upper') | join(', ') }}", "A, B"),
        ("{{ input.list | length }}", 2),
        ("{% for x in input.list %}{{ loop.index }}{{ x }} {% endfor %}", "1a 2b "),
        ("{{ input.nothing | default('none') }}", "none"),
        ("{{ input['list'][0] }}", "a"),
        ("{{ input.items() | list }}", [["list", ["a", "b"]]]),
        ("{{ {'a': input.list} }}", {"a": ["a", "b"]}),
        ("{{ 'a' in input.list and 2 ** 10 == 1024 }}", True),
        ("{{ input | tojson }}", '{"list": ["a", "b"]}'),
    ):
        assert rendered(template, {"list": ["a", "b"]})["it"] == expected, template


def test_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGION", "eu-west-1")
    monkeypatch.setenv("MONKEY", "see")
    assert rendered("{{ env.REGION }}")["it"] == "eu-west-1"
    assert rendered("{{ env['REGION'] }} {{ env.MONKEY }}")["it"] == "eu-west-1 see"
    assert rendered("{{ env.NOT_THERE | default('x') }}")["it"] == "x"
    missing = rendered("{{ env.NOT_THERE }}")
    assert missing["error"] == "template: the environment variable NOT_THERE is not set"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DB_PASSWORD", CANARY),
        ("API_KEY", CANARY),
        ("api_key", CANARY),
        ("TURSO_AUTH_TOKEN", CANARY),
        ("DB_PWD", CANARY),
        ("AWS_SECRET_ACCESS_KEY", CANARY),
        ("SENTRY_DSN", CANARY),
        ("DATABASE_URL", f"postgresql://ada:{CANARY}@h/d"),
    ],
)
def test_variables_that_may_be_secrets(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    for template in (f"{{{{ env.{name} }}}}", f"x {{{{ env['{name}'] }}}}"):
        refused = rendered(template)
        assert refused["error"] == (
            f"template: env.{name} may be a secret: name it in the document's list env"
        )
        assert CANARY not in str(refused)
    # Named, it can be used, and still shows in no error.
    allowed = rendered(f"{{{{ env.{name} }}}}", env=[name])
    assert allowed["it"] == value
    engine = YAMLEngine(
        env=[name], steps=[{"uses": "fail", "with": {"it": f"{{{{ env.{name} }}}}"}, "as": "it"}]
    )

    def fail(it: str) -> None:
        raise RuntimeError(f"cannot log in with {it}")

    engine.register("fail", fail)
    result = engine.run({})
    assert "cannot log in with ***" in result["error"]
    assert CANARY not in str(result)


def test_secrets_of_the_settings_show_in_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANTED", CANARY)
    settings = {
        "ltm": {"backend": "sqlite", "path": ":memory:"},
        "backends": {
            "metadata": {
                "type": "postgres", "host": "127.0.0.1", "port": 1, "user": "ada",
                "password": "${PLANTED}", "timeout": 0.5,
            },
            "blob": {
                "type": "s3", "bucket": "b", "endpoint_url": "http://127.0.0.1:1",
                "access_key": "key", "secret_key": "{{ secrets.PLANTED }}", "retry_timeout": 0,
            },
        },
    }  # fmt: skip
    steps = [
        {"uses": "metadata.count", "with": {"collection": "a"}, "on_error": "continue"},
        {"uses": "blob.exists", "with": {"path": "a"}, "on_error": "continue"},
        {"uses": "leak", "on_error": "continue"},
    ]
    with YAMLEngine(settings=settings, steps=steps) as engine:
        engine.register("leak", lambda: {"success": False, "error": f"it is {CANARY}"})
        result = engine.run({})
        assert CANARY not in str(result) + repr(engine)
    assert [step["status"] for step in result["steps"]] == ["failed"] * 3
    assert result["steps"][2]["error"] == "it is ***"


def test_names_of_steps_hide_nothing_of_others() -> None:
    steps = [
        {"uses": "ltm.search", "as": "range"},
        {"uses": "ltm.store", "with": {"key": "k", "value": "{{ range.count }}"}},
        {"uses": "ltm.retrieve", "with": {"key": "k"}, "as": "found"},
    ]
    assert run(steps)["found"]["value"] == 0
