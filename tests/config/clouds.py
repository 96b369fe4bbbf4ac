"""Google's and Azure's services by an HTTPS endpoint of the tests' own.

Neither has an emulator of what is asked here, so these are not theirs: only the clients are real.
They find the endpoint under the services' own names, with certificates of the tests' authority. It
checks what the clients sign and send: keys, scopes, challenges.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.certificates import Authority

ACCOUNT = "memory@lakebed-test.iam.gserviceaccount.com"
TENANT, CLIENT, CLIENT_SECRET = "tenant-of-tests", "client-of-tests", "CANARY-client-secret"
_GOOGLE_TOKENS = "https://oauth2.googleapis.com/token"
_HOSTS = (
    "iamcredentials.googleapis.com",
    "oauth2.googleapis.com",
    "secretmanager.googleapis.com",
    "login.microsoftonline.com",
    "memory.vault.azure.net",
)


class Answer(NamedTuple):
    """What the endpoint says."""

    status: int
    body: dict[str, Any]
    headers: dict[str, str] = {}  # noqa: RUF012 - a NamedTuple's default, never changed


class Clouds:
    """The services: `google` and `azure` hold secrets by name; `issued` has the tokens by cloud.

    `lifetime`: of tokens, in seconds. `on_token` is called with each new one. `down`: every answer
    is an error. `forbidden`: whoever asks has no right.
    """

    def __init__(self, key: rsa.RSAPrivateKey) -> None:
        self.key = key
        self.google: dict[str, bytes] = {}
        self.azure: dict[str, str] = {}
        self.issued: dict[str, list[str]] = {"google": [], "azure": []}
        self.scopes: list[str] = []
        self.asked: list[str] = []
        self.lifetime = 3600
        self.on_token: Callable[[str], None] = lambda _token: None
        self.down = False
        self.forbidden = False

    def answer(self, method: str, url: str, host: str, body: str, bearer: str) -> Answer:
        """What the service of a host says."""
        path = urlsplit(url).path
        self.asked.append(f"{method} {host}{path}")
        if self.down:
            return Answer(500, {"error": {"code": 500, "message": "down", "status": "INTERNAL"}})
        if host == "oauth2.googleapis.com":
            return self._google_token({name: v[0] for name, v in parse_qs(body).items()})
        if host == "iamcredentials.googleapis.com":  # from where the account may be used: anywhere
            return Answer(200, {"locations": [], "encodedLocations": "0x0"})
        if host == "secretmanager.googleapis.com":
            return self._google_secret(path, bearer)
        if host == "login.microsoftonline.com":
            form = {name: values[0] for name, values in parse_qs(body).items()}
            return self._azure_login(path, form) if form else self._azure_discovery(path)
        return self._azure_secret(path, bearer)

    def _token(self, cloud: str) -> str:
        token = f"CANARY-{cloud}-{secrets.token_urlsafe(600)}"
        self.issued[cloud].append(token)
        self.on_token(token)
        return token

    def _signed(self, assertion: str, audience: str) -> dict[str, Any]:
        claims: dict[str, Any] = jwt.decode(
            assertion, self.key.public_key(), algorithms=["RS256"], audience=audience
        )
        assert claims["iss"] == ACCOUNT
        return claims

    def _google_token(self, form: dict[str, str]) -> Answer:
        if self.forbidden:
            return Answer(400, {"error": "invalid_grant", "error_description": "no such account"})
        self.scopes.append(self._signed(form["assertion"], _GOOGLE_TOKENS)["scope"])
        token = self._token("google")
        return Answer(
            200, {"access_token": token, "expires_in": self.lifetime, "token_type": "Bearer"}
        )

    def _google_secret(self, path: str, bearer: str) -> Answer:
        if bearer not in self.issued["google"]:  # the client may sign for itself instead
            claims = jwt.decode(
                bearer,
                self.key.public_key(),
                algorithms=["RS256"],
                options={"verify_aud": False},
            )
            assert claims["iss"] == ACCOUNT
        if self.forbidden:
            status = {"code": 403, "message": "no permission", "status": "PERMISSION_DENIED"}
            return Answer(403, {"error": status})
        found = re.fullmatch(r"/v1/projects/[^/]+/secrets/([^/]+)/versions/latest:access", path)
        name = found[1] if found else ""
        if name not in self.google:
            status = {"code": 404, "message": "not found", "status": "NOT_FOUND"}
            return Answer(404, {"error": status})
        data = base64.b64encode(self.google[name]).decode()
        return Answer(200, {"name": path, "payload": {"data": data}})

    def _azure_discovery(self, path: str) -> Answer:
        base = f"https://login.microsoftonline.com/{TENANT}"
        if path.endswith("/openid-configuration"):
            return Answer(
                200,
                {
                    "issuer": f"{base}/v2.0",
                    "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
                    "token_endpoint": f"{base}/oauth2/v2.0/token",
                },
            )
        return Answer(
            200,
            {
                "tenant_discovery_endpoint": f"{base}/v2.0/.well-known/openid-configuration",
                "metadata": [],
            },
        )

    def _azure_login(self, path: str, form: dict[str, str]) -> Answer:
        assert path == f"/{TENANT}/oauth2/v2.0/token"
        if (form["client_id"], form["client_secret"]) != (CLIENT, CLIENT_SECRET) or self.forbidden:
            return Answer(
                401, {"error": "invalid_client", "error_description": "AADSTS7000215: no"}
            )
        self.scopes.append(form["scope"])
        token = self._token("azure")
        return Answer(
            200, {"access_token": token, "expires_in": self.lifetime, "token_type": "Bearer"}
        )

    def _azure_secret(self, path: str, bearer: str) -> Answer:
        if not bearer:
            challenge = (
                f'Bearer authorization="https://login.microsoftonline.com/{TENANT}", '
                'resource="https://vault.azure.net"'
            )
            error = {"code": "Unauthorized", "message": "no token"}
            return Answer(401, {"error": error}, {"WWW-Authenticate": challenge})
        assert bearer in self.issued["azure"]
        name = path.removeprefix("/secrets/").rstrip("/")
        if name not in self.azure:
            error = {"code": "SecretNotFound", "message": "not found"}
            return Answer(404, {"error": error})
        identity = f"https://memory.vault.azure.net/secrets/{name}/1"
        return Answer(200, {"value": self.azure[name], "id": identity, "attributes": {}})


def _handler(clouds: Clouds) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length).decode()
            bearer = self.headers.get("Authorization", "").removeprefix("Bearer ")
            host = self.headers["Host"].partition(":")[0]
            found = clouds.answer(self.command, self.path, host, body, bearer)
            content = json.dumps(found.body).encode()
            self.send_response(found.status)
            for name, value in found.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = _answer  # noqa: N815 - the names that the library calls

        def log_message(self, *_arguments: object) -> None:
            pass

    return Handler


@pytest.fixture(scope="session")
def google_key() -> rsa.RSAPrivateKey:
    """The key of the service account."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture
def clouds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, google_key: rsa.RSAPrivateKey
) -> Iterator[Clouds]:
    """The services, and an environment in which the clients find them and an identity."""
    found = Clouds(google_key)
    folder = tmp_path / "clouds"
    folder.mkdir()
    authority = Authority(folder, "clouds")
    files = authority.issue("endpoint", *_HOSTS)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(found)) as server:
        server.daemon_threads = True
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        _redirect(monkeypatch, server.server_address[1])
        _identify(monkeypatch, folder, google_key)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.certificate))
        try:
            yield found
        finally:
            server.shutdown()
            thread.join()


def _redirect(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    """The services' names mean the endpoint; no others are affected."""
    resolve = socket.getaddrinfo

    def ours(host: Any, service: Any, *rest: Any, **options: Any) -> Any:
        if host in _HOSTS:
            return resolve("127.0.0.1", port, *rest, **options)
        return resolve(host, service, *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", ours)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def _identify(monkeypatch: pytest.MonkeyPatch, folder: Path, key: rsa.RSAPrivateKey) -> None:
    """Who asks: a service account's file for Google, variables for Azure."""
    account = {
        "type": "service_account",
        "project_id": "lakebed-test",
        "private_key_id": "of-tests",
        "private_key": key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ).decode(),
        "client_email": ACCOUNT,
        "client_id": "1",
        "token_uri": _GOOGLE_TOKENS,
    }
    (folder / "account.json").write_text(json.dumps(account))
    for name, value in {
        "GOOGLE_APPLICATION_CREDENTIALS": str(folder / "account.json"),
        "AZURE_TENANT_ID": TENANT,
        "AZURE_CLIENT_ID": CLIENT,
        "AZURE_CLIENT_SECRET": CLIENT_SECRET,
    }.items():
        monkeypatch.setenv(name, value)
