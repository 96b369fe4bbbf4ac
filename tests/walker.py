"""Walks a page as its reader does: runs its blocks in order, in one session at a terminal.

Run by the Python of a fresh environment, so it imports nothing but the standard library. Takes a
file of blocks, `[[language, line, source], …]`, and shows what each expression gives, as Python's
prompt does.
"""

from __future__ import annotations

import ast
import asyncio
import doctest
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

names: dict[str, object] = {"__name__": "__main__"}
loop = asyncio.new_event_loop()


def run_python(source: str, line: int) -> None:
    for statement in ast.parse(source).body:
        ast.increment_lineno(statement, line)
        code = compile(
            ast.Interactive([statement]), "page", "single", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        )
        result = eval(code, names)  # noqa: S307 - the documentation's own
        if code.co_flags & inspect.CO_COROUTINE:
            loop.run_until_complete(result)


def run_shell(source: str) -> None:
    subprocess.run(["bash", "-euo", "pipefail", "-c", source], check=True)


def main(blocks: str) -> None:
    for language, line, source in json.loads(Path(blocks).read_text("utf-8")):
        print(f"--- line {line}", flush=True)
        if language == "shell":
            run_shell(source)
        elif language == "console":
            for part in re.split(r"^\$ ", source, flags=re.MULTILINE)[1:]:
                run_shell(re.match(r"(?:[^\n]*\\\n)*[^\n]*\n?", part)[0])  # type: ignore[index]
        elif source.lstrip().startswith(">>>"):
            for example in doctest.DocTestParser().get_examples(source):
                run_python(example.source, line)
        else:
            run_python(source, line)
        sys.stdout.flush()
    loop.close()
    print("--- end")


main(sys.argv[1])
