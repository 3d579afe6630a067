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
_NOT_PERMITTED = "OperationNotPermitted"
_CONVERTING = "Guide, Converting your Instance Store-Backed AMI"
_LIMITS = "EC2 API, EbsBlockDevice"
_RATIOS = "EBS User Guide, General Purpose and Provisioned IOPS SSD volumes"

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
    Rule(
        "boot-mode-architecture",
        "EC2 User Guide, AMI boot modes: Default boot modes for instance types",
        "",
        Severity.WARNED,
    ),
    Rule("tpm-support", f"{_API}, RegisterImage: TpmSupport", "InvalidParameterCombination"),
    Rule("uefi-data", f"{_API}, RegisterImage: UefiData", "InvalidParameterCombination"),
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
    Rule("iops-ratio", _RATIOS, _DEVICES),
    Rule("throughput", f"{_LIMITS}: Throughput", _DEVICES),
    Rule("throughput-ratio", "EBS User Guide, General Purpose SSD volumes", _DEVICES),
    Rule("name-taken", f"{_API}, RegisterImage: Name", "InvalidAMIName.Duplicate"),
    Rule("billing-code", "Guide, Creating a Linux AMI from a Snapshot", "", Severity.WARNED),
    Rule("image-state", f"{_API}, Error codes", "InvalidAMIID.Unavailable"),
    Rule("copy-partition", f"{_API}, CopyImage: Cross-partition copies", "InvalidParameterValue"),
    Rule("copy-kms-key-id", f"{_API}, CopyImage: KmsKeyId", "InvalidParameterDependency"),
    Rule("copy-key-region", f"{_API}, CopyImage: KmsKeyId", "InvalidParameterValue"),
    Rule("copy-key-spec", f"{_API}, CopyImage: KmsKeyId", "InvalidParameterValue"),
    Rule("copy-key-state", f"{_API}, CopyImage: KmsKeyId", "InvalidParameterValue"),
    Rule("copy-encrypted", f"{_API}, CopyImage: Encrypted", "InvalidParameterCombination"),
    Rule("copy-instance-store", f"{_API}, CopyImage: Encrypted", "InvalidParameterCombination"),
    Rule("copy-storage", "Guide, Copying an AMI: Resource Permissions", "InvalidRequest"),
    Rule("copy-shared-encrypted", "Guide, Copying an AMI: Limits", _NOT_PERMITTED),
    Rule("copy-billing-code", "Guide, Copying an AMI: Limits", _NOT_PERMITTED),
    Rule("copy-limit", "Guide, Copying an AMI: Limit", "ResourceLimitExceeded"),
    Rule("copy-leaves", "Guide, Copying an AMI", "", Severity.NOTED),
    Rule("share-both", f"{_API}, ModifyImageAttribute", "InvalidParameterCombination"),
    Rule("share-nobody", f"{_API}, ModifyImageAttribute", "MissingParameter"),
    Rule("share-whom", f"{_API}, LaunchPermission", "InvalidAMIAttributeItemValue"),
    Rule("share-group", f"{_API}, LaunchPermission: Group", "InvalidParameterValue"),
    Rule("share-disabled", "EC2 User Guide, Disable an AMI", _NOT_PERMITTED),
    Rule("share-product-code", "Guide, Making an AMI Public", _NOT_PERMITTED),
    Rule("share-encrypted", "EC2 User Guide, Make your AMI public", _NOT_PERMITTED),
    Rule("share-default-key", "EC2 User Guide, Share an AMI", _NOT_PERMITTED),
    Rule("share-snapshot-whom", f"{_API}, CreateVolumePermission", "InvalidParameterValue"),
    Rule("share-snapshot-state", "EBS User Guide, Share a snapshot", "IncorrectState"),
    Rule("product-code", "Guide, Paid AMIs", _NOT_PERMITTED),
    Rule("product-code-form", f"{_API}, ModifyImageAttribute", "InvalidProductCode.Malformed"),
    Rule("product-code-public", "Guide, Making an AMI Public", _NOT_PERMITTED),
    Rule("deregister-protected", "EC2 User Guide, Deregister an AMI", _NOT_PERMITTED),
    Rule("deregister-leaves", "Guide, Deregistering Your AMI", "", Severity.NOTED),
    Rule("snapshot-in-use", f"{_API}, DeleteSnapshot", "InvalidSnapshot.InUse"),
    Rule("convert-owner", _CONVERTING, "", Severity.BROKEN),
    Rule("convert-windows", _CONVERTING, "", Severity.BROKEN),
    Rule("convert-layout", _CONVERTING, "", Severity.BROKEN),
    Rule("convert-size", _CONVERTING, "", Severity.BROKEN),
    Rule("convert-fstab", _CONVERTING, "", Severity.BROKEN),
    Rule("convert-fstab-line", _CONVERTING, "", Severity.NOTED),
    Rule("convert-product-codes", _CONVERTING, "", Severity.WARNED),
    Rule("bucket-acl", "S3 User Guide, Object Ownership", "AccessControlListNotSupported"),
    Rule("bucket-region", f"{_API}, RegisterImage: ImageLocation", "InvalidManifest"),
)
RULES: Mapping[str, Rule] = {rule.id: rule for rule in _ROWS}


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule of EC2 that is broken: the rule's id, what was found and what is needed."""

    rule: str
    found: str
    needed: str

    @property
    def source(self) -> str:
        """Where the rule is written."""
        return RULES[self.rule].source

    @property
    def code(self) -> str:
        """EC2's error code; "" for what EC2 takes."""
        return RULES[self.rule].code

    @property
    def severity(self) -> Severity:
        """Whether EC2 refuses."""
        return RULES[self.rule].severity

    def __str__(self) -> str:
        return f"{self.rule}: found {self.found}; {self.needed}"
