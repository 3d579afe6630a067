"""Which way leads a guest to its metadata service, and in which network it is."""

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from imgforge.errors import BadInputError, HostError
from imgforge.machine import MetadataWay, choose_way
from imgforge.machine.argv import qemu_argv
from imgforge.machine.subnet import OPEN_ADDRESS, subnet_of
from imgforge.machine.way import WayWish, judge_way, parse_wish
from imgforge.metadata import Instance
from tests.unit.test_machine_argv import SPEC, WIRING, options


def works() -> str:
    return ""


def refuses() -> str:
    return "unshare: unshare failed: Operation not permitted"


def untouched() -> str:
    raise AssertionError("the host was tried")


def test_a_namespace_is_taken_where_one_works() -> None:
    assert judge_way(WayWish.AUTO, works).way is MetadataWay.NAMESPACE


def test_without_a_namespace_guestfwd_is_taken_and_the_reason_told() -> None:
    choice = judge_way(WayWish.AUTO, refuses)
    assert choice.way is MetadataWay.GUESTFWD
    assert "Operation not permitted" in choice.reason


def test_what_is_asked_for_is_taken_and_never_another_way() -> None:
    assert judge_way(WayWish.GUESTFWD, untouched).way is MetadataWay.GUESTFWD
    assert judge_way(WayWish.NAMESPACE, works).way is MetadataWay.NAMESPACE
    with pytest.raises(HostError, match="Operation not permitted"):
        judge_way(WayWish.NAMESPACE, refuses)


@pytest.mark.parametrize("text", ["Namespace", "no", "guestfwd ", "\0", "1"])
def test_what_is_no_way_is_refused(text: str) -> None:
    with pytest.raises(BadInputError, match="IMGFORGE_METADATA_WAY"):
        parse_wish(text)


def test_nothing_asked_for_is_automatic() -> None:
    assert parse_wish("") is WayWish.AUTO


def test_a_guest_that_is_let_out_cannot_be_in_a_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMGFORGE_METADATA_WAY", "namespace")
    assert choose_way(network=True).way is MetadataWay.GUESTFWD


@pytest.mark.parametrize("address", [OPEN_ADDRESS, Instance("i-1", "ami-1").local_ipv4])
def test_the_metadata_address_is_on_the_guests_link(address: str) -> None:
    """slirp answers ARP only for addresses of its own network."""
    subnet = subnet_of(address)
    for each in (address, subnet.router, subnet.dns, "169.254.169.254"):
        assert ip_address(each) in ip_network(subnet.network)


def test_a_guest_has_a_private_address_and_one_that_is_let_out_a_smaller_network() -> None:
    address = ip_address(Instance("i-1", "ami-1").local_ipv4)
    assert address in ip_network("172.31.0.0/16")
    assert ip_network(subnet_of(OPEN_ADDRESS).network).prefixlen == 8


def test_an_address_without_a_network_is_refused() -> None:
    with pytest.raises(ValueError, match=r"10\.0\.0\.1"):
        subnet_of("10.0.0.1")


def test_in_a_namespace_no_process_is_started_for_the_guest() -> None:
    (netdev,) = options(qemu_argv(SPEC, replace(WIRING, relay=None)), "-netdev")
    assert "-cmd:" not in netdev
    assert "restrict" not in netdev
    assert "guestfwd=tcp:169.254.169.254:9-null" in netdev.split(",")
