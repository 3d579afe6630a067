"""169.254.169.254: what it knows, how it answers, what it was asked."""

from imgforge.metadata.event import (
    Credentials,
    EventCode,
    EventState,
    IamRole,
    LifeCycle,
    MaintenanceEvent,
    SpotAction,
    SpotNotice,
    TargetLifecycleState,
)
from imgforge.metadata.fault import Cut, Fault, Faults
from imgforge.metadata.instance import Instance, Interface, Placement
from imgforge.metadata.options import Access, HttpTokens, MetadataOptions
from imgforge.metadata.record import RequestRecord
from imgforge.metadata.request import MetadataRequest
from imgforge.metadata.service import MetadataService, Secrets
from imgforge.metadata.signer import Signer
from imgforge.metadata.tokens import Tokens

__all__ = [
    "Access",
    "Credentials",
    "Cut",
    "EventCode",
    "EventState",
    "Fault",
    "Faults",
    "HttpTokens",
    "IamRole",
    "Instance",
    "Interface",
    "LifeCycle",
    "MaintenanceEvent",
    "MetadataOptions",
    "MetadataRequest",
    "MetadataService",
    "Placement",
    "RequestRecord",
    "Secrets",
    "Signer",
    "SpotAction",
    "SpotNotice",
    "TargetLifecycleState",
    "Tokens",
]
