"""Which Postgres database holds a catalog."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lakebed.catalog.identity import Identity
from lakebed.catalog.statements.executor import Params, Row
from lakebed.errors import CatalogError

_DATABASE = "SELECT oid::text FROM pg_database WHERE datname = current_database()"
_CLUSTER = """
SELECT system_identifier::text, timeline_id::text FROM pg_control_system(), pg_control_checkpoint()
"""


def identity_in_postgres(
    fetch: Callable[[str, Params], Sequence[Row]], schema: str | None
) -> Identity:
    """Return the identity of the tables in a schema: its database, its cluster, and its timeline.

    A dump is restored into another database or cluster. A standby keeps both, and gets another
    timeline when it is promoted, as a restored base backup does. Some services do not tell the
    cluster; then only the database counts.
    """
    ((database,),) = fetch(_DATABASE, {})
    try:
        ((cluster, timeline),) = fetch(_CLUSTER, {})
    except CatalogError:  # not for this user
        cluster = timeline = ""
    place = f"postgres:{cluster}/{database}/{schema}"
    return Identity(f"{place}#{timeline}", place)
