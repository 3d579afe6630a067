"""The way to AWS, or to what stands in its place; the only room that knows boto3."""

from imgforge.ec2.cloud import Cloud, open_cloud
from imgforge.ec2.endpoint import LOCAL, CloudWish, Credentials, Endpoint, EndpointKind
from imgforge.ec2.local.fault import Fault, FaultKind, parse_fault
from imgforge.ec2.serving import OpenPart, WholeWish, serving_all
from imgforge.ec2.storage import CannedAcl, Content, Storage, StoredObject, digests_of

__all__ = [
    "LOCAL",
    "CannedAcl",
    "Cloud",
    "CloudWish",
    "Content",
    "Credentials",
    "Endpoint",
    "EndpointKind",
    "Fault",
    "FaultKind",
    "OpenPart",
    "Storage",
    "StoredObject",
    "WholeWish",
    "digests_of",
    "open_cloud",
    "parse_fault",
    "serving_all",
]
