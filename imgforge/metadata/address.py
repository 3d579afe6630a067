"""The forms of an interface's addresses, and the rule that a text breaks."""

import re
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from imgforge.errors import FieldError

_MAC = re.compile(r"[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){5}")
_CIDR = re.compile(r"[^/%]+/[0-9]{1,3}")


def require_mac(text: str, *place: str | int) -> None:
    """Raise FieldError for no MAC address as EC2 writes one."""
    if not _MAC.fullmatch(text):
        raise FieldError(f"a MAC address is as 02:00:00:00:00:01: {text!r}", *place)


def require_ipv4s(texts: Iterable[str], *place: str | int) -> None:
    """Raise FieldError for the first that is no IPv4 address."""
    for number, text in enumerate(texts):
        require_ipv4(text, *place, number)


def require_ipv4(text: str, *place: str | int) -> None:
    """Raise FieldError for no IPv4 address."""
    if not _reads(text, IPv4Address):
        raise FieldError(f"an IPv4 address is as 172.31.16.15: {text!r}", *place)


def require_ipv6s(texts: Iterable[str], *place: str | int) -> None:
    """Raise FieldError for the first that is no IPv6 address; one has no zone (%eth0)."""
    for number, text in enumerate(texts):
        if "%" in text or not _reads(text, IPv6Address):
            raise FieldError(f"an IPv6 address is as 2001:db8::7: {text!r}", *place, number)


def require_ipv4_networks(texts: Iterable[str], *place: str | int) -> None:
    """Raise FieldError for the first that is no IPv4 network in CIDR form."""
    for number, text in enumerate(texts):
        require_ipv4_network(text, *place, number)


def require_ipv4_network(text: str, *place: str | int) -> None:
    """Raise FieldError for no IPv4 network in CIDR form."""
    if not (_CIDR.fullmatch(text) and _reads(text, IPv4Network)):
        raise FieldError(f"an IPv4 network is as 172.31.16.0/20: {text!r}", *place)


def require_ipv6_networks(texts: Iterable[str], *place: str | int) -> None:
    """Raise FieldError for the first that is no IPv6 network in CIDR form."""
    for number, text in enumerate(texts):
        if not (_CIDR.fullmatch(text) and _reads(text, IPv6Network)):
            raise FieldError(f"an IPv6 network is as 2001:db8::/64: {text!r}", *place, number)


def _reads(text: str, read: Callable[[str], object]) -> bool:
    try:
        read(text)
    except ValueError:
        return False
    return True
