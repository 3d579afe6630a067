"""Images, snapshots and volumes: their records and where they are kept."""

from imgforge.catalog.account import Account
from imgforge.catalog.bundle_facts import BundleFacts
from imgforge.catalog.image import LOCAL_OWNER_ID, BlockDeviceMapping, EbsDevice
from imgforge.catalog.import_source import ImportSource, ImportTask
from imgforge.catalog.import_tasks import ImportTasks
from imgforge.catalog.life_facts import (
    BucketFacts,
    CopyWish,
    FindKey,
    ImageFacts,
    KeyFacts,
    Permission,
    ShareWish,
    SnapshotFacts,
    is_default_key,
)
from imgforge.catalog.life_rules import (
    NAME_TAKEN,
    advise_copy,
    advise_deregister,
    advise_from_snapshot,
    check_bucket,
    check_copy,
    check_delete_snapshot,
    check_deregister,
    check_key,
    check_name_is_free,
    check_partition,
    check_product_codes,
    check_share,
    check_snapshot_share,
)
from imgforge.catalog.objection import Objection, objections_to, refuse_together
from imgforge.catalog.refusal import RefusedError
from imgforge.catalog.registration import Gate, ImageRegistration, NameConflict
from imgforge.catalog.rule_table import Finding, Severity
from imgforge.catalog.rules import (
    advise_registration,
    check_gate,
    check_registration,
    refuse_before,
)
from imgforge.catalog.volume_rules import smallest_gib
from imgforge.image_choice import Architecture, BootMode, VirtualizationType, VolumeType

__all__ = [
    "LOCAL_OWNER_ID",
    "NAME_TAKEN",
    "Account",
    "Architecture",
    "BlockDeviceMapping",
    "BootMode",
    "BucketFacts",
    "BundleFacts",
    "CopyWish",
    "EbsDevice",
    "FindKey",
    "Finding",
    "Gate",
    "ImageFacts",
    "ImageRegistration",
    "ImportSource",
    "ImportTask",
    "ImportTasks",
    "KeyFacts",
    "NameConflict",
    "Objection",
    "Permission",
    "RefusedError",
    "Severity",
    "ShareWish",
    "SnapshotFacts",
    "VirtualizationType",
    "VolumeType",
    "advise_copy",
    "advise_deregister",
    "advise_from_snapshot",
    "advise_registration",
    "check_bucket",
    "check_copy",
    "check_delete_snapshot",
    "check_deregister",
    "check_gate",
    "check_key",
    "check_name_is_free",
    "check_partition",
    "check_product_codes",
    "check_registration",
    "check_share",
    "check_snapshot_share",
    "is_default_key",
    "objections_to",
    "refuse_before",
    "refuse_together",
    "smallest_gib",
]
