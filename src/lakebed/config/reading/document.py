"""Reads a YAML file as plain data with the place of each setting, or raises one clear error."""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import NamedTuple

import yaml

from lakebed.config.problems import ConfigProblem, InvalidConfiguration, Path, TextPosition, dotted
from lakebed.errors import ConfigurationError

MAX_BYTES = 1_000_000
"""The largest file that is read."""
MAX_NODES = 10_000
"""The most values that a document may hold once its aliases are expanded."""

_TAG = "tag:yaml.org,2002:"
_SCALARS = {f"{_TAG}{name}" for name in ("null", "bool", "int", "float", "str")}
_MERGE = f"{_TAG}merge"
_QUOTED = re.compile(r"(?P<tab>'\\t')|'[^']{2,}'|\"[^\"]{2,}\"")
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class Document(NamedTuple):
    """A configuration as plain data. Messages call it `name`. Relative paths start at `folder`."""

    data: Mapping[str, object]
    name: str
    folder: FilePath
    places: Mapping[Path, TextPosition]

    def error(self, path: Path, message: str) -> InvalidConfiguration:
        """Return the error for one setting."""
        return InvalidConfiguration(self.name, [self.problem(path, message)])

    def problem(self, path: Path, message: str) -> ConfigProblem:
        """Return the problem of one setting. If the setting is missing, its place is the
        parent's."""
        known = path
        while known and known not in self.places:
            known = known[:-1]
        return ConfigProblem(dotted(path), self.places.get(known), message)


class _Loader(yaml.SafeLoader):
    """A loader that keeps dates as text, because JSON has no dates."""


_Loader.yaml_implicit_resolvers = {
    first: [pair for pair in pairs if pair[0] != f"{_TAG}timestamp"]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_document(path: FilePath) -> Document:
    """Read a YAML file.

    Raises ConfigurationError, with line and column where there are some, if it cannot be read or
    does not hold a mapping.
    """
    name = str(path)
    text = _decode(name, _read(path))
    builder = _Builder(name, text)
    data = builder.build()
    if not isinstance(data, dict):
        raise ConfigurationError(f"{name}: expected a mapping, such as 'backend: duckdb'")
    return Document(data, name, path.absolute().parent, builder.places)


def _read(path: FilePath) -> bytes:
    try:
        if path.is_dir():
            raise ConfigurationError(f"{path} is a folder: expected a YAML file")
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ConfigurationError(f"no configuration file {path}") from None
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from None
    if len(data) > MAX_BYTES:
        raise ConfigurationError(f"{path} is larger than {MAX_BYTES:,} bytes: not a configuration")
    return data


def _decode(name: str, data: bytes) -> str:
    if data.startswith(_UTF_16):
        raise ConfigurationError(f"{name} is in UTF-16: save it as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - (data.rfind(b"\n", 0, error.start) + 1) + 1
        raise ConfigurationError(
            f"{name}:{line}:{column}: byte 0x{data[error.start]:02x} is not UTF-8: save it as UTF-8"
        ) from None


class _Builder:
    """Builds plain data from YAML nodes, and remembers the place of each."""

    def __init__(self, name: str, text: str) -> None:
        self.places: dict[Path, TextPosition] = {}
        self._name = name
        self._text = text
        self._count = 0
        self._open: set[int] = set()

    def build(self) -> object:
        # Never chain the errors below: PyYAML's show lines of the file, secrets included.
        loader: _Loader | None = None
        try:
            loader = _Loader(self._text)
            node = loader.get_single_node()
            if node is None:
                raise ConfigurationError(f"{self._name} is empty")
            self._loader = loader
            return self._build(node, ())
        except yaml.reader.ReaderError as error:
            raise self._unreadable(error) from None
        except yaml.MarkedYAMLError as error:
            problem = _QUOTED.sub(
                lambda found: found["tab"] or "'…'", error.problem or "not valid YAML"
            )
            problem = problem.replace("but found another", "expected one document, found another")
            mark = error.problem_mark or error.context_mark
            raise self._error((), mark, f"not valid YAML: {problem}") from None
        except RecursionError:
            raise ConfigurationError(f"{self._name}: nested too deeply") from None
        finally:
            if loader is not None:
                loader.dispose()

    def _unreadable(self, error: yaml.reader.ReaderError) -> ConfigurationError:
        before = self._text[: error.position]
        place = TextPosition(before.count("\n") + 1, error.position - before.rfind("\n"))
        message = f"the character U+{ord(self._text[error.position]):04X} is not allowed in YAML"
        return InvalidConfiguration(self._name, [ConfigProblem("", place, message)])

    def _error(
        self, path: Path, mark: yaml.error.Mark | None, message: str
    ) -> InvalidConfiguration:
        place = None if mark is None else TextPosition(mark.line + 1, mark.column + 1)
        return InvalidConfiguration(self._name, [ConfigProblem(dotted(path), place, message)])

    def _build(self, node: yaml.Node, path: Path) -> object:
        self._count += 1
        if self._count > MAX_NODES:
            raise self._error(
                (), None, f"its aliases expand to more than {MAX_NODES:,} values: write them out"
            )
        if id(node) in self._open:
            raise self._error(path, node.start_mark, "an alias inside its own anchor is a cycle")
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode) and node.tag == f"{_TAG}map":
                return self._mapping(node, path)
            if isinstance(node, yaml.SequenceNode) and node.tag == f"{_TAG}seq":
                return [self._child(item, (*path, i)) for i, item in enumerate(node.value)]
            if isinstance(node, yaml.ScalarNode) and node.tag in _SCALARS:
                return self._scalar(node, path)
        finally:
            self._open.discard(id(node))
        raise self._error(path, node.start_mark, "tags (!…) are not used in a configuration")

    def _child(self, node: yaml.Node, path: Path) -> object:
        self.places.setdefault(
            path, TextPosition(node.start_mark.line + 1, node.start_mark.column + 1)
        )
        return self._build(node, path)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, object]:
        merged: dict[str, object] = {}
        own: dict[str, object] = {}
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE:
                for name, value in self._merge(value_node, path).items():
                    merged.setdefault(name, value)
                continue
            key = self._key(key_node, path)
            mark = key_node.start_mark
            if key in own:
                first = self.places[*path, key]
                raise self._error(
                    (*path, key),
                    mark,
                    f"duplicate key: it is already given in line {first.line}",
                )
            self.places[*path, key] = TextPosition(mark.line + 1, mark.column + 1)
            own[key] = self._build(value_node, (*path, key))
        return merged | own

    def _merge(self, node: yaml.Node, path: Path) -> dict[str, object]:
        parts = node.value if isinstance(node, yaml.SequenceNode) else [node]
        merged: dict[str, object] = {}
        for part in parts:
            value = self._build(part, path)
            if not isinstance(value, dict):
                raise self._error(path, part.start_mark, "<< takes a mapping, or a list of them")
            merged = value | merged
        return merged

    def _key(self, node: yaml.Node, path: Path) -> str:
        if not isinstance(node, yaml.ScalarNode) or node.tag != f"{_TAG}str":
            raise self._error(path, node.start_mark, "a key must be a string: put it in quotes")
        return str(node.value)

    def _scalar(self, node: yaml.ScalarNode, path: Path) -> object:
        try:
            value: object = self._loader.construct_object(node)
        except (ValueError, KeyError):  # an integer of 5,000 digits, !!bool maybe
            kind = node.tag.removeprefix(_TAG)
            raise self._error(path, node.start_mark, f"not a valid {kind}") from None
        return value
