"""The recipe for an outside catalog passes the conformance suite, as it stands in the guide."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from unittest.mock import patch

from lakebed.catalog import registry

PAGE = Path(__file__).parents[2] / "docs" / "guides" / "outside-catalog.md"


def blocks() -> str:
    """The Python of the page that defines things: all but the lake that it opens to show off."""
    text = "\n".join(
        re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    )
    shown = text.index("with lakebed.open(")
    return text[:shown] + text[text.index("from lakebed.testing", shown) :]


namespace: dict[str, Any] = {"__name__": __name__}
# It registers itself, which other tests of this process must not see.
with patch.dict(registry._openers), patch.dict(registry._schemes):
    exec(compile(blocks(), PAGE, "exec"), namespace)  # noqa: S102 - it is our own page
TestApsw = namespace["TestApsw"]


def test_the_recipe_is_short() -> None:
    assert len(PAGE.read_text("utf-8").splitlines()) < 200
