"""For which names a service answers."""

import pytest

from imgforge.metadata import Hosts


@pytest.mark.parametrize(
    "host",
    [
        "",
        "127.0.0.1",
        "127.0.0.1:41817",
        "169.254.169.254",
        "[::1]:80",
        "[fd00:ec2::254]",
        "localhost",
        "LocalHost:80",
        "localhost.:80",
        "instance-data",
        "instance-data.ec2.internal:80",
    ],
)
def test_an_address_and_the_services_own_names_are_local(host: str) -> None:
    assert Hosts.LOCAL.allow(host)


@pytest.mark.parametrize(
    "host",
    [
        "rebound.example",
        "127.0.0.1.example:80",
        "127.0.0.1@rebound.example",
        "localhost.example",
        "[::1",
        "[]",
        "]",
        ":80",
        "127.1",
        "\xff",
        "x" * 65536,
    ],
)
def test_another_name_is_not_and_is_for_a_service_that_takes_any(host: str) -> None:
    assert not Hosts.LOCAL.allow(host)
    assert Hosts.ANY.allow(host)
