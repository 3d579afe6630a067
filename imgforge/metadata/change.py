"""What happens to an instance while it runs: each change returns another description of it.

Times are in UTC; each answer has the form that EC2 gives it.
"""

import secrets
import string
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from email.utils import format_datetime

from imgforge.metadata.event import (
    Credentials,
    EventCode,
    EventState,
    IamRole,
    LifeCycle,
    MaintenanceEvent,
    SpotAction,
    SpotNotice,
)
from imgforge.metadata.instance import Instance
from imgforge.metadata.options import Access

SPOT_WARNING_S = 120
"""https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html"""
CREDENTIALS_LAST_S = 6 * 3600
_MAINTENANCE_LASTS_S = 2 * 3600
_YEAR_S = 365 * 24 * 3600
_DESCRIPTIONS = {
    EventCode.INSTANCE_REBOOT: "The instance is scheduled for a reboot",
    EventCode.SYSTEM_REBOOT: "The host of the instance is scheduled for a reboot",
    EventCode.SYSTEM_MAINTENANCE: "The host of the instance is scheduled for maintenance",
    EventCode.INSTANCE_RETIREMENT: "The instance is scheduled for retirement",
    EventCode.INSTANCE_STOP: "The instance is scheduled to be stopped",
}
_UPPER = string.ascii_uppercase + "234567"


def interrupt_spot(
    instance: Instance,
    *,
    now: datetime,
    action: SpotAction = SpotAction.TERMINATE,
    in_s: float = SPOT_WARNING_S,
) -> Instance:
    """Give notice that it is interrupted in `in_s` seconds; it is a Spot Instance from then on.

    Raises ValueError for a time that is more than a year away.
    """
    notice = SpotNotice(SpotAction(action), iso_time(_later(now, in_s, name="in_s")))
    return replace(instance, spot_notice=notice, life_cycle=LifeCycle.SPOT)


def withdraw_spot_interruption(instance: Instance) -> Instance:
    """Take the notice of an interruption, and the recommendation, away."""
    return replace(instance, spot_notice=None, rebalance_notice_time="")


def recommend_rebalance(instance: Instance, *, now: datetime) -> Instance:
    """Tell it that it is at an elevated risk of an interruption."""
    return replace(instance, rebalance_notice_time=iso_time(now), life_cycle=LifeCycle.SPOT)


def schedule_maintenance(
    instance: Instance,
    *,
    now: datetime,
    code: EventCode = EventCode.SYSTEM_REBOOT,
    in_s: float = 24 * 3600,
    event_id: str = "",
) -> Instance:
    """Schedule an event that begins in `in_s` seconds and ends two hours later.

    Without `event_id` it gets one. Raises ValueError where that id is taken, and for a time that
    is more than a year away.
    """
    event_id = event_id or f"instance-event-{secrets.token_hex(9)[:17]}"
    if any(event.event_id == event_id for event in instance.maintenance_events):
        raise ValueError(f"there is a maintenance event {event_id} already")
    begin = _later(now, in_s, name="in_s")
    end = begin + timedelta(seconds=_MAINTENANCE_LASTS_S)
    event = MaintenanceEvent(
        event_id,
        EventCode(code),
        _DESCRIPTIONS[EventCode(code)],
        not_before=event_time(begin),
        not_after=event_time(end),
        not_before_deadline=event_time(end + timedelta(days=7)),
    )
    return replace(instance, maintenance_events=(*instance.maintenance_events, event))


def end_maintenance(
    instance: Instance, *, event_id: str = "", state: EventState = EventState.COMPLETED
) -> Instance:
    """Move an event from the scheduled ones to the history, or all of them.

    Its description begins with its state, as on EC2. Raises ValueError where there is none.
    """
    state = EventState(state)
    ending = [
        event
        for event in instance.maintenance_events
        if event.state is EventState.ACTIVE and event_id in {"", event.event_id}
    ]
    if state is EventState.ACTIVE or not ending:
        raise ValueError(f"no scheduled maintenance event {event_id} to make {state.value}")
    word = f"[{state.value.capitalize()}]"
    events = tuple(
        replace(event, state=state, description=f"{word} {event.description}")
        if event in ending
        else event
        for event in instance.maintenance_events
    )
    return replace(instance, maintenance_events=events)


def rotate_keys(instance: Instance, public_keys: Mapping[str, str]) -> Instance:
    """Let `public-keys/` have these and no others: names to lines as in authorized_keys(5)."""
    return replace(instance, public_keys=dict(public_keys))


def rotate_credentials(
    instance: Instance, *, now: datetime, last_s: float = CREDENTIALS_LAST_S
) -> Instance:
    """Give its role new keys, which last `last_s` seconds; without a role it gets one.

    They have expired already where that is below 0. Raises ValueError for more than a year.
    """
    role = instance.iam_role or IamRole("imgforge")
    credentials = Credentials(
        access_key_id="ASIA" + "".join(secrets.choice(_UPPER) for _ in range(16)),
        secret_access_key=secrets.token_urlsafe(30),
        token=secrets.token_urlsafe(240),
        expiration=iso_time(_later(now, last_s, name="last_s")),
        last_updated=iso_time(now),
    )
    return replace(instance, iam_role=replace(role, credentials=credentials))


def set_tags(instance: Instance, tags: Mapping[str, str]) -> Instance:
    """Let it have these tags and no others, shown by its metadata from then on.

    Raises ValueError for a key that no listing could show.
    """
    options = replace(instance.options, instance_metadata_tags=Access.ENABLED)
    return replace(instance, tags=dict(tags), options=options)


def _later(now: datetime, seconds: float, *, name: str) -> datetime:
    if not abs(seconds) <= _YEAR_S:  # also what is no number
        raise ValueError(f"{name} is at most a year, {_YEAR_S} seconds, found {seconds}")
    return now + timedelta(seconds=seconds)


def iso_time(moment: datetime) -> str:
    """Return a time as in "2015-01-05T18:02:00Z"."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def event_time(moment: datetime) -> str:
    """Return a time as in "21 Jan 2019 09:00:43 GMT", in English whatever the locale."""
    return format_datetime(moment, usegmt=True).partition(", ")[2]
