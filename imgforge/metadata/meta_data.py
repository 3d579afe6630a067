"""`meta-data/`, but for the network interfaces: what an instance answers with.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-categories.html
"""

import json
import re
from collections.abc import Iterator

from imgforge.metadata.event import Credentials, EventState, MaintenanceEvent, SpotAction
from imgforge.metadata.instance import Instance
from imgforge.metadata.leaf import Leaf, json_text, same
from imgforge.metadata.options import Access

_BELOW = "meta-data/"


def meta_data_leaves(instance: Instance) -> Iterator[Leaf]:
    """Yield what stands below `meta-data/`, without `network/`."""
    texts = (*_identity(instance), *_names(instance), *_place(instance), *_what_happens(instance))
    yield from (same(_BELOW + path, text) for path, text in texts)
    yield from _numbered(instance)
    yield from _role(instance)


def _identity(instance: Instance) -> Iterator[tuple[str, str]]:
    yield "ami-id", instance.image_id
    yield "ami-launch-index", str(instance.launch_index)
    yield "ami-manifest-path", instance.manifest_path
    yield "instance-action", instance.instance_action
    yield "instance-id", instance.instance_id
    yield "instance-life-cycle", instance.life_cycle.value
    yield "instance-type", instance.instance_type
    yield "metrics/vhostmd", '<?xml version="1.0" encoding="UTF-8"?>'
    yield "profile", "default-hvm"
    yield "reservation-id", instance.reservation_id
    yield "security-groups", "\n".join(instance.security_groups)
    yield "system", instance.system
    optional = {
        "ancestor-ami-ids": "\n".join(instance.ancestor_ami_ids),
        "kernel-id": instance.kernel_id,
        "product-codes": "\n".join(instance.product_codes),
        "ramdisk-id": instance.ramdisk_id,
    }
    yield from ((path, text) for path, text in optional.items() if text)


def _names(instance: Instance) -> Iterator[tuple[str, str]]:
    yield "hostname", instance.hostname
    yield "local-hostname", instance.hostname
    yield "local-ipv4", instance.local_ipv4
    yield "mac", instance.mac_address.lower()
    if instance.ipv6s:
        yield "ipv6", instance.ipv6s[0]
    if instance.public_ipv4:
        yield "public-hostname", instance.public_name(instance.public_ipv4)
        yield "public-ipv4", instance.public_ipv4


def _place(instance: Instance) -> Iterator[tuple[str, str]]:
    yield "placement/availability-zone", instance.zone
    yield "placement/availability-zone-id", instance.zone_id
    yield "placement/region", instance.region
    yield "services/domain", instance.domain
    yield "services/partition", instance.partition
    placement = instance.placement
    if placement.group_name:
        yield "placement/group-name", placement.group_name
    if placement.host_id:
        yield "placement/host-id", placement.host_id
    if placement.partition_number is not None:
        yield "placement/partition-number", str(placement.partition_number)


def _what_happens(instance: Instance) -> Iterator[tuple[str, str]]:
    active = [e for e in instance.maintenance_events if e.state is EventState.ACTIVE]
    past = [e for e in instance.maintenance_events if e.state is not EventState.ACTIVE]
    yield "events/maintenance/history", json_text([_event(event) for event in past])
    yield "events/maintenance/scheduled", json_text([_event(event) for event in active])
    if instance.rebalance_notice_time:
        notice = {"noticeTime": instance.rebalance_notice_time}
        yield "events/recommendations/rebalance", json.dumps(notice)
    if instance.spot_notice is not None:
        action, time = instance.spot_notice.action, instance.spot_notice.time
        yield "spot/instance-action", json.dumps({"action": action.value, "time": time})
        if action is SpotAction.TERMINATE:
            yield "spot/termination-time", time
    if instance.target_lifecycle_state is not None:
        yield "autoscaling/target-lifecycle-state", instance.target_lifecycle_state.value


def _event(event: MaintenanceEvent) -> dict[str, str]:
    fields = {
        "NotBefore": event.not_before,
        "Code": event.code.value,
        "Description": event.description,
        "EventId": event.event_id,
        "NotAfter": event.not_after,
        "NotBeforeDeadline": event.not_before_deadline,
        "State": event.state.value,
    }
    return {name: text for name, text in fields.items() if text}


def _numbered(instance: Instance) -> Iterator[Leaf]:
    """Yield what has a number or a name of the instance's own in its path."""
    folder = _BELOW + "block-device-mapping/"
    for name, device in instance.block_devices.items():
        yield Leaf(folder + re.sub(r"[0-9]+$", "N", name), folder + name, device)
    for index, line in enumerate(instance.public_keys.values()):
        path = _BELOW + "public-keys/{}/openssh-key"
        yield Leaf(path.format("N"), path.format(index), line.rstrip("\n") + "\n")
    for folder, placeholder, texts in (
        ("elastic-gpus/associations", "elastic-gpu-id", instance.elastic_gpus),
        ("elastic-inference/associations", "eia-id", instance.elastic_inference),
        ("tags/instance", "key", _shown_tags(instance)),
    ):
        for name, text in texts.items():
            yield Leaf(f"{_BELOW}{folder}/{placeholder}", f"{_BELOW}{folder}/{name}", text)


def _shown_tags(instance: Instance) -> dict[str, str]:
    shown = instance.options.instance_metadata_tags is Access.ENABLED
    return instance.tags if shown else {}


def _role(instance: Instance) -> Iterator[Leaf]:
    folder = _BELOW + "identity-credentials/ec2/"
    about = {
        "Code": "Success",
        "LastUpdated": instance.pending_time,
        "AccountId": instance.account_id,
    }
    yield same(folder + "info", json_text(about))
    yield same(folder + "security-credentials/ec2-instance", _keys(instance, Credentials()))
    role = instance.iam_role
    if role is None:
        return
    where = f"arn:{instance.partition}:iam::{instance.account_id}:instance-profile"
    info = {
        "Code": "Success",
        "LastUpdated": role.credentials.last_updated or instance.pending_time,
        "InstanceProfileArn": f"{where}/{role.profile or role.name}",
        "InstanceProfileId": role.profile_id,
    }
    yield same(_BELOW + "iam/info", json_text(info))
    path = _BELOW + "iam/security-credentials/"
    yield Leaf(path + "role-name", path + role.name, _keys(instance, role.credentials))


def _keys(instance: Instance, keys: Credentials) -> str:
    return json_text(
        {
            "Code": "Success",
            "LastUpdated": keys.last_updated or instance.pending_time,
            "Type": "AWS-HMAC",
            "AccessKeyId": keys.access_key_id,
            "SecretAccessKey": keys.secret_access_key,
            "Token": keys.token,
            "Expiration": keys.expiration,
        }
    )
