"""The tree of one instance: folders and texts, in the field's own form.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-categories.html
A listing is made from the tree, so it names only what is answered: cloud-init tries again for
minutes when something listed then answers 404.
"""

import json
from collections.abc import Mapping
from typing import Union

from imgforge.metadata.instance import Instance

Node = Union[str, bytes, Mapping[str, "Node"], "Keys"]

# What http://169.254.169.254/ lists on EC2; all of them answer alike here.
VERSIONS = (
    "1.0",
    "2007-01-19",
    "2007-03-01",
    "2007-08-29",
    "2007-10-10",
    "2007-12-15",
    "2008-02-01",
    "2008-09-01",
    "2009-04-04",
    "2011-01-01",
    "2011-05-01",
    "2012-01-12",
    "2014-02-25",
    "2014-11-05",
    "2015-10-20",
    "2016-04-19",
    "2016-06-30",
    "2016-09-02",
    "2018-03-28",
    "2018-08-17",
    "2018-09-24",
    "2019-10-01",
    "2020-10-27",
    "2021-01-03",
    "2021-03-23",
    "2021-07-15",
    "2022-09-24",
    "latest",
)


class Keys(dict[str, Mapping[str, str]]):
    """`public-keys/`: folders by index, listed as `0=NAME` and not as `0/`."""

    def __init__(self, public_keys: Mapping[str, str]) -> None:
        super().__init__(
            (str(index), {"openssh-key": line.rstrip("\n") + "\n"})
            for index, line in enumerate(public_keys.values())
        )
        self.names = tuple(public_keys)


def instance_tree(instance: Instance) -> Mapping[str, Node]:
    """Return everything below `/VERSION/`."""
    user_data = {} if instance.user_data is None else {"user-data": instance.user_data}
    return {"dynamic": _dynamic(instance), "meta-data": _meta_data(instance), **user_data}


def find(tree: Mapping[str, Node], path: str) -> Node | None:
    """Return what stands at `path` below `tree`, or None.

    Folders are found with and without a slash at the end, texts only without, as on EC2.
    """
    node: Node = tree
    *folders, last = path.split("/")
    for part in [*folders, last] if last else folders:
        if not isinstance(node, Mapping) or part not in node:
            return None
        node = node[part]
    return node if last or isinstance(node, Mapping) else None


def listing(folder: Mapping[str, Node]) -> str:
    """Return what a folder answers: a name a line, folders with a slash at their end."""
    if isinstance(folder, Keys):
        return "\n".join(f"{index}={name}" for index, name in enumerate(folder.names))
    return "\n".join(
        f"{name}/" if isinstance(node, Mapping) else name for name, node in folder.items()
    )


def _meta_data(instance: Instance) -> Mapping[str, Node]:
    host_name = instance.hostname
    keys = {"public-keys": Keys(instance.public_keys)} if instance.public_keys else {}
    return {
        "ami-id": instance.image_id,
        "ami-launch-index": "0",
        "ami-manifest-path": "(unknown)",
        "block-device-mapping": dict(instance.block_devices),
        "hostname": host_name,
        "instance-action": "none",
        "instance-id": instance.instance_id,
        "instance-life-cycle": "on-demand",
        "instance-type": instance.instance_type,
        "local-hostname": host_name,
        "local-ipv4": instance.local_ipv4,
        "mac": instance.mac_address,
        "network": {
            "interfaces": {"macs": {instance.mac_address.lower(): _interface(instance)}},
        },
        "placement": {
            "availability-zone": instance.availability_zone,
            "region": instance.region,
        },
        "profile": "default-hvm",
        **keys,
        "reservation-id": instance.reservation_id,
        "security-groups": "\n".join(instance.security_groups),
        "services": {"domain": "amazonaws.com", "partition": "aws"},
    }


def _interface(instance: Instance) -> Mapping[str, Node]:
    suffix = instance.instance_id.removeprefix("i-")
    return {
        "device-number": "0",
        "interface-id": f"eni-{suffix}",
        "local-hostname": instance.hostname,
        "local-ipv4s": instance.local_ipv4,
        "mac": instance.mac_address.lower(),
        "owner-id": instance.account_id,
        "security-groups": "\n".join(instance.security_groups),
        # What DHCP hands out: EC2's own subnets are smaller, a false mask would be worse.
        "subnet-ipv4-cidr-block": "169.0.0.0/8",
    }


def _dynamic(instance: Instance) -> Mapping[str, Node]:
    document = {
        "accountId": instance.account_id,
        "architecture": "x86_64",
        "availabilityZone": instance.availability_zone,
        "billingProducts": None,
        "devpayProductCodes": None,
        "marketplaceProductCodes": None,
        "imageId": instance.image_id,
        "instanceId": instance.instance_id,
        "instanceType": instance.instance_type,
        "kernelId": None,
        "pendingTime": instance.pending_time,
        "privateIp": instance.local_ipv4,
        "ramdiskId": None,
        "region": instance.region,
        "version": "2017-09-30",
    }
    return {"instance-identity": {"document": json.dumps(document, indent=2)}}
