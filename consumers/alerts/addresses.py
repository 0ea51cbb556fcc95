"""Which addresses a webhook may be called at: public ones, and private ones where that is meant.

A URL in the settings is its operator's word. What it must not do is lead elsewhere: a public name that begins to
resolve to a private address (DNS rebinding), or to a cloud's metadata service. So a name is resolved once, checked, and
the very address that was checked is connected to. Source: Standard Webhooks, on server-side request forgery.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
PRIVATE_NAMES = (".localhost", ".local", ".internal", ".svc", ".home.arpa")
"""Ends of names that are nobody's on the internet."""
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
"""All IPv6 that the internet routes. Outside of it lie ways back into a network: IPv4 in other wrappings (NAT64 of
one's own, RFC 8215; translated and compatible addresses), site-local, segment routing."""


class Forbidden(OSError):
    """An address that the webhook may not be called at; the message names it and the way out."""


def allowed(host: str, address: str, allow_private: bool | None) -> bool:
    """Whether ``host``, which resolves to ``address``, may be called there (see alerts.webhooks[].allow_private)."""
    seen = _seen(ipaddress.ip_address(address.partition("%")[0]))
    if seen.is_multicast or seen.is_unspecified:
        return False
    if allow_private or _is_public(seen):
        return True
    return allow_private is None and not seen.is_link_local and _plainly_private(host)


async def resolve(host: str, port: int, allow_private: bool | None) -> list[str]:
    """The addresses of ``host`` that may be called, in the resolver's order. Raises Forbidden, or OSError.

    One address that may not be called forbids them all: a name that leads to both is not to be trusted.
    """
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
    for address in addresses:
        if not allowed(host, address, allow_private):
            raise Forbidden(f"{host} is at {address}, which is not public; if that is meant, set allow_private: true")
    return addresses


def _plainly_private(host: str) -> bool:
    """Whether the host, as it is written, can only mean a private address."""
    try:
        return not _is_public(_seen(ipaddress.ip_address(host)))
    except ValueError:
        name = host.rstrip(".").lower()
        return "." not in name or name.endswith(PRIVATE_NAMES)


def _is_public(seen: Address) -> bool:
    return seen.is_global and (seen.version == 4 or seen in _GLOBAL_UNICAST)


def _seen(address: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for, if it does."""
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
        return address.ipv4_mapped or address.sixtofour or address
    return address
