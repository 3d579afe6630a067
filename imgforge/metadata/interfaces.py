"""`network/interfaces/macs/`: what an instance's network interfaces answer with."""

from collections.abc import Iterator

from imgforge.metadata.instance import Instance, Interface
from imgforge.metadata.leaf import Leaf

_FOLDER = "meta-data/network/interfaces/macs"


def interface_leaves(instance: Instance) -> Iterator[Leaf]:
    """Yield the leaves of every interface."""
    for interface in instance.interfaces:
        folder = f"{_FOLDER}/{interface.mac_address.lower()}"
        for name, text in _answers(instance, interface):
            yield Leaf(f"{_FOLDER}/mac/{name}", f"{folder}/{name}", text)
        for public, private in zip(interface.public_ipv4s, interface.local_ipv4s, strict=False):
            yield Leaf(
                f"{_FOLDER}/mac/ipv4-associations/public-ip",
                f"{folder}/ipv4-associations/{public}",
                private,
            )


def _answers(instance: Instance, interface: Interface) -> Iterator[tuple[str, str]]:
    yield "device-number", str(interface.device_number)
    yield "interface-id", instance.interface_id(interface)
    yield "mac", interface.mac_address.lower()
    yield "owner-id", instance.account_id
    yield "security-groups", "\n".join(instance.security_groups)
    yield "security-group-ids", "\n".join(instance.security_group_ids)
    yield "subnet-id", interface.subnet_id or "subnet-0123456789abcdef0"
    yield "vpc-id", interface.vpc_id or "vpc-0123456789abcdef0"
    yield "subnet-ipv4-cidr-block", interface.subnet_ipv4_cidr_block
    if interface.vpc_ipv4_cidr_blocks:
        yield "vpc-ipv4-cidr-block", interface.vpc_ipv4_cidr_blocks[0]
        yield "vpc-ipv4-cidr-blocks", "\n".join(interface.vpc_ipv4_cidr_blocks)
    if interface.local_ipv4s:
        yield "local-hostname", instance.private_name(interface.local_ipv4s[0])
        yield "local-ipv4s", "\n".join(interface.local_ipv4s)
    if interface.public_ipv4s:
        yield "public-hostname", instance.public_name(interface.public_ipv4s[0])
        yield "public-ipv4s", "\n".join(interface.public_ipv4s)
    if interface.ipv6s:
        yield "ipv6s", "\n".join(interface.ipv6s)
        yield "subnet-ipv6-cidr-blocks", "\n".join(interface.subnet_ipv6_cidr_blocks)
        yield "vpc-ipv6-cidr-blocks", "\n".join(interface.vpc_ipv6_cidr_blocks)
    if interface.ipv4_prefixes:
        yield "ipv4-prefix", "\n".join(interface.ipv4_prefixes)
    if interface.ipv6_prefixes:
        yield "ipv6-prefix", "\n".join(interface.ipv6_prefixes)
    if interface.network_card_index is not None:
        yield "network-card", str(interface.network_card_index)
