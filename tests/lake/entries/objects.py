"""The files of a lake in a folder."""

from pathlib import Path


def files(lake_folder: Path) -> list[Path]:
    return sorted(path for path in (lake_folder / "objects").rglob("*") if path.is_file())
