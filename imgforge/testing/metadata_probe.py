"""What a test asks a machine's metadata service, and tells it: faults, and what happens."""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from imgforge.metadata import (
    CREDENTIALS_LAST_S,
    SPOT_WARNING_S,
    Credentials,
    EventCode,
    EventState,
    Fault,
    Instance,
    MaintenanceEvent,
    MetadataRequest,
    RequestRecord,
    SpotAction,
    SpotNotice,
    end_maintenance,
    interrupt_spot,
    recommend_rebalance,
    rotate_credentials,
    rotate_keys,
    schedule_maintenance,
    set_tags,
    withdraw_spot_interruption,
)
from imgforge.testing.failure import ImageFailure
from imgforge.testing.live import LiveInstance
from imgforge.testing.loop_thread import LoopThread


class Metadata:
    """The machine's metadata service: what it was asked, what it gets wrong, what it tells."""

    def __init__(self, live: LiveInstance, loop: LoopThread) -> None:
        self._live = live
        self._loop = loop

    @property
    def requests(self) -> list[MetadataRequest]:
        """The requests since the machine's power-on, or since it was forked, in order.

        Where there were more than 10 000, the newest; `fetched` and `used_only_imdsv2` know all.
        """
        return list(self.record.requests)

    @property
    def record(self) -> RequestRecord:
        """The requests so far, as questions can be asked of them."""
        return self._live.witness.requests.record

    def fetched(self, path: str) -> bool:
        """Tell whether a path was fetched with success, under whatever version.

        "instance-id" and "public-keys/0/openssh-key" are below meta-data/; "user-data",
        "meta-data/…" and "dynamic/…" are below the version; "/latest/user-data" is whole.
        """
        return self.record.fetched(path)

    def asked(self, path: str) -> tuple[MetadataRequest, ...]:
        """Return the requests for a path (see `fetched`), answered or not."""
        return self.record.asked(path)

    def used_only_imdsv2(self) -> bool:
        """Tell whether it was asked, and each request but those for a token carried a valid one."""
        return self.record.used_only_imdsv2()

    @property
    def imdsv1_requests(self) -> tuple[MetadataRequest, ...]:
        """The requests without a valid token."""
        return self.record.imdsv1_requests

    @property
    def versions(self) -> tuple[str, ...]:
        """The versions of the metadata that were asked for, the oldest first."""
        return self.record.versions

    @property
    def user_agents(self) -> tuple[str, ...]:
        """Who asked, in the order of their first request."""
        return self.record.user_agents

    def wait_for_request(self, pattern: str, *, timeout_s: float = 60) -> MetadataRequest:
        """Wait for a request whose path matches a regular expression; return the first."""
        return self._loop.call(self._wait_for(re.compile(pattern), timeout_s))

    def add_fault(self, path: str, **how: Any) -> None:
        """Let the service get a path wrong (see the mark `faults`).

        `after_s` and `until_s` count from now.
        """
        machine = self._live.witness.machine
        machine.faults.add(Fault(path, **how), now_s=machine.elapsed_s)

    def clear_faults(self) -> None:
        """Let the service be right again."""
        self._live.witness.machine.faults.clear()

    def expire_tokens(self) -> None:
        """Let no IMDSv2 token be valid that was given so far."""
        self._live.witness.machine.tokens.expire()

    @property
    def instance(self) -> Instance:
        """What it tells."""
        return self._live.identity

    def change(self, **fields: Any) -> None:
        """Let it tell other things from the next request on, in later power cycles too.

        `fields` are those of `Instance`, such as `target_lifecycle_state`.
        """
        self._change(lambda instance: replace(instance, **fields))

    def interrupt_spot(
        self, action: str = "terminate", *, in_s: float = SPOT_WARNING_S
    ) -> SpotNotice:
        """Give notice that the instance is interrupted in `in_s` seconds; return the notice.

        `action` is "hibernate", "stop" or "terminate". It only says so: nothing ends the machine.
        """
        self._change(partial(interrupt_spot, now=_now(), action=SpotAction(action), in_s=in_s))
        notice = self.instance.spot_notice
        assert notice is not None
        return notice

    def withdraw_spot_interruption(self) -> None:
        """Take the notice away, and the recommendation to rebalance."""
        self._change(withdraw_spot_interruption)

    def recommend_rebalance(self) -> None:
        """Tell that an interruption is likely (`events/recommendations/rebalance`)."""
        self._change(partial(recommend_rebalance, now=_now()))

    def schedule_maintenance(
        self, code: str = "system-reboot", *, in_s: float = 24 * 3600
    ) -> MaintenanceEvent:
        """Schedule an event in `in_s` seconds, and return it (`events/maintenance/scheduled`).

        `code` is one of `EventCode`, such as "instance-stop".
        """
        self._change(partial(schedule_maintenance, now=_now(), code=EventCode(code), in_s=in_s))
        return self.instance.maintenance_events[-1]

    def end_maintenance(self, event_id: str = "", *, state: str = "completed") -> None:
        """Let an event, or all of them, be history: "completed" or "canceled"."""
        self._change(partial(end_maintenance, event_id=event_id, state=EventState(state)))

    def rotate_keys(self, **public_keys: str) -> None:
        """Serve these public keys and no others: a name for each line of authorized_keys(5)."""
        self._change(partial(rotate_keys, public_keys=public_keys))

    def rotate_credentials(self, *, last_s: float = CREDENTIALS_LAST_S) -> Credentials:
        """Give the instance's role new keys, which last `last_s` seconds; return them."""
        self._change(partial(rotate_credentials, now=_now(), last_s=last_s))
        role = self.instance.iam_role
        assert role is not None
        return role.credentials

    def set_tags(self, **tags: str) -> None:
        """Let the instance have these tags and no others, and show them."""
        self._change(partial(set_tags, tags=tags))

    def _change(self, change: Callable[[Instance], Instance]) -> None:
        async def made() -> None:
            self._live.change_identity(change)

        self._loop.call(made())

    async def _wait_for(self, pattern: re.Pattern[str], timeout_s: float) -> MetadataRequest:
        witness, seen = self._live.witness, 0
        found: list[MetadataRequest] = []

        def is_found() -> bool:
            nonlocal seen
            new = witness.requests.since(seen)
            found.extend([item for item in new if not found and pattern.search(item.path)])
            seen = witness.requests.count
            return bool(found)

        if not await witness.wait_until(is_found, timeout_s):
            self._live.require_running()
            raise ImageFailure(
                f"Metadata: nobody asked for {pattern.pattern!r} within {timeout_s:g} s."
            )
        return found[0]


def _now() -> datetime:
    return datetime.now(UTC)
