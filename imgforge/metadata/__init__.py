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
from imgforge.metadata.hosts import Hosts
from imgforge.metadata.instance import Instance, Interface, Placement
from imgforge.metadata.instance_file import (
    default_instance,
    faults_schema,
    instance_schema,
    load_faults,
    load_instance,
)
from imgforge.metadata.namespace import ADDRESS_IPV4, enter_network
from imgforge.metadata.options import Access, HttpTokens, MetadataOptions
from imgforge.metadata.order import ORDERS, Ordered
from imgforge.metadata.record import KEPT_REQUESTS, RequestLog, RequestRecord
from imgforge.metadata.request import MetadataRequest
from imgforge.metadata.responder import Secrets
from imgforge.metadata.service import MetadataService
from imgforge.metadata.signer import Signer
from imgforge.metadata.stand_alone import (
    Schedule,
    StandAlone,
    bind_loopback,
    piped_lines,
    replies,
    stand_alone,
)
from imgforge.metadata.tokens import Tokens

__all__ = [
    "ADDRESS_IPV4",
    "CREDENTIALS_LAST_S",
    "KEPT_REQUESTS",
    "ORDERS",
    "SPOT_WARNING_S",
    "Access",
    "Credentials",
    "Cut",
    "EventCode",
    "EventState",
    "Fault",
    "Faults",
    "Hosts",
    "HttpTokens",
    "IamRole",
    "Instance",
    "Interface",
    "LifeCycle",
    "MaintenanceEvent",
    "MetadataOptions",
    "MetadataRequest",
    "MetadataService",
    "Ordered",
    "Placement",
    "RequestLog",
    "RequestRecord",
    "Schedule",
    "Secrets",
    "Signer",
    "SpotAction",
    "SpotNotice",
    "StandAlone",
    "TargetLifecycleState",
    "Tokens",
    "bind_loopback",
    "default_instance",
    "end_maintenance",
    "enter_network",
    "faults_schema",
    "instance_schema",
    "interrupt_spot",
    "load_faults",
    "load_instance",
    "piped_lines",
    "recommend_rebalance",
    "replies",
    "rotate_credentials",
    "rotate_keys",
    "schedule_maintenance",
    "set_tags",
    "stand_alone",
    "withdraw_spot_interruption",
]
