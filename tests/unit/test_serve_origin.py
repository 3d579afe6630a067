"""Which requests `imgforge serve` takes for those of another host's page."""

import pytest

from imgforge.ec2.local.origin import foreign_origin


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"host": "127.0.0.1:4566"},
        {"host": "127.9.9.9"},
        {"host": "LOCALHOST:1"},
        {"host": "[::1]:80"},
        {"host": "my.bucket.localhost:80"},
        {"host": "localhost", "origin": "http://localhost:3000"},
        {"host": "localhost", "sec-fetch-site": "none"},
        {"host": "localhost", "sec-fetch-site": "same-origin"},
    ],
    ids=str,
)
def test_the_own_host_is_known(headers: dict[str, str]) -> None:
    assert foreign_origin(headers) == ""


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "169.254.169.254",
        "127.0.0.1.evil.example",
        "evil.example:80@127.0.0.1",
        "localhost.evil.example",
        "notlocalhost",
        "10.0.0.1",
        "0.0.0.0",
        "[::2]",
        "[::1",
        "::1",
        "localhost, evil.example",
        "\x00",
    ],
)
def test_another_host_is_refused(host: str) -> None:
    assert foreign_origin({"host": host})
    assert foreign_origin({"host": "127.0.0.1", "origin": f"http://{host}"})


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "null"},
        {"origin": "http://["},
        {"origin": "file://localhost"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "?"},
        {"sec-fetch-site": ""},
    ],
    ids=str,
)
def test_another_sites_page_is_refused(headers: dict[str, str]) -> None:
    assert foreign_origin({"host": "127.0.0.1", **headers})
