"""Opens lakes to back them up or to restore them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta

from lakebed.config.opening import is_configuration_file, open_settings
from lakebed.config.opening import open as open_lake
from lakebed.config.reading.loading import load
from lakebed.errors import ConfigurationError
from lakebed.lake.lake import Lake
from lakebed.lake.opening import History

LakePlace = Lake | str | os.PathLike[str] | Mapping[str, object]
"""An open lake, or what opens one: a folder, the URL of a catalog, or a configuration."""


@contextmanager
def opened_lake(
    place: LakePlace,
    *,
    storage: str | None = None,
    history: History | None = None,
    history_retention: timedelta | None = None,
) -> Iterator[Lake]:
    """Open a block with the lake at a place. A lake that was opened for the block is closed at its
    end.

    `storage`: the storage of a lake that is named by the URL of its catalog or a configuration.
    `history`, `history_retention`: for a lake that is created here. A configuration overrides them.
    """
    if isinstance(place, Lake):
        yield place
        return
    if isinstance(place, Mapping) or is_configuration_file(place):
        lake = open_settings(load(place).settings, storage=storage)
    elif isinstance(place, str) and "://" in place:
        lake = open_lake(
            catalog=place, storage=storage, history=history, history_retention=history_retention
        )
    elif storage is not None:
        raise ConfigurationError(
            f"storage cannot be combined with the folder {os.fspath(place)}, which holds both"
        )
    else:
        lake = open_lake(place, history=history, history_retention=history_retention)
    with lake:
        yield lake
