"""Who may ask: the right Host, no other site's page, and a token where one is set. On every method, before anything."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from latentry.serve.api.edge.errors import Problem

OPEN = ("/healthz", "/readyz")
"""Answered without a token, for those who watch the server."""
SAFE = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
}
DEFAULT_PORTS = {"http": 80, "https": 443}


def is_loopback(host: str) -> bool:
    """Whether nobody but this machine can reach an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Guard:
    """Refuses what the page or program that asks has no right to; sets the key of whose request it is.

    A page of another site can make a browser ask a server on loopback: by a name of its own that it lets point here
    (so the Host must be an address, or a name that was allowed), or directly (so Origin and Sec-Fetch-Site must say
    that the page is this server's).
    """

    def __init__(self, app: ASGIApp, host: str, tokens: Sequence[str], names: Sequence[str]) -> None:
        self.app, self.loopback = app, is_loopback(host)
        self.names = {"localhost", *(name.lower() for name in names), *(() if _is_address(host) else (host.lower(),))}
        self.tokens = [hashlib.sha256(token.encode()).digest() for token in tokens]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        problem = self._refusal(scope)

        async def safe(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SAFE.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await (self.app if problem is None else problem.response())(scope, receive, safe)

    def _refusal(self, scope: Scope) -> Problem | None:
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._is_ours(hosts[0]):
            return Problem(421, "Host: not a name of this server. Use its address, or allow the name.", code="host")
        if not _is_own_page(headers, hosts[0]):
            return Problem(403, "Origin: requests from pages of other sites are refused.", code="origin")
        given = headers.get("authorization", "")
        token = given[7:].strip() if given[:7].lower() == "bearer " else ""
        digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
        known = [hmac.compare_digest(digest, one) for one in self.tokens]
        if self.tokens and not any(known) and scope["path"] not in OPEN and self._is_private(scope):
            text = "A token is needed: Authorization: Bearer TOKEN."
            headers_ = {"WWW-Authenticate": "Bearer"}
            return Problem(401, text, kind="authentication_error", code="invalid_api_key", headers=headers_)
        scope.setdefault("state", {})["key"] = digest.hex()[:32] if token else "local"
        return None

    def _is_private(self, scope: Scope) -> bool:
        """Everything but the page's own files, which hold nothing of anyone."""
        path = scope["path"]
        return path.startswith(("/v1", "/metrics", "/openapi.json")) or scope["method"] not in ("GET", "HEAD")

    def _is_ours(self, host: str) -> bool:
        name = _name_of(host)
        if name is None:
            return False
        if name in self.names:
            return True
        return is_loopback(name) if self.loopback else _is_address(name)


def _name_of(host: str) -> str | None:
    """The name or address in a Host header, without the port; None where it is no host."""
    try:
        found = urlsplit(f"//{host}")
        found.port  # noqa: B018 - raises ValueError for what is no port
    except ValueError:
        return None
    return None if found.username is not None or found.path else found.hostname


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_own_page(headers: Headers, host: str) -> bool:
    """Whether no page asks, or one of this server."""
    origin = headers.get("origin")
    if origin is not None:
        return _place(origin) == _place(f"{urlsplit(origin).scheme}://{host}") is not None
    site, mode = headers.get("sec-fetch-site"), headers.get("sec-fetch-mode")
    return site in (None, "same-origin", "none") or mode == "navigate"


def _place(address: str) -> tuple[str, int | None] | None:
    """Host and port of an http address; None for `null` and all others."""
    try:
        found = urlsplit(address)
        if found.scheme not in DEFAULT_PORTS or found.hostname is None:
            return None
        return found.hostname, found.port or DEFAULT_PORTS[found.scheme]
    except ValueError:
        return None
