"""Where a request comes from: no page of another host is let in.

A browser on this machine sends what any page asks of it, to the loopback, too, and a name of that
page's may lead here (DNS rebinding). What tells them apart is what a browser says itself: Host,
Origin (RFC 6454) and Sec-Fetch-Site (W3C, Fetch Metadata Request Headers).
"""

import functools
import ipaddress
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

_HOST = re.compile(r"(?P<name>\[[0-9a-fA-F:.]+\]|[^\[\]:/@\s]+)(:[0-9]{0,5})?")
_OWN_SITES = {"none", "same-origin"}


def foreign_origin(headers: Mapping[str, str]) -> str:
    """Return what of a request says that another host's page sent it; "" where nothing does.

    `headers` have lower-case names.
    """
    host = headers.get("host")
    if host is not None and not is_loopback(host):
        return "its Host is not of the loopback"
    origin = headers.get("origin")
    if origin is not None and not _is_loopback_url(origin):
        return "its Origin is another host's"
    if headers.get("sec-fetch-site", "none").lower() not in _OWN_SITES:
        return "another site's page sent it (Sec-Fetch-Site)"
    return ""


@functools.lru_cache(256)
def is_loopback(host: str) -> bool:
    """Tell whether a host, with a port or none, is this one: by address, or as (*.)localhost.

    Names under localhost stand for buckets, and lead nowhere else (RFC 6761, 6.3).
    """
    match = _HOST.fullmatch(host)
    if match is None:
        return False
    name = match["name"].lower().strip("[]")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _is_loopback_url(origin: str) -> bool:
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and is_loopback(parts.netloc)
