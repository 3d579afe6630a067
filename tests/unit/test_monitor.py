"""What QEMU's monitor prints."""

import pytest

from imgforge.errors import HostError
from imgforge.machine.monitor import forwarded_port

USERNET = """Hub -1 (net):\r
  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\r
  TCP[ESTABLISHED]   21       127.0.0.1 50000      169.0.2.15    22     0     0\r
  TCP[HOST_FORWARD]  13       127.0.0.1 38981      169.0.2.15    22     0     0\r
  UDP[236 sec]       20      169.0.2.15    68 169.254.169.1    67     0     0\r
"""


def test_finds_the_forwarded_port() -> None:
    assert forwarded_port(USERNET) == 38981


@pytest.mark.parametrize(
    "text",
    [
        "",
        "None",
        USERNET[:200],
        USERNET.replace("38981", "99999999999999999999"),
        USERNET.replace("38981", "0"),
        USERNET.replace("HOST_FORWARD", "CLOSED"),
        "\x00" * 1000,
    ],
)
def test_names_what_was_found_instead_of_a_port(text: str) -> None:
    with pytest.raises(HostError, match="info usernet names no forwarded port"):
        forwarded_port(text)
