"""The servers of these tests."""

from tests.servers import mariadb, postgres_18

__all__ = ["mariadb", "postgres_18"]
