"""Lakebed as its users get it: its wheel and source distribution, and environments to put it in."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.sharing import made_once

PROJECT = Path(__file__).parents[1]


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command as a user's shell would, without the settings of the test run itself."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    ran = subprocess.run(command, cwd=cwd, env=env, text=True, capture_output=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def _copy_checkout(copy: Path) -> None:
    listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=PROJECT)
    for name in filter(None, listed.split("\0")):
        source, target = PROJECT / name, copy / name
        if source.is_file():  # a file removed but not yet committed is still listed
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project's own files, so that building leaves nothing in the tree."""
    return made_once(tmp_path_factory, "checkout", _copy_checkout)


@pytest.fixture(scope="session")
def built(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with one wheel, built from the source distribution beside it."""

    def build(out: Path) -> None:
        run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, checkout, cwd=out)

    return made_once(tmp_path_factory, "dist", build)


def package(built: Path, kind: str) -> Path:
    """The wheel or the source distribution."""
    (found,) = built.glob({"wheel": "*.whl", "sdist": "*.tar.gz"}[kind])
    return found


def install(python: Path, *arguments: str | Path) -> None:
    """Install with the pip of this test run, and fetch nothing."""
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "--quiet")
    run(*pip, "--no-deps", "--no-index", "--no-build-isolation", *arguments, cwd=python.parent)


def purelib(python: Path) -> Path:
    """Where an environment has its packages."""
    command = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return Path(run(python, "-c", command, cwd=python.parent).strip())


def fresh_venv(folder: Path) -> Path:
    """A venv's python that has the dependencies of this test run, but not its Lakebed."""
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    # Only the folder itself is added, not the .pth files in it that name this checkout.
    purelib(python).joinpath("dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def user_venv(folder: Path, archive: Path, extras: Iterable[str] = ()) -> Path:
    """The python of a venv that has what `pip install 'lakebed[extras]'` installs, and no more.

    Nothing is fetched: what the archive needs is linked from the environment of this test run.
    """
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    site = purelib(python)
    if archive.suffix != ".whl":  # a source distribution is built with the hatchling of this run
        for tool in (distribution("hatchling"), *needed(distribution("hatchling"), set()).values()):
            link(tool, site)
    install(python, archive)
    (metadata,) = site.glob("lakebed-*.dist-info")
    for found in needed(Distribution.at(metadata), set(extras)).values():
        link(found, site)
    return python


def needed(root: Distribution, extras: set[str]) -> dict[str, Distribution]:
    """The distributions that one needs with some of its extras, by name."""
    found: dict[str, Distribution] = {}
    waiting = [(root, frozenset(extras))]
    seen = set()
    while waiting:
        owner, wanted = waiting.pop()
        for requirement in map(Requirement, owner.requires or ()):
            marker = requirement.marker
            if marker and not any(marker.evaluate({"extra": e}) for e in ("", *wanted)):
                continue
            name = canonicalize_name(requirement.name)
            asked = (name, frozenset(requirement.extras))
            if asked in seen:
                continue
            seen.add(asked)
            if name == "lakebed":  # an extra that is made of others
                waiting.append((root, asked[1]))
            else:
                found[name] = distribution(name)
                waiting.append((found[name], asked[1]))
    return found


def link(found: Distribution, site: Path) -> None:
    """Link what a distribution has installed, namespace packages by their parts."""
    for source in installed(found):
        target = site / source.relative_to(sysconfig.get_path("purelib"))
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            target.symlink_to(source)


def installed(found: Distribution) -> Iterator[Path]:
    outer = Path(sysconfig.get_path("purelib"))
    places = set()
    for file in found.files or ():
        if file.parts[0] in ("..", "__pycache__"):  # commands, and what Python makes itself
            continue
        place = outer / file.parts[0]
        if place.is_dir() and len(file.parts) > 2 and not (place / "__init__.py").exists():
            place = place / file.parts[1] if not place.name.endswith(".dist-info") else place
        places.add(place)
    yield from sorted(place for place in places if place.exists())
