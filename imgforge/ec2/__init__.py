"""The way to AWS, or to what stands in its place; the only room that knows boto3."""

from imgforge.ec2.blocks import (
    BLOCK_BYTES,
    Blocks,
    ListedBlock,
    SnapshotStart,
    Trouble,
    TroubleError,
    linear_checksum,
)
from imgforge.ec2.clients import Clients
from imgforge.ec2.cloud import Cloud, OwnEc2, open_cloud, region_of
from imgforge.ec2.compute import Compute, Filters, tag_specifications
from imgforge.ec2.endpoint import (
    LOCAL,
    CloudWish,
    Credentials,
    Endpoint,
    EndpointKind,
    alike_regions,
)
from imgforge.ec2.image import Image, Snapshot, Told
from imgforge.ec2.keys import DEFAULT_KEY, find_key
from imgforge.ec2.local.fault import Fault, FaultKind, parse_fault
from imgforge.ec2.serving import OpenPart, WholeWish, serving_all
from imgforge.ec2.storage import CannedAcl, Content, Storage, StoredObject, digests_of

__all__ = [
    "BLOCK_BYTES",
    "DEFAULT_KEY",
    "LOCAL",
    "Blocks",
    "CannedAcl",
    "Clients",
    "Cloud",
    "CloudWish",
    "Compute",
    "Content",
    "Credentials",
    "Endpoint",
    "EndpointKind",
    "Fault",
    "FaultKind",
    "Filters",
    "Image",
    "ListedBlock",
    "OpenPart",
    "OwnEc2",
    "Snapshot",
    "SnapshotStart",
    "Storage",
    "StoredObject",
    "Told",
    "Trouble",
    "TroubleError",
    "WholeWish",
    "alike_regions",
    "digests_of",
    "find_key",
    "linear_checksum",
    "open_cloud",
    "parse_fault",
    "region_of",
    "serving_all",
    "tag_specifications",
]
