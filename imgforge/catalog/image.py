"""What an image is made of, in EC2's terms: its choices and its block devices."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from imgforge.image_choice import VolumeType

LOCAL_OWNER_ID = "123456789012"
"""The account that owns what is registered here; the metadata service tells the same one."""


class RootDeviceType(StrEnum):
    """EC2's DeviceType: where the root is."""

    EBS = "ebs"
    INSTANCE_STORE = "instance-store"


@dataclass(frozen=True, slots=True)
class EbsDevice:
    """EC2's EbsBlockDevice. Without a snapshot the volume is blank, and its size is needed."""

    snapshot_id: str | None = None
    volume_size_gib: int | None = None
    volume_type: VolumeType = VolumeType.GP3
    iops: int | None = None
    delete_on_termination: bool = True
    encrypted: bool | None = None
    throughput: int | None = None
    kms_key_id: str | None = None


@dataclass(frozen=True, slots=True)
class BlockDeviceMapping:
    """One device of an instance: exactly one of `ebs`, `virtual_name` and `no_device`."""

    device_name: str
    ebs: EbsDevice | None = None
    virtual_name: str | None = None
    no_device: bool = False

    def to_ec2(self) -> dict[str, Any]:
        """Return it as DescribeImages shows it."""
        if self.ebs is None:
            rest = {"VirtualName": self.virtual_name} if self.virtual_name else {"NoDevice": ""}
            return {"DeviceName": self.device_name, **rest}
        shown = {
            "SnapshotId": self.ebs.snapshot_id,
            "VolumeSize": self.ebs.volume_size_gib,
            "VolumeType": str(self.ebs.volume_type),
            "Iops": self.ebs.iops,
            "Throughput": self.ebs.throughput,
            "KmsKeyId": self.ebs.kms_key_id,
            "DeleteOnTermination": self.ebs.delete_on_termination,
            "Encrypted": bool(self.ebs.encrypted),
        }
        ebs = {key: value for key, value in shown.items() if value is not None}
        return {"DeviceName": self.device_name, "Ebs": ebs}
