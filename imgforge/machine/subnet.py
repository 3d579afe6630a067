"""The network that QEMU's user networking (slirp) makes for a guest."""

from dataclasses import dataclass
from ipaddress import ip_address, ip_network


@dataclass(frozen=True, slots=True)
class Subnet:
    """A network in CIDR form, its router and DNS server, and the address of a dom0 in it."""

    network: str
    router: str
    dns: str
    dom0: str


# slirp hands connections over, and answers ARP, only for addresses of its own network: so that must
# hold the guest's address and 169.254.169.254 too. This is the smallest one with private addresses
# (RFC 1918) in it: the guest gets one of EC2's default VPC, 172.31.0.0/16, where the router has
# the first address and the DNS server the second.
_CLOSED = Subnet("168.0.0.0/5", "172.31.0.1", "172.31.0.2", "172.31.0.3")
# A guest that is let out would not reach the public addresses among those, so it gets a smaller
# network, and an odd address.
_OPEN = Subnet("169.0.0.0/8", "169.254.169.1", "169.254.169.253", "169.254.169.252")
OPEN_ADDRESS = "169.0.2.15"
"""The address of a guest that is let out."""


def subnet_of(address: str) -> Subnet:
    """Return the network of a guest with this address. Raises ValueError where there is none."""
    for subnet in (_OPEN, _CLOSED):
        if ip_address(address) in ip_network(subnet.network):
            return subnet
    raise ValueError(f"no network for a guest that has the address {address}")
