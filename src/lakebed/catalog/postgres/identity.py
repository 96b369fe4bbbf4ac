"""Identifies the Postgres database that holds a catalog."""

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
    """Return the identity of the tables in a schema: database, cluster and timeline.

    A restored dump is in another database or cluster. A standby keeps both, but gets another
    timeline when it is promoted. So does a restored base backup. Some services do not tell the
    cluster. Then only the database counts.
    """
    ((database,),) = fetch(_DATABASE, {})
    try:
        ((cluster, timeline),) = fetch(_CLUSTER, {})
    except CatalogError:  # this user may not ask
        cluster = timeline = ""
    place = f"postgres:{cluster}/{database}/{schema}"
    return Identity(f"{place}#{timeline}", place)
