"""The form of a web address in a catalog or settings file, judged by one parser, whose parts alone are used to connect.

    parse_web("https://Shop.example:8443/a b.png") -> WebUrl(host="shop.example", port=8443, target="/a%20b.png")
    parse_web("https://2130706433/a.png")          -> ValueError: must name a host, got a number for an address

An address that two parsers read differently is a way around a list of hosts; so nothing here is lenient about the
part before the path. Knows texts; opens nothing.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import quote, urljoin

HTTPS = "https://"
DEFAULT_PORT = 443
MAX_URL = 4096
_HOST = re.compile(r"(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_][a-z0-9_-]{0,62})*")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_AUTHORITY = re.compile(r"https://([^/?#]*)(.*)", re.IGNORECASE | re.DOTALL)
_KEPT = "%/:=&?~+!$,;'@()*[]|"
"""Characters of a path and query that stay as they are; others, such as spaces of a spreadsheet, are escaped."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WebUrl:
    """host: in lower case, a name in ASCII or an IP address without brackets. target: path and query, escaped."""

    host: str
    port: int
    target: str

    @property
    def site(self) -> str:
        """Host and port, as a list of hosts names them and the Host header has them: shop.example, [::1]:8443."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORT else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{HTTPS}{self.site}{self.target}"


def is_web(uri: str) -> bool:
    """Whether it begins with https://."""
    return uri[: len(HTTPS)].lower() == HTTPS


def parse_web(uri: str) -> WebUrl:
    """The parts of an https:// address. Raises ValueError "must ..., got ...", to follow the name of the setting."""
    if len(uri) > MAX_URL:
        raise ValueError(f"must have at most {MAX_URL} characters, got {len(uri)}")
    if "\\" in uri or any(ord(character) < 32 or ord(character) == 127 for character in uri):
        raise ValueError("must be a web address without '\\' and control characters")
    match = _AUTHORITY.fullmatch(uri)
    if match is None:
        raise ValueError("must begin with https://")
    authority, rest = match.groups()
    if "@" in authority:
        raise ValueError("must name no user or password, got '@' before the path")
    host, port = _host_and_port(authority)
    target = rest.partition("#")[0]
    target = target if target.startswith("/") else f"/{target}"
    try:
        return WebUrl(host=host, port=port, target=quote(target, safe=_KEPT))
    except UnicodeEncodeError as error:
        raise ValueError("must be text in UTF-8, got half a surrogate pair") from error


def redirected(url: WebUrl, location: str) -> WebUrl:
    """Where an answer's Location leads from `url`. Raises ValueError as `parse_web`."""
    return parse_web(urljoin(str(url), location.strip()))


def site_of(text: str) -> str:
    """A host of a settings file, "Shop.example:443", as `WebUrl.site` writes it. Raises ValueError as `parse_web`."""
    if not text or set(text) & set("/?#"):
        raise ValueError("must be a host or host:port alone, such as cdn.example or cdn.example:8443")
    return parse_web(HTTPS + text).site


def _host_and_port(authority: str) -> tuple[str, int]:
    match = re.fullmatch(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::([0-9]{1,5}))?", authority)
    if match is None or not match[1]:
        raise ValueError(f"must name a host, got {ascii(authority)[:80]}")
    port = int(match[2]) if match[2] else DEFAULT_PORT
    if not 1 <= port <= 65_535:
        raise ValueError(f"must have a port from 1 to 65535, got {port}")
    return _host(match[1]), port


def _host(text: str) -> str:
    if text.startswith("["):
        try:
            return str(ipaddress.IPv6Address(text[1:-1].partition("%")[0] if "%" not in text else ""))
        except ValueError as error:
            raise ValueError(f"must have an IPv6 address in brackets, got {ascii(text)[:80]}") from error
    try:
        host = text.encode("idna").decode().lower() if not text.isascii() else text.lower()
    except UnicodeError as error:
        raise ValueError(f"must name a host, got {ascii(text)[:80]}") from error
    host = host.removesuffix(".")
    if not _HOST.fullmatch(host):
        raise ValueError(f"must name a host, got {ascii(text)[:80]}")
    if _NUMBER.fullmatch(host.rpartition(".")[2]):
        # Resolvers read 0177.1, 0x7f000001 and 2130706433 as 127.0.0.1, which no list of hosts means.
        try:
            return str(ipaddress.IPv4Address(host))
        except ValueError as error:
            raise ValueError(
                f"must name a host or a dotted IPv4 address, got {ascii(text)[:80]}, a number for an address"
            ) from error
    return host
