"""For which names in a request's Host a service answers."""

from enum import StrEnum
from ipaddress import ip_address
from urllib.parse import urlsplit

_NAMES = {"localhost", "instance-data", "instance-data.ec2.internal"}


class Hosts(StrEnum):
    """Any, as EC2; or those that are this host's own.

    A page in a browser may let its own name stand for 127.0.0.1 from one moment to the next, and
    then read what answers there (DNS rebinding). The Host tells that name.
    """

    ANY = "any"
    LOCAL = "local"

    def allow(self, host: str) -> bool:
        """Tell whether a Host, as in "127.0.0.1:8080", is an address or a name of the service.

        A request without one ("") is no browser's. Never raises.
        """
        if self is Hosts.ANY or not host:
            return True
        try:
            name = urlsplit(f"//{host}").hostname or ""
            if name.removesuffix(".") in _NAMES:
                return True
            ip_address(name)
        except ValueError:
            return False
        return True
