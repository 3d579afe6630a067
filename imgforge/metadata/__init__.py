"""169.254.169.254: what it knows, how it answers, what it was asked."""

from imgforge.metadata.change import (
    CREDENTIALS_LAST_S,
    SPOT_WARNING_S,
    end_maintenance,
    interrupt_spot,
    recommend_rebalance,
    rotate_credentials,
    rotate_keys,
    schedule_maintenance,
    set_tags,
    withdraw_spot_interruption,
)
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
    "CREDENTIALS_LAST_S",
    "SPOT_WARNING_S",
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
    "end_maintenance",
    "interrupt_spot",
    "recommend_rebalance",
    "rotate_credentials",
    "rotate_keys",
    "schedule_maintenance",
    "set_tags",
    "withdraw_spot_interruption",
]
