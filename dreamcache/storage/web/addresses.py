"""Which addresses a photo may be read from: public ones, private ones of named networks, metadata services never.

    resolve("cdn.example", 443, seconds=5) -> [IPv4Address("203.0.113.7")]
    refusal(IPv6Address("::ffff:169.254.169.254"), ()) -> "169.254.169.254, which belongs to machines' own services"

Knows addresses; connects to none.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Callable, Sequence

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolve = Callable[[str, int, float], list[Address]]
"""(host, port, seconds) -> its addresses. Raises OSError, TimeoutError."""

_NEVER: tuple[Network, ...] = tuple(
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/8",
        "169.254.0.0/16",  # metadata of AWS, Google, Azure, Tencent; credentials of ECS and EKS
        "100.100.100.200/32",  # Alibaba's metadata
        "168.63.129.16/32",  # Azure's own service, a public address
        "192.0.0.192/32",  # Oracle's metadata
        "224.0.0.0/4",
        "240.0.0.0/4",
        "::/128",
        "fe80::/10",
        "fec0::/10",
        "ff00::/8",
        "fd00:ec2::/32",  # AWS' metadata and credentials of EKS
        "fd20:ce::254/128",  # Google's metadata
        "64:ff9b:1::/48",  # translated into addresses that only the network knows
        "2001::/32",  # Teredo: the address inside is obfuscated
    )
)
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
_COMPATIBLE = ipaddress.IPv6Network("::/96")
_TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")
_TRANSLATED_OLD = ipaddress.IPv6Network("::ffff:0:0:0/96")
_SIX_TO_FOUR = ipaddress.IPv6Network("2002::/16")
_ISATAP = (0x0000_5EFE, 0x0200_5EFE)
_LOOPBACK = ipaddress.IPv6Address("::1")
_LOW_32 = 0xFFFF_FFFF


def resolve(host: str, port: int, seconds: float) -> list[Address]:
    """The addresses of a host, by the system's resolver, which has no time limit of its own.

    Raises OSError where it has none, TimeoutError.
    """
    answer: list[Address] = []
    failure: list[OSError | UnicodeError] = []

    def look_up() -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            answer.extend(ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found)
        except (OSError, UnicodeError) as error:
            failure.append(error)

    thread = threading.Thread(target=look_up, name="dreamcache-resolve", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise TimeoutError(f"no answer from the name service within {seconds:.0f} s")
    if failure:
        raise OSError(str(failure[0])) from failure[0]
    return list(dict.fromkeys(answer))


def refusal(address: Address, networks: Sequence[Network]) -> str | None:
    """Why an address may not be asked, to follow "got"; None for one that may. networks: private ones that may be."""
    meant = _meant(address)
    if meant is None or any(meant in network for network in _NEVER if network.version == meant.version):
        return f"{address}, which belongs to machines' own services and is never asked"
    if any(meant in network for network in networks if network.version == meant.version):
        return None
    if not meant.is_global:
        return f"{address}, which is private and outside the networks that the host's entry names"
    return None


def _meant(address: Address) -> Address | None:
    """The address that a packet reaches in the end: that of IPv4 inside IPv6 forms. None for unused forms."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    value = int(address)
    low = ipaddress.IPv4Address(value & _LOW_32)
    if any(address in network for network in (_MAPPED, _TRANSLATED, _TRANSLATED_OLD)):
        return low
    if address in _COMPATIBLE and address != _LOOPBACK:
        return None
    if address in _SIX_TO_FOUR:
        return ipaddress.IPv4Address(value >> 80 & _LOW_32)
    if value >> 32 & _LOW_32 in _ISATAP:
        return low
    return address
