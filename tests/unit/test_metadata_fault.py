"""What the metadata service may be told to get wrong."""

from typing import Any

import pytest

from imgforge.metadata import Cut, Fault, Faults, Tokens


def test_a_fault_is_met_under_every_version_and_below_its_path() -> None:
    faults = Faults([Fault("/meta-data/public-keys", status=500)])
    for version in ("latest", "2009-04-04", "1.0"):
        assert faults.meet(f"/{version}/meta-data/public-keys/0/openssh-key")
    assert faults.meet("/latest/meta-data/instance-id") is None
    assert faults.meet("/latest/user-data") is None


def test_a_path_with_a_version_is_meant_under_that_one_only() -> None:
    faults = Faults([Fault("/latest/api/token", status=403)])
    assert faults.meet("/latest/api/token")
    assert faults.meet("/2009-04-04/api/token") is None


def test_a_fault_with_a_method_is_for_that_one_alone() -> None:
    faults = Faults([Fault("/", status=500, method="PUT")])
    assert faults.meet("/latest/api/token", method="GET") is None
    assert faults.meet("/latest/api/token", method="PUT")


def test_a_fault_with_a_count_is_made_so_often_and_then_no_more() -> None:
    faults = Faults([Fault("/", status=503, times=2), Fault("/user-data", delay_s=1)])
    met = [faults.meet("/latest/user-data") for _ in range(3)]
    assert [fault.status if fault else 0 for fault in met] == [503, 503, None]


def test_a_fault_with_a_window_is_made_within_it_and_is_not_counted_outside() -> None:
    faults = Faults([Fault("/", status=503, after_s=10, until_s=20, times=2)])
    met = {at_s: faults.meet("/latest/", at_s=at_s) is not None for at_s in (0, 9.9, 10, 19.9)}
    assert met == {0: False, 9.9: False, 10: True, 19.9: True}
    assert faults.meet("/latest/", at_s=15) is None


def test_the_window_of_a_fault_added_later_counts_from_then() -> None:
    faults = Faults()
    faults.add(Fault("/", cut=Cut.REFUSED, until_s=5), now_s=100)
    assert faults.meet("/latest/", at_s=104)
    assert faults.meet("/latest/", at_s=105) is None


def test_of_two_faults_the_first_that_concerns_a_request_now_is_made() -> None:
    faults = Faults([Fault("/", status=500, until_s=5), Fault("/", status=404)])
    first, second = faults.meet("/", at_s=1), faults.meet("/", at_s=6)
    assert first
    assert second
    assert (first.status, second.status) == (500, 404)


def test_faults_come_and_go() -> None:
    faults = Faults()
    assert faults.meet("/latest/") is None
    faults.add(Fault("/", status=404))
    assert faults.meet("/latest/")
    faults.clear()
    assert faults.meet("/latest/") is None


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"status": 503, "delay_s": 2}, "delay 2 s, status 503"),
        ({"cut": "reset", "bytes_per_s": 100}, "reset, 100 bytes/s"),
        ({"token_ttl_s": 5}, "token for 5 s"),
    ],
)
def test_a_fault_says_what_it_does(how: dict[str, Any], words: str) -> None:
    assert Fault("/", **how).words == words


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"path": "meta-data", "status": 500}, 'starts with "/"'),
        ({"status": 999}, "400 to 599, found 999"),
        ({"status": 204}, "400 to 599, found 204"),
        ({}, "a status, a delay_s"),
        ({"status": 500, "delay_s": -1}, "0 to 3600"),
        ({"status": 500, "delay_s": 3601}, "0 to 3600"),
        ({"status": 500, "delay_s": float("nan")}, "delay_s is a finite number"),
        ({"status": 500, "delay_s": float("inf")}, "delay_s is a finite number"),
        ({"status": 500, "after_s": float("nan")}, "after_s is a finite number"),
        ({"status": 500, "after_s": float("inf")}, "after_s is a finite number"),
        ({"status": 500, "until_s": float("nan")}, "until_s is a finite number"),
        ({"status": 500, "until_s": float("inf")}, "until_s is a finite number"),
        ({"bytes_per_s": float("inf")}, "bytes_per_s is a finite number"),
        ({"bytes_per_s": -1}, "above 0"),
        ({"token_ttl_s": -1}, "1 to 21600"),
        ({"status": 500, "times": 0}, "times is 1 or more"),
        ({"status": 500, "method": "put"}, "in capitals"),
        ({"status": 500, "after_s": 5, "until_s": 5}, "to a later until_s"),
        ({"status": 500, "after_s": -1}, "to a later until_s"),
        ({"cut": "torn"}, "torn"),
        ({"bytes_per_s": 0}, "above 0"),
        ({"bytes_per_s": float("nan")}, "bytes_per_s is a finite number"),
        ({"token_ttl_s": 0}, "1 to 21600"),
    ],
)
def test_a_fault_that_is_none_is_refused(how: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Fault(**{"path": "/", **how})


def test_expired_tokens_are_none_and_later_ones_are() -> None:
    tokens = Tokens()
    before = tokens.issue(ttl_s=60, instance_id="i-1", now_s=0)
    tokens.expire()
    after = tokens.issue(ttl_s=60, instance_id="i-1", now_s=0)
    assert tokens.left_s(before, instance_id="i-1", now_s=1) == 0
    assert tokens.left_s(after, instance_id="i-1", now_s=1) == 59
