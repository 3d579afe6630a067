"""What the rules of copying, sharing and deregistering ask of an image, its snapshots, a bucket."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from imgforge.catalog.image import RootDeviceType

_LOCAL_DEFAULT_KEY = ":key/00000000-0000-4000-8000-"
_PRODUCT_CODE = re.compile(r"[A-Za-z0-9_-]{1,64}")
Permission = tuple[str, str]
"""Whom a thing is shared with: Group, UserId, OrganizationArn or OrganizationalUnitArn; and who."""


def is_default_key(arn: str | None) -> bool:
    """Tell whether an ARN is that of an account's key for EBS, as this endpoint has them."""
    return arn is not None and _LOCAL_DEFAULT_KEY in arn


@dataclass(frozen=True, slots=True)
class SnapshotFacts:
    """A snapshot: `has_default_key` where the account's own key for EBS encrypts it.

    `is_usable` says whether whoever asks may make volumes of it.
    """

    snapshot_id: str
    owner_id: str
    state: str = "completed"
    is_encrypted: bool = False
    has_default_key: bool = False
    is_usable: bool = True

    @classmethod
    def of_ec2(
        cls, shown: Mapping[str, Any], *, default_keys: Collection[str] = ()
    ) -> "SnapshotFacts":
        """Return what DescribeSnapshots shows; `default_keys` are ARNs of alias/aws/ebs."""
        key = shown.get("KmsKeyId")
        return cls(
            snapshot_id=shown["SnapshotId"],
            owner_id=shown.get("OwnerId", ""),
            state=shown.get("State", "completed"),
            is_encrypted=bool(shown.get("Encrypted")),
            has_default_key=key in default_keys or is_default_key(key),
        )


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """An image of a region; `state` is as EC2 shows it, `protection` its own deregistration's."""

    image_id: str
    owner_id: str
    region: str
    root_device_type: str = RootDeviceType.EBS
    state: str = "available"
    is_public: bool = False
    protection: str = "disabled"
    image_location: str = ""
    platform_details: str = "Linux/UNIX"
    product_codes: tuple[str, ...] = ()
    snapshots: tuple[SnapshotFacts, ...] = ()

    @classmethod
    def of_ec2(
        cls,
        shown: Mapping[str, Any],
        *,
        region: str,
        snapshots: Iterable[Mapping[str, Any]] = (),
        default_keys: Collection[str] = (),
    ) -> "ImageFacts":
        """Return what DescribeImages shows, with what DescribeSnapshots shows of its snapshots.

        One of the mapping that is not among `snapshots` is another's, and not to be used.
        """
        seen = {one["SnapshotId"]: one for one in snapshots}
        return cls(
            image_id=shown["ImageId"],
            owner_id=shown.get("OwnerId", ""),
            region=region,
            root_device_type=shown.get("RootDeviceType", RootDeviceType.EBS),
            state=shown.get("State", "available"),
            is_public=bool(shown.get("Public")),
            protection=shown.get("DeregistrationProtection", "disabled"),
            image_location=shown.get("ImageLocation", ""),
            platform_details=shown.get("PlatformDetails", ""),
            product_codes=tuple(
                one.get("ProductCodeId", "") for one in shown.get("ProductCodes", ())
            ),
            snapshots=tuple(
                SnapshotFacts.of_ec2(seen[snapshot_id], default_keys=default_keys)
                if snapshot_id in seen
                else SnapshotFacts(
                    snapshot_id,
                    owner_id=shown.get("OwnerId", ""),
                    is_encrypted=bool(ebs.get("Encrypted")),
                    is_usable=False,
                )
                for snapshot_id, ebs in _mapped(shown)
            ),
        )

    @property
    def is_billed(self) -> bool:
        """Whether a launch is billed for a licence, such as Red Hat's (see `_UNBILLED`)."""
        return self.platform_details not in _UNBILLED


# EC2 User Guide, "AMI billing information fields": platforms without a billing code of their own.
_UNBILLED = {"", "Linux/UNIX", "Red Hat BYOL Linux", "Windows BYOL"}


def _mapped(shown: Mapping[str, Any]) -> Iterable[tuple[str, Mapping[str, Any]]]:
    for device in shown.get("BlockDeviceMappings", ()):
        ebs = device.get("Ebs", {})
        if "SnapshotId" in ebs:
            yield ebs["SnapshotId"], ebs


@dataclass(frozen=True, slots=True)
class KeyFacts:
    """A KMS key (KMS API, KeyMetadata): the region of its ARN, its spec and its state.

    `is_default` is set for the account's own key for EBS, which AWS manages and nobody can share.
    """

    arn: str
    region: str
    spec: str = "SYMMETRIC_DEFAULT"
    state: str = "Enabled"
    is_default: bool = False

    @classmethod
    def of_kms(cls, metadata: Mapping[str, Any]) -> "KeyFacts":
        """Return what DescribeKey answers as KeyMetadata."""
        arn = str(metadata["Arn"])
        return cls(
            arn,
            region=arn.split(":")[3],
            spec=metadata.get("KeySpec", "SYMMETRIC_DEFAULT"),
            state=metadata.get("KeyState", "Enabled"),
            is_default=metadata.get("KeyManager") == "AWS" or is_default_key(arn),
        )

    @classmethod
    def of_ebs(cls, region: str, account_id: str) -> "KeyFacts":
        """Return an account's own key for EBS, which is used where none is named."""
        arn = f"arn:aws:kms:{region}:{account_id}{_LOCAL_DEFAULT_KEY}{account_id}"
        return cls(arn, region, is_default=True)


FindKey = Callable[[str, str, str], KeyFacts | None]
"""Gives the key that an id, an alias or an ARN names, of a region, to an account."""


@dataclass(frozen=True, slots=True)
class CopyWish:
    """What is asked of CopyImage: `region` is where the copy is made, `owner_id` whose it is.

    `key` is what the key of `kms_key_id` is found to be, None where that is not known.
    `taken_by` is the caller's image in that region that has the name, "" where there is none.
    `pending_into` and `pending_from` count copies that are being made: into the region, and of
    those the ones from the source's.
    """

    name: str
    region: str
    owner_id: str
    description: str = ""
    encrypted: bool | None = None
    kms_key_id: str | None = None
    key: KeyFacts | None = None
    taken_by: str = ""
    pending_into: int = 0
    pending_from: int = 0


@dataclass(frozen=True, slots=True)
class ShareWish:
    """Whom to share with, and with whom no longer."""

    add: Sequence[Permission] = ()
    remove: Sequence[Permission] = ()


@dataclass(frozen=True, slots=True)
class BucketFacts:
    """A bucket for bundles: its region, and whether objects there may have ACLs of their own."""

    name: str
    region: str
    takes_acls: bool


def is_product_code(text: str) -> bool:
    """Tell whether a product code can be written so."""
    return _PRODUCT_CODE.fullmatch(text) is not None
