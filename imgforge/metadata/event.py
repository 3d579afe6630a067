"""What EC2 tells an instance beside what it is: interruptions, maintenance, its role's keys."""

from dataclasses import dataclass, field
from enum import StrEnum


class LifeCycle(StrEnum):
    """How an instance is paid for (`instance-life-cycle`)."""

    ON_DEMAND = "on-demand"
    SPOT = "spot"
    SCHEDULED = "scheduled"
    CAPACITY_BLOCK = "capacity-block"


class TargetLifecycleState(StrEnum):
    """Where Auto Scaling takes an instance (`autoscaling/target-lifecycle-state`)."""

    DETACHED = "Detached"
    IN_SERVICE = "InService"
    STANDBY = "Standby"
    TERMINATED = "Terminated"
    WARMED_HIBERNATED = "Warmed:Hibernated"
    WARMED_RUNNING = "Warmed:Running"
    WARMED_STOPPED = "Warmed:Stopped"
    WARMED_TERMINATED = "Warmed:Terminated"


class SpotAction(StrEnum):
    """What becomes of an interrupted Spot Instance."""

    HIBERNATE = "hibernate"
    STOP = "stop"
    TERMINATE = "terminate"


@dataclass(frozen=True, slots=True)
class SpotNotice:
    """The notice that a Spot Instance is interrupted; `time` as in "2015-01-05T18:02:00Z".

    https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html
    """

    action: SpotAction
    time: str


class EventCode(StrEnum):
    """What is going to be done with an instance (EC2's InstanceStatusEvent)."""

    INSTANCE_REBOOT = "instance-reboot"
    SYSTEM_REBOOT = "system-reboot"
    SYSTEM_MAINTENANCE = "system-maintenance"
    INSTANCE_RETIREMENT = "instance-retirement"
    INSTANCE_STOP = "instance-stop"


class EventState(StrEnum):
    """Whether a maintenance event is still to come."""

    ACTIVE = "active"
    COMPLETED = "completed"
    CANCELED = "canceled"


@dataclass(frozen=True, slots=True)
class MaintenanceEvent:
    """A maintenance event; times as in "21 Jan 2019 09:00:43 GMT", "" where there is none.

    Active ones are listed by `events/maintenance/scheduled`, the others by `…/history`.
    https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/viewing_scheduled_events.html
    """

    event_id: str
    code: EventCode
    description: str
    not_before: str
    not_after: str = ""
    not_before_deadline: str = ""
    state: EventState = EventState.ACTIVE


@dataclass(frozen=True, slots=True)
class Credentials:
    """Temporary keys; times as in "2099-12-31T23:59:59Z". By default they open nothing."""

    access_key_id: str = "ASIAIMGFORGE00000000"
    secret_access_key: str = field(default="imgforge/opens/nothing/00000000000000000", repr=False)
    token: str = field(default="imgforge-opens-nothing", repr=False)
    expiration: str = "2099-12-31T23:59:59Z"
    last_updated: str = ""
    """"" is the instance's launch."""


@dataclass(frozen=True, slots=True)
class IamRole:
    """The role an instance has by its profile; `profile` is the profile's name, "" the role's."""

    name: str
    credentials: Credentials = field(default_factory=Credentials)
    profile: str = ""
    profile_id: str = "AIPAIMGFORGE000000000"
