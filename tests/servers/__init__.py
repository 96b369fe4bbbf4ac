"""Private servers for tests: own folder, own port, gone at the end.

As root they run as `nobody`, since Postgres and PgBouncer refuse root. They die with the process
that started them.
"""

from tests.servers.base import (
    PASSWORD,
    PATIENCE,
    Missing,
    await_port,
    die_with_parent,
    free_port,
    nobody_group,
    server_folder,
)
from tests.servers.maria import MariaDBServer, mariadb, private_mariadb, running_mariadb
from tests.servers.moto import S3Server, running_s3, s3
from tests.servers.postgres import (
    PostgresServer,
    debian_binaries,
    packaged_binaries,
    pgbouncer,
    postgres_15,
    postgres_18,
    private_postgres,
    running,
    running_pgbouncer,
)

__all__ = [
    "PASSWORD", "PATIENCE", "MariaDBServer", "Missing", "PostgresServer", "S3Server", "await_port",
    "debian_binaries", "die_with_parent", "free_port", "mariadb", "nobody_group",
    "packaged_binaries", "pgbouncer", "postgres_15", "postgres_18", "private_mariadb",
    "private_postgres", "running",
    "running_mariadb", "running_pgbouncer", "running_s3", "s3", "server_folder",
]  # fmt: skip
