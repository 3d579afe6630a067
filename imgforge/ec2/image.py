"""Images and snapshots as EC2 tells of them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

from imgforge.ec2.problem import no_answer

_ID = re.compile(r"[a-z]+-[0-9a-zA-Z]{1,40}")
_MOST_GIB = 2**20
Told = Mapping[str, Any]
"""An answer of EC2's by the names of its API; times are ISO 8601 with milliseconds and Z."""


@dataclass(frozen=True, slots=True)
class Image:
    """An image; `told` is all that DescribeImages says of it (EC2 API, data type Image)."""

    image_id: str
    name: str
    state: str
    owner_id: str
    told: Told

    @classmethod
    def of(cls, told: Told) -> Self:
        """Return the image of an answer. Raises CloudError for what is none."""
        image_id, state = told.get("ImageId"), told.get("State")
        if not is_id(image_id) or not state:
            raise no_answer("Images", "an image without an id or a state", service="EC2")
        return cls(
            image_id=str(image_id),
            name=str(told.get("Name") or ""),
            state=str(state),
            owner_id=str(told.get("OwnerId") or ""),
            told=plain(told),
        )

    def text(self, name: str) -> str:
        """Return what EC2 tells under a name, such as KernelId; "" where it tells nothing."""
        return str(self.told.get(name) or "")

    @property
    def tags(self) -> dict[str, str]:
        """The tags that the caller sees: another account's are not shown."""
        return tags_of(self.told)

    @property
    def is_ebs(self) -> bool:
        """Whether its root is an EBS volume; else it is a bundle in S3."""
        return self.text("RootDeviceType") == "ebs"

    @property
    def is_public(self) -> bool:
        """Whether everybody may launch it."""
        return bool(self.told.get("Public"))

    @property
    def snapshots(self) -> dict[str, str]:
        """The snapshots that its volumes are made from, by their device's name."""
        devices: Sequence[Told] = self.told.get("BlockDeviceMappings") or ()
        return {
            str(device.get("DeviceName", "")): str(device["Ebs"]["SnapshotId"])
            for device in devices
            if device.get("Ebs", {}).get("SnapshotId")
        }

    @property
    def root_snapshot_id(self) -> str:
        """The snapshot its root volume is made from; "" where there is none."""
        return self.snapshots.get(self.text("RootDeviceName"), "")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot; `told` is all that DescribeSnapshots says of it (EC2 API, data type Snapshot)."""

    snapshot_id: str
    state: str
    owner_id: str
    volume_size_gib: int
    is_encrypted: bool
    told: Told

    @classmethod
    def of(cls, told: Told) -> Self:
        """Return the snapshot of an answer. Raises CloudError for what is none."""
        snapshot_id, state = told.get("SnapshotId"), told.get("State")
        if not is_id(snapshot_id) or not state:
            raise no_answer("Snapshots", "a snapshot without an id or a state", service="EC2")
        size_gib = int(told.get("VolumeSize") or 0)
        if not 0 <= size_gib <= _MOST_GIB:
            found = f"a size of {size_gib} GiB"
            raise no_answer(f"Snapshot {snapshot_id}", found, service="EC2")
        return cls(
            snapshot_id=str(snapshot_id),
            state=str(state),
            owner_id=str(told.get("OwnerId") or ""),
            volume_size_gib=size_gib,
            is_encrypted=bool(told.get("Encrypted")),
            told=plain(told),
        )

    def text(self, name: str) -> str:
        """Return what EC2 tells under a name, such as Description; "" where it tells nothing."""
        return str(self.told.get(name) or "")

    @property
    def tags(self) -> dict[str, str]:
        """The tags that the caller sees: another account's are not shown."""
        return tags_of(self.told)


def is_id(told: object) -> bool:
    """Tell whether this is an id such as ami-… or snap-…; files are named after some."""
    return isinstance(told, str) and _ID.fullmatch(told) is not None


def tags_of(told: Told) -> dict[str, str]:
    """Return a resource's tags, by key."""
    listed: Sequence[Told] = told.get("Tags") or ()
    return {str(tag.get("Key", "")): str(tag.get("Value", "")) for tag in listed}


def tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Return tags as EC2 takes them, by ascending key."""
    return [{"Key": key, "Value": tags[key]} for key in sorted(tags)]


def plain(told: Any) -> Any:
    """Return an answer in which times are text, as JSON has it."""
    match told:
        case datetime():
            moment = told.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")
            return f"{moment[:-3]}Z"
        case Mapping():
            return {name: plain(one) for name, one in told.items() if name != "ResponseMetadata"}
        case list() | tuple():
            return [plain(one) for one in told]
        case _:
            return told
