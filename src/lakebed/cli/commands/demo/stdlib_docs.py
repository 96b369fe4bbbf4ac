"""The documentation of Python's standard library. It is read from source, without imports."""

from __future__ import annotations

import ast
import sysconfig
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lakebed.errors import ConfigurationError

_SKIPPED = frozenset(
    {"__pycache__", "dist-packages", "idlelib", "lib2to3", "site-packages", "test", "tests"}
)

_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def documentation() -> Iterator[dict[str, Any]]:
    """Yield every module, class, function and method that has a docstring, as an entry to store.

    The key is the full name. The value has the signature and the docstring. The metadata tell where
    the source is.
    """
    root = Path(sysconfig.get_paths()["stdlib"])
    found = False
    for path in sorted(root.rglob("*.py")):
        place = path.relative_to(root)
        if _SKIPPED.isdisjoint(place.parts):
            found = True
            yield from _module(path, place)
    if not found:
        raise ConfigurationError(f"the source of Python's standard library is not in {root}")


def _module(path: Path, place: Path) -> Iterator[dict[str, Any]]:
    parts = place.with_suffix("").parts
    module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    with warnings.catch_warnings(action="ignore"):  # of the parser, such as invalid escapes
        tree = ast.parse(path.read_bytes())
    about = {"package": parts[0], "module": module, "file": place.as_posix()}
    doc = ast.get_docstring(tree)
    if doc:
        value = {"signature": f"import {module}", "doc": doc}
        described = {**about, "kind": "module", "line": 1, "public": _is_public(module)}
        yield {"key": module, "value": value, "metadata": described}
    for name, kind, node in _definitions(tree.body):
        doc = ast.get_docstring(node)
        if doc:
            key = f"{module}.{name}"
            yield {
                "key": key,
                "value": {"signature": _signature(node), "doc": doc},
                "metadata": {**about, "kind": kind, "line": node.lineno, "public": _is_public(key)},
            }


def _is_public(name: str) -> bool:
    return not any(part.startswith("_") for part in name.split("."))


def _definitions(body: list[ast.stmt], outer: str = "") -> Iterator[tuple[str, str, _Definition]]:
    for node in body:
        if not isinstance(node, _Definition):
            continue
        name = f"{outer}{node.name}"
        if isinstance(node, ast.ClassDef):
            yield name, "class", node
            yield from _definitions(node.body, f"{name}.")
        else:
            yield name, "method" if outer else "function", node


def _signature(node: _Definition) -> str:
    if isinstance(node, ast.ClassDef):
        bases = ", ".join(ast.unparse(base) for base in node.bases)
        return f"class {node.name}({bases})" if bases else f"class {node.name}"
    start = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"{start} {node.name}({ast.unparse(node.args)}){returns}"
