"""Which web hosts a catalog's photos may be read from. Knows texts; opens nothing (reading: `storage.web`)."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from dreamcache.core.config.fields import Positive
from dreamcache.core.config.rules import Settings, require
from dreamcache.core.locations import Location
from dreamcache.core.web_url import site_of

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, kw_only=True, slots=True)
class CatalogHost(Settings):
    """A host that https:// photos and masks may be read from; redirects too may lead to named hosts only.

    host: its name, cdn.example or cdn.example:8443, no wildcards. networks: private networks that its addresses may
    lie in, [10.20.0.0/16]; public addresses need none, and those of metadata services are never asked. ca: a PEM file
    or s3:// URI with the certificates that sign the host's, instead of those that the machine trusts. timeout_s: for
    one photo, redirects and retries included.
    """

    host: str
    networks: tuple[str, ...] = ()
    ca: Location | None = None
    timeout_s: Positive = 30.0

    def check(self) -> None:
        try:
            site_of(self.host)
        except ValueError as error:
            raise ValueError(f"host {error}; wildcards are not known: name each host") from error
        for network in self.networks:
            try:
                ipaddress.ip_network(network)
            except ValueError:
                require(False, "networks", "networks such as 10.20.0.0/16 or fd12::/48", network)
        require(self.timeout_s <= 3600, "timeout_s", "at most 3600", self.timeout_s)

    @property
    def site(self) -> str:
        """As `WebUrl.site`."""
        return site_of(self.host)

    @property
    def private(self) -> tuple[Network, ...]:
        """`networks`, parsed."""
        return tuple(ipaddress.ip_network(network) for network in self.networks)


def host_of(site: str, hosts: Sequence[CatalogHost]) -> CatalogHost | None:
    """The entry for a `WebUrl.site`; None where no entry names it."""
    return next((host for host in hosts if host.site == site), None)
