"""A memory for host programs that have their own registry of memory backends."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from lakebed.config.opening import default_place, open_settings
from lakebed.lake.opening import DEFAULT_FOLDER
from lakebed.ltm.adapter import LTMBackend

if TYPE_CHECKING:
    from lakebed.config.reading.loading import Section


class LakebedMemory(LTMBackend):
    """A memory whose constructor takes a configuration, as host programs call it.

        host.register_backend("lakebed", LakebedMemory)

    `config`: a configuration as a mapping, or the path of its file. `options`: settings as
    keywords, which replace those of `config`. `path` alone is the folder of a lake. Without any
    argument, the memory is the lake that `lakebed.open()` opens.

    All calls are those of `LTMBackend`: their results are dictionaries, errors included. The
    settings are checked at once. The memory connects with its first call.

    Raises ConfigurationError, with the path of every invalid setting.
    """

    def __init__(
        self,
        config: Mapping[str, object] | str | os.PathLike[str] | None = None,
        **options: object,
    ) -> None:
        from lakebed.config.reading.loading import validate

        settings = validate(_section(config, options)).settings
        super().__init__(lambda: open_settings(settings))


def _section(
    config: Mapping[str, object] | str | os.PathLike[str] | None, options: dict[str, object]
) -> Section:
    from lakebed.config.reading.loading import read

    given = {name: value for name, value in options.items() if value is not None}
    if config is None:
        if not given and (place := default_place()) != DEFAULT_FOLDER:
            return read(place)
        return read({"backend": "ducklake", **given} if given.keys() <= {"path"} else given)
    section = read(config)
    return section._replace(raw={**section.raw, **given})
