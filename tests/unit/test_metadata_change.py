"""What happens to an instance while it runs, under each version of its metadata."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from imgforge.metadata import (
    EventCode,
    EventState,
    Instance,
    LifeCycle,
    SpotAction,
    Tokens,
    end_maintenance,
    interrupt_spot,
    recommend_rebalance,
    rotate_credentials,
    rotate_keys,
    schedule_maintenance,
    set_tags,
    withdraw_spot_interruption,
)
from imgforge.metadata.answer import HttpRequest, answer
from imgforge.metadata.tree import grow
from imgforge.metadata.versions import VERSIONS, has
from tests.metadata_instances import PLAIN

NOW = datetime(2026, 1, 5, 18, 0, 0, tzinfo=UTC)


def ask(instance: Instance, path: str, version: str = "latest") -> tuple[int, str]:
    reply = answer(HttpRequest("GET", f"/{version}/{path}"), grow(instance), Tokens(), 0)
    return reply.status, reply.body.decode()


CHANGES: list[tuple[Callable[[Instance], Instance], str, str]] = [
    (
        lambda before: interrupt_spot(before, now=NOW),
        "meta-data/spot/instance-action",
        "2016-11-15",
    ),
    (
        lambda before: interrupt_spot(before, now=NOW),
        "meta-data/spot/termination-time",
        "2014-11-05",
    ),
    (
        lambda before: recommend_rebalance(before, now=NOW),
        "meta-data/events/recommendations/rebalance",
        "2020-10-27",
    ),
    (
        lambda before: set_tags(before, {"Name": "web"}),
        "meta-data/tags/instance/Name",
        "2021-03-23",
    ),
    (
        lambda before: rotate_keys(before, {"new": "ssh-ed25519 AAAA new"}),
        "meta-data/public-keys/0/openssh-key",
        "1.0",
    ),
    (
        lambda before: rotate_credentials(before, now=NOW),
        "meta-data/iam/security-credentials/imgforge",
        "2012-01-12",
    ),
]


@pytest.mark.parametrize(("change", "path", "since"), CHANGES, ids=[row[1] for row in CHANGES])
def test_what_a_change_brings_is_there_under_the_versions_that_have_it(
    change: Callable[[Instance], Instance], path: str, since: str
) -> None:
    changed = change(PLAIN)
    for version in VERSIONS:
        assert ask(PLAIN, path, version)[0] == 404
        assert ask(changed, path, version)[0] == (200 if has(version, since) else 404), version


def test_a_spot_instance_is_told_two_minutes_ahead() -> None:
    told = interrupt_spot(PLAIN, now=NOW)
    action = json.loads(ask(told, "meta-data/spot/instance-action")[1])
    assert action == {"action": "terminate", "time": "2026-01-05T18:02:00Z"}
    assert ask(told, "meta-data/spot/termination-time")[1] == "2026-01-05T18:02:00Z"
    assert ask(told, "meta-data/instance-life-cycle")[1] == "spot"


def test_one_that_is_stopped_has_no_termination_time() -> None:
    told = interrupt_spot(PLAIN, now=NOW, action=SpotAction.STOP, in_s=30)
    assert json.loads(ask(told, "meta-data/spot/instance-action")[1]) == {
        "action": "stop",
        "time": "2026-01-05T18:00:30Z",
    }
    assert ask(told, "meta-data/spot/termination-time")[0] == 404


def test_a_withdrawn_notice_is_gone_and_the_instance_stays_spot() -> None:
    told = recommend_rebalance(interrupt_spot(PLAIN, now=NOW), now=NOW)
    after = withdraw_spot_interruption(told)
    assert ask(after, "meta-data/spot/instance-action")[0] == 404
    assert ask(after, "meta-data/events/recommendations/rebalance")[0] == 404
    assert after == replace(PLAIN, life_cycle=LifeCycle.SPOT)


def test_maintenance_is_scheduled_and_then_history() -> None:
    told = schedule_maintenance(
        PLAIN, now=NOW, code=EventCode.INSTANCE_STOP, in_s=600, event_id="instance-event-1"
    )
    [event] = json.loads(ask(told, "meta-data/events/maintenance/scheduled")[1])
    assert event["Code"] == "instance-stop"
    assert event["State"] == "active"
    assert event["NotBefore"] == "05 Jan 2026 18:10:00 GMT"
    assert event["NotAfter"] == "05 Jan 2026 20:10:00 GMT"
    assert json.loads(ask(told, "meta-data/events/maintenance/history")[1]) == []
    over = end_maintenance(told, event_id="instance-event-1", state=EventState.CANCELED)
    assert json.loads(ask(over, "meta-data/events/maintenance/scheduled")[1]) == []
    [past] = json.loads(ask(over, "meta-data/events/maintenance/history")[1])
    assert past["State"] == "canceled"
    assert past["Description"].startswith("[Canceled] ")


def test_an_event_is_not_scheduled_twice_nor_ended_when_it_is_none() -> None:
    told = schedule_maintenance(PLAIN, now=NOW, event_id="instance-event-1")
    with pytest.raises(ValueError, match="instance-event-1 already"):
        schedule_maintenance(told, now=NOW, event_id="instance-event-1")
    with pytest.raises(ValueError, match="no scheduled maintenance event"):
        end_maintenance(PLAIN)
    with pytest.raises(ValueError, match="no scheduled maintenance event"):
        end_maintenance(end_maintenance(told))


def test_new_keys_are_listed_and_the_old_ones_gone() -> None:
    before = rotate_keys(PLAIN, {"old": "ssh-ed25519 AAAA old", "older": "ssh-rsa AAAA"})
    after = rotate_keys(before, {"new": "ssh-ed25519 AAAA new"})
    assert ask(after, "meta-data/public-keys/")[1] == "0=new"
    assert ask(after, "meta-data/public-keys/1/openssh-key")[0] == 404


def test_a_role_gets_other_credentials_each_time() -> None:
    first = rotate_credentials(PLAIN, now=NOW)
    second = rotate_credentials(first, now=NOW, last_s=60)
    path = "meta-data/iam/security-credentials/imgforge"
    keys, later = (json.loads(ask(one, path)[1]) for one in (first, second))
    assert keys["Expiration"] == "2026-01-06T00:00:00Z"
    assert later["LastUpdated"] == "2026-01-05T18:00:00Z"
    assert later["Expiration"] == "2026-01-05T18:01:00Z"
    for name in ("AccessKeyId", "SecretAccessKey", "Token"):
        assert keys[name] != later[name]
    assert keys["AccessKeyId"].startswith("ASIA")
    assert len(keys["AccessKeyId"]) == 20


def test_tags_come_and_go_and_one_that_cannot_be_shown_is_refused() -> None:
    tagged = set_tags(PLAIN, {"Name": "web", "env": ""})
    assert ask(tagged, "meta-data/tags/instance/")[1] == "Name\nenv"
    assert ask(set_tags(tagged, {}), "meta-data/tags/instance/Name")[0] == 404
    with pytest.raises(ValueError, match="a tag that the metadata cannot show"):
        set_tags(PLAIN, {"a/b": ""})
