"""Who may ask, by what a request says of itself. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from node.core.addresses import is_address

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

_PREFIX = re.compile(r"(/[A-Za-z0-9_.~-]+)+")


def name_of(host: str) -> str:
    """Return the name or address in a `Host` header, without the port; empty if malformed."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def host_allowed(host: str, names: Collection[str]) -> bool:
    """Return whether a request for this `Host` may be meant for this server.

    A page from elsewhere can point its own name at this machine (DNS rebinding), and the browser
    then lets it read our answers. Such a page has a name; an address cannot be pointed anywhere.
    """
    name = name_of(host).rstrip(".")
    return bool(name) and (is_address(name) or name in names)


def same_origin(headers: Mapping[str, str]) -> bool:
    """Return whether a request was not made by a page from elsewhere.

    Browsers send `Sec-Fetch-Site`, and older ones `Origin`; programs that are no browser send
    neither, and act for nobody else.
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site in {"same-origin", "none"}
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc == headers.get("host", "")


def path_of_cookie(prefix: str) -> str:
    """Return the path for which a cookie is set, of the prefix that a proxy names."""
    return prefix + "/" if _PREFIX.fullmatch(prefix) else "/"
