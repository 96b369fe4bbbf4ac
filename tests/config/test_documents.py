"""Files that are no configuration: one clear error each, with its line and column."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from lakebed.config.reading.document import MAX_BYTES, read_document
from lakebed.errors import ConfigurationError
from tests.config.conftest import Write, opened_with, refused

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGE_BOMB = "a: &a {x: 1}\n" + "".join(
    f"{name}: &{name}\n  <<: [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
MALFORMED = {
    "a bracket left open": ("backend: [", ":1:11: not valid YAML"),
    "a tab": ("settings:\n\tltm: 1", ":2:1: not valid YAML"),
    "a mapping in a value": ("backend: a: b", ":1:11: not valid YAML"),
    "two documents": ("backend: duckdb\n---\nbackend: sqlite", ":2:1: not valid YAML"),
    "an anchor that is not there": ("backend: *nowhere", ":1:10: not valid YAML"),
    "duplicate keys": (
        "backend: duckdb\nstorage: a\nbackend: sqlite",
        ":3:1: backend: duplicate key: it is already given in line 1",
    ),
    "duplicate keys below": (
        "catalog:\n  type: sqlite\n  path: a\n  path: b",
        ":4:3: catalog.path: duplicate key: it is already given in line 3",
    ),
    "a cycle": ("catalog: &a\n  inner: *a", ":1:10: catalog.inner: an alias inside its own"),
    "a cycle of a list": ("x: &a [1, *a]", ":1:4: x[1]: an alias inside its own anchor"),
    "a cycle by merging": ("x: &a\n  <<: *a", "an alias inside its own anchor"),
    "an alias bomb": (BOMB, "its aliases expand to more than 10,000 values"),
    "a bomb of merges": (MERGE_BOMB, "its aliases expand to more than 10,000 values"),
    "deep nesting": ("a: " + "[" * 5000, "nested too deeply"),
    "a Python object": ("a: !!python/object/apply:os.system [ls]", ":1:4: a: tags"),
    "a binary tag": ("a: !!binary aGVsbG8=", ":1:4: a: tags"),
    "a set": ("a: !!set {x}", ":1:4: a: tags"),
    "a tagged truth": ("a: !!bool maybe", ":1:4: a: not a valid bool"),
    "digits without end": ("a: " + "1" * 5000, ":1:4: a: not a valid int"),
    "a key that is not a string": ("yes: 1", ":1:1: a key must be a string: put it in quotes"),
    "a key that is a list": ("? [a]\n: 1", ":1:3: a key must be a string"),
    "merging a word": ("<<: word\na: 1", ":1:5: << takes a mapping"),
    "a control character": ("a: b\nc: \x07", ":2:4: the character U+0007 is not allowed"),
    "nothing": ("", " is empty"),
    "a comment": ("# nothing\n", " is empty"),
    "a list": ("- a", ": expected a mapping"),
    "a word": ("backend", ": expected a mapping"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed(write: Write, name: str) -> None:
    text, message = MALFORMED[name]
    path = write(text)
    error = refused(path).text
    assert error.startswith(str(path))
    assert message in error


ENCODINGS = {
    "Latin-1": (
        "backend: duckdb\nstorage: Läke".encode("latin-1"),
        ":2:11: byte 0xe4 is not UTF-8",
    ),
    "UTF-16": ("backend: duckdb".encode("utf-16"), " is in UTF-16: save it as UTF-8"),
    "bytes": (b"\x89PNG\r\n\x1a\n", ":1:1: byte 0x89 is not UTF-8"),
    "a NUL": (b"backend: \0", ":1:10: the character U+0000 is not allowed"),
    "a surrogate": (b"backend: \xed\xa0\x80", ":1:10: byte 0xed is not UTF-8"),
}


@pytest.mark.parametrize("name", ENCODINGS)
def test_wrong_encodings(write: Write, name: str) -> None:
    content, message = ENCODINGS[name]
    assert message in refused(write(content)).text


def test_a_byte_order_mark_and_other_line_ends_are_fine(write: Write, folder: Path) -> None:
    path = write(b"\xef\xbb\xbfbackend: ducklake\r\npath: a\r\n")
    assert opened_with(path) == {"where": str(folder / "a")}


def test_a_tab_and_a_second_document_are_told(write: Write) -> None:
    text = refused(write("backend: sqlite\n\tpath: x")).text
    assert text.endswith("2:1: not valid YAML: found character '\\t' that cannot start any token")
    assert "expected one document" in refused(write("a: b\n---\nc: d")).text


def test_what_is_no_file(write: Write, folder: Path) -> None:
    assert refused("no.yaml").text == "no configuration file no.yaml"
    (folder / "folder.yaml").mkdir()
    assert refused("folder.yaml").text == "folder.yaml is a folder: expected a YAML file"
    assert "larger than" in refused(write(b"#" * (MAX_BYTES + 1))).text


def test_a_file_that_cannot_be_read(folder: Path) -> None:
    (folder / "loop.yaml").symlink_to("loop.yaml")  # not even by root
    assert refused("loop.yaml").text == "cannot read loop.yaml: Too many levels of symbolic links"


def test_anchors_and_merges_work(write: Write, folder: Path) -> None:
    path = write(
        """
        defaults: &defaults
          history: all
          lock_timeout: 5
        settings:
          ltm:
            <<: *defaults
            backend: ducklake
            lock_timeout: 7
        """
    )
    found = opened_with(path)
    assert found == {"where": str(folder / "lakebed"), "history": "all", "lock_timeout": 7.0}


def test_places_of_merged_settings(write: Write) -> None:
    path = write("a: &a\n  histroy: all\nsettings:\n  ltm:\n    <<: *a\n    backend: ducklake\n")
    assert f"{path}:2:3: settings.ltm.histroy: unknown key" in refused(path).text


YAML_TEXT = st.text(alphabet="abé:-*&#!|>%@`{}[],?<'\"\\ \t\n0123.~yno\u2028", max_size=60)


@given(YAML_TEXT | st.binary(max_size=60))
@example("a: &a\n- *a")
@example(b"\xff\xfe\x00")
def test_any_file_is_data_or_one_error(tmp_path_factory: pytest.TempPathFactory, text: str | bytes):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    content = text if isinstance(text, bytes) else text.encode()
    path.write_bytes(content)
    try:
        found = read_document(path)
    except ConfigurationError as error:
        found, message = None, str(error)
    else:
        message = ""
    if found is None:
        assert message
        assert "\n" not in message
    else:
        plain = yaml.load(content.decode("utf-8-sig"), Loader=yaml.BaseLoader)  # noqa: S506
        assert found.data.keys() == plain.keys()
