"""EC2's rules of registering an image: each with its source and the error that breaking it gives.

Sources: EC2 API Reference (actions, data types, error codes), EC2 User Guide, and the guide to
Linux AMIs ("Guide") by its sections.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """What a broken rule means: EC2 refuses, nothing boots, it is no good, or is worth a word."""

    REFUSED = "refused"
    BROKEN = "broken"
    WARNED = "warned"
    NOTED = "noted"


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule: its id, where it is written, and EC2's error code, "" for what EC2 takes."""

    id: str
    source: str
    code: str
    severity: Severity = Severity.REFUSED


_API = "EC2 API"
_DEVICES = "InvalidBlockDeviceMapping"
_LIMITS = "EC2 API, EbsBlockDevice"

_ROWS = (
    Rule("name", f"{_API}, RegisterImage: Name", "InvalidAMIName.Malformed"),
    Rule("description", f"{_API}, RegisterImage: Description", "InvalidParameterValue"),
    Rule("tags", "EC2 User Guide, Tag restrictions", "InvalidParameterValue"),
    Rule(
        "virtualization-type", f"{_API}, RegisterImage: VirtualizationType", "InvalidParameterValue"
    ),
    Rule("kernel-id", "Guide, User Provided Kernels", "InvalidParameterCombination"),
    Rule("kernel-missing", "Guide, User Provided Kernels", "", Severity.WARNED),
    Rule("kernel-bits", "Guide, Limitations of PV-GRUB", "InvalidParameterCombination"),
    Rule("kernel-region", "Guide, Amazon PV-GRUB Kernel Image IDs", "InvalidAMIID.NotFound"),
    Rule("ramdisk-id", "Guide, Limitations of PV-GRUB", "InvalidParameterCombination"),
    Rule("ena-support", f"{_API}, RegisterImage: EnaSupport", "InvalidParameterCombination"),
    Rule(
        "sriov-net-support",
        f"{_API}, RegisterImage: SriovNetSupport",
        "InvalidParameterCombination",
    ),
    Rule("boot-mode", "EC2 User Guide, AMI boot modes", "InvalidParameterCombination"),
    Rule("tpm-support", f"{_API}, RegisterImage: TpmSupport", "InvalidParameterCombination"),
    Rule("root-device-name", "EC2 User Guide, Device names", _DEVICES),
    Rule("root-device", f"{_API}, RegisterImage: RootDeviceName", _DEVICES),
    Rule("device-name", "EC2 User Guide, Device names", _DEVICES),
    Rule("device", f"{_API}, BlockDeviceMapping", _DEVICES),
    Rule("virtual-name", f"{_API}, BlockDeviceMapping: VirtualName", _DEVICES),
    Rule("snapshot", f"{_API}, EbsBlockDevice: SnapshotId", "InvalidSnapshot.NotFound"),
    Rule("snapshot-state", f"{_API}, EbsBlockDevice: SnapshotId", "IncorrectState"),
    Rule("encrypted", f"{_API}, EbsBlockDevice: Encrypted", _DEVICES),
    Rule("kms-key-id", f"{_API}, EbsBlockDevice: KmsKeyId", "InvalidParameterDependency"),
    Rule("volume-type", "EBS User Guide, Volume types", _DEVICES),
    Rule("volume-size", f"{_LIMITS}: VolumeSize", _DEVICES),
    Rule("iops", f"{_LIMITS}: Iops", _DEVICES),
    Rule("throughput", f"{_LIMITS}: Throughput", _DEVICES),
)
RULES: Mapping[str, Rule] = {rule.id: rule for rule in _ROWS}
