"""What a host's name or address says about who can reach it."""

from __future__ import annotations

import ipaddress


def is_address(name: str) -> bool:
    """Return whether this is an IP address, not a name."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Return whether a name or address is this machine's own, which no other can reach."""
    if is_address(host):
        return ipaddress.ip_address(host).is_loopback
    return host.lower().rstrip(".") == "localhost"
