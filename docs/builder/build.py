"""Build this documentation as a site: `python docs/builder/build.py site`.

Zensical does the work. Added here are the notebooks as pages, and three checks that its strict mode
lacks: every page is in the navigation, once; what the navigation names exists; and so does every
picture.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
import yaml
from nbconvert import MarkdownExporter

PROJECT = Path(__file__).parents[2]
NOTEBOOK_LINK = re.compile(r"\]\((?:\.\./)+notebooks/([\w-]+)\.ipynb\)")
PICTURE = re.compile(r"!\[[^\]]*\]\(([^)#\s]+)|<img[^>]* src=\"([^\"]+)\"")

# Outputs stand in a box of their own; text as text, tables without the styles of pandas.
TEMPLATE = """{% extends 'markdown/index.md.j2' %}
{% block stream %}
```text
{{ output.text.rstrip() }}
```
{% endblock stream %}
{% block data_text scoped %}
```text
{{ output.data['text/plain'] }}
```
{% endblock data_text %}
{% block data_html scoped %}
<div class="notebook-output">{{ output.data['text/html'] | plain }}</div>
{% endblock data_html %}
{% block data_png %}
![{{ output.data['text/plain'] }}]({{ output.metadata.filenames['image/png'] | path2url }})
{% endblock data_png %}
"""


class Settings(yaml.SafeLoader):
    """Reads `!!python/name:…` as text: only the navigation is wanted here."""


Settings.add_multi_constructor("tag:yaml.org,2002:python/", lambda _loader, suffix, _node: suffix)


def pages_of(navigation: Any) -> list[str]:
    """The pages that a navigation names, in order."""
    if isinstance(navigation, str):
        return [navigation]
    parts = navigation.values() if isinstance(navigation, dict) else navigation
    return [page for part in parts for page in pages_of(part)]


def add_notebooks(docs: Path) -> None:
    """Write each notebook as a page, with the pictures that it holds beside it."""
    exporter = MarkdownExporter(raw_template=TEMPLATE)
    exporter.register_filter("plain", without_styles)
    folder = docs / "notebooks"
    folder.mkdir()
    for path in sorted((PROJECT / "notebooks").glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        text, found = exporter.from_notebook_node(
            notebook, {"unique_key": path.stem, "output_files_dir": path.stem}
        )
        for name, content in found["outputs"].items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(content)
        (folder / f"{path.stem}.md").write_text(text, "utf-8")
    for page in docs.rglob("*.md"):
        up = "../" * (len(page.relative_to(docs).parts) - 1)
        text = page.read_text("utf-8")
        linked = NOTEBOOK_LINK.sub(rf"]({up}notebooks/\1.md)", text)
        if linked != text:
            page.write_text(linked, "utf-8")


def without_styles(html: str) -> str:
    """HTML on one line, as Markdown wants it, and without the styles that pandas brings."""
    return " ".join(re.sub(r"<style.*?</style>", "", html, flags=re.DOTALL).split())


def mistakes(docs: Path, navigation: list[str]) -> list[str]:
    """What is wrong with pages and pictures, a line each."""
    pages = {page.relative_to(docs).as_posix(): page for page in sorted(docs.rglob("*.md"))}
    found = [f"mkdocs.yml: nav names {page} twice" for page in twice(navigation)]
    found += [f"mkdocs.yml: nav lacks docs/{page}" for page in pages if page not in navigation]
    missing = [page for page in navigation if page not in pages]
    found += [f"mkdocs.yml: nav names {page}, which is missing" for page in missing]
    for name, page in pages.items():
        for place in filter(None, (a or b for a, b in PICTURE.findall(page.read_text("utf-8")))):
            if "://" not in place and not (page.parent / place).is_file():
                found.append(f"docs/{name}: picture {place} is missing")
    return found


def twice(names: list[str]) -> list[str]:
    return sorted({name for name in names if names.count(name) > 1})


def build(target: Path) -> int:
    """Build the site in a folder, replacing what is there. Gives the exit status."""
    with tempfile.TemporaryDirectory() as scratch:
        stage = Path(scratch)
        docs = stage / "docs"
        shutil.copytree(PROJECT / "docs", docs, ignore=shutil.ignore_patterns("builder"))
        shutil.copy(PROJECT / "docs" / "builder" / "parameters.py", stage)
        shutil.copy(PROJECT / "mkdocs.yml", stage)
        (stage / "src").symlink_to(PROJECT / "src")
        add_notebooks(docs)
        settings = yaml.load((stage / "mkdocs.yml").read_text("utf-8"), Settings)  # noqa: S506
        if found := mistakes(docs, pages_of(settings["nav"])):
            print(*found, sep="\n", file=sys.stderr)
            return 1
        built = subprocess.run(
            [sys.executable, "-m", "zensical", "build", "--strict"], cwd=stage, check=False
        )
        if built.returncode == 0:
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(stage / "site", target)
        return built.returncode


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python docs/builder/build.py FOLDER")
    sys.exit(build(Path(sys.argv[1])))
