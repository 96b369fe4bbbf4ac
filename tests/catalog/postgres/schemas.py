"""Catalogs in schemas of their own."""

import secrets
from typing import Any


def options(url: str, **others: Any) -> dict[str, Any]:
    return {"type": "postgres", "url": url, "schema": f"t{secrets.token_hex(6)}", **others}
