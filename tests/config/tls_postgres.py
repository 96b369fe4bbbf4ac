"""A Postgres server that demands TLS, with certificates that its tests choose."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.certificates import Authority, Certified
from tests.servers import (
    PASSWORD,
    Missing,
    PostgresServer,
    debian_binaries,
    nobody_group,
    server_folder,
)

# By TCP only with TLS; `certified` logs in by certificate, everybody else by password.
_ACCESS = """\
local all all trust
hostnossl all all all reject
hostssl all certified all cert
hostssl all all all scram-sha-256
"""


class TLSPostgres:
    """The server, the authority that it is from (`trusted`), and another one."""

    def __init__(self, server: PostgresServer, folder: Path) -> None:
        self.server = server
        self.trusted = Authority(folder, "trusted")
        self.stranger = Authority(folder, "stranger")
        self.right = self.trusted.issue("right", "localhost")
        self.wrong_name = self.trusted.issue("wrong_name", "db.example.org")
        self.expired = self.trusted.issue("expired", "localhost", ends_in=-timedelta(hours=1))
        self.client = self.trusted.issue("client", "certified")
        self._shown: Certified | None = None

    def start(self) -> None:
        data = self.server.data
        (data / "pg_hba.conf").write_text(_ACCESS)
        shutil.copyfile(self.trusted.certificate, data / "ca.pem")
        (data / "ca.pem").chmod(0o644)
        self._place(self.right)
        self.server.start()
        self.server.execute("CREATE ROLE certified LOGIN SUPERUSER")

    def show(self, certificate: Certified) -> None:
        """Connections that begin from now on see this certificate."""
        if certificate == self._shown:
            return
        before = self.server.execute("SELECT pg_conf_load_time()")
        self._place(certificate)
        self.server.execute("SELECT pg_reload_conf()")
        deadline = time.monotonic() + 30
        while self.server.execute("SELECT pg_conf_load_time()") == before:
            assert time.monotonic() < deadline, self.server.log()
            time.sleep(0.02)

    def _place(self, certificate: Certified) -> None:
        self._shown = certificate
        for source, name in zip(certificate, ("server.pem", "server.key"), strict=True):
            new = self.server.data / f"{name}.new"
            shutil.copyfile(source, new)
            new.chmod(0o600)
            if os.geteuid() == 0:
                shutil.chown(new, "nobody", nobody_group())
            new.replace(self.server.data / name)

    def options(self, **others: Any) -> dict[str, Any]:
        """The settings of a backend on a database of its own."""
        return {
            "backend": "postgres",
            "host": "localhost",
            "port": self.server.port,
            "user": "postgres",
            "password": PASSWORD,
            "database": self.server.create_database(),
            "timeout": 10,
        } | others


@pytest.fixture(scope="session")
def tls_postgres(require_server: Missing) -> Iterator[TLSPostgres]:
    """Postgres 15 with TLS, which the package of Postgres 18 is built without."""
    binaries = debian_binaries()
    if binaries is None:
        require_server("Postgres 15", "apt-get install postgresql-15")
    with server_folder() as folder:
        server = PostgresServer(
            binaries,
            folder,
            ssl="on",
            ssl_cert_file="server.pem",
            ssl_key_file="server.key",
            ssl_ca_file="ca.pem",
        )
        server.create()
        certificates = folder / "certificates"
        certificates.mkdir()
        tls = TLSPostgres(server, certificates)
        tls.start()
        try:
            yield tls
        finally:
            server.stop()
