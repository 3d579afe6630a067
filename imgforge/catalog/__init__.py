"""Images, snapshots and volumes: their records and where they are kept."""

from imgforge.catalog.account import Account
from imgforge.catalog.bundle_facts import BundleFacts
from imgforge.catalog.catalog import Catalog
from imgforge.catalog.image import (
    LOCAL_OWNER_ID,
    Architecture,
    BlockDeviceMapping,
    BootMode,
    EbsDevice,
    Image,
    ImageState,
    Snapshot,
    VirtualizationType,
    VolumeType,
)
from imgforge.catalog.refusal import RefusedError
from imgforge.catalog.registration import Gate, ImageRegistration, NameConflict
from imgforge.catalog.rule_table import Severity
from imgforge.catalog.rules import Finding, advise_registration, check_registration

__all__ = [
    "LOCAL_OWNER_ID",
    "Account",
    "Architecture",
    "BlockDeviceMapping",
    "BootMode",
    "BundleFacts",
    "Catalog",
    "EbsDevice",
    "Finding",
    "Gate",
    "Image",
    "ImageRegistration",
    "ImageState",
    "NameConflict",
    "RefusedError",
    "Severity",
    "Snapshot",
    "VirtualizationType",
    "VolumeType",
    "advise_registration",
    "check_registration",
]
