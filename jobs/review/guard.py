"""Who may speak with the review server: its own page, in the browser that has its token, and nobody else.

    every request      Host must be one of the server's own names: another site's name that leads here is refused
    all but the entrance    the session's cookie, which the entrance gives for the token in the address
    every change       Origin, Sec-Fetch-Site, a header of ours, JSON: another site's page cannot send these together

Knows names, tokens and headers; knows nothing of the job.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
OURS = "x-dreamcache-review"
"""A header that no form and no plain link can set."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusal:
    """An HTTP status and why, in one line."""

    status: int
    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Guard:
    """The names and secrets of one server. token: in the address that the operator opens; session: in the cookie."""

    hosts: frozenset[str]
    port: int
    token: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    session: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)

    @staticmethod
    def of(host: str, port: int, names: tuple[str, ...] = ()) -> Guard:
        """host: that is listened on; names: further ones that browsers use, a proxy's for example."""
        known = {*LOOPBACK, host, *names} - {"0.0.0.0", "::"}
        return Guard(hosts=frozenset(name.lower() for name in known), port=port)

    @property
    def cookie(self) -> str:
        """Cookies are shared by all ports of a host: its name holds the port."""
        return f"dreamcache_review_{self.port}"

    def check_host(self, headers: Mapping[str, str]) -> Refusal | None:
        """Refuses a request for another name than the server's."""
        host = headers.get("Host", "").lower()
        name, _, port = host.rpartition(":") if not host.endswith("]") and ":" in host else (host, "", "")
        if name in self.hosts and port in ("", str(self.port)):
            return None
        return Refusal(status=421, message="this server does not serve that host name; see --host-name")

    def check_session(self, cookies: Mapping[str, str]) -> Refusal | None:
        """Refuses a request without the session's cookie."""
        if hmac.compare_digest(cookies.get(self.cookie, "").encode(), self.session.encode()):
            return None
        return Refusal(status=401, message="no session; open the address that the command printed")

    def check_token(self, token: str) -> Refusal | None:
        """Refuses an entrance with another token."""
        if hmac.compare_digest(token.encode("utf-8", "replace"), self.token.encode()):
            return None
        return Refusal(status=403, message="wrong token; open the address that the command printed")

    def check_change(self, headers: Mapping[str, str]) -> Refusal | None:
        """Refuses a request that another site's page could have sent."""
        origin, host = headers.get("Origin"), headers.get("Host", "")
        if origin is not None and origin.lower() not in (f"http://{host}".lower(), f"https://{host}".lower()):
            return Refusal(status=403, message="another site's page may not send verdicts")
        if headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
            return Refusal(status=403, message="another site's page may not send verdicts")
        if headers.get(OURS) != "1":
            return Refusal(status=403, message=f"header {OURS} is missing")
        if headers.get("Content-Type", "").partition(";")[0].strip().lower() != "application/json":
            return Refusal(status=415, message="the body must be application/json")
        return None
