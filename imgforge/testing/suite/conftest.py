"""The fixtures of the suite beside those of the plugin."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from imgforge import command
from imgforge.testing import plugin
from imgforge.testing.machine import Machine
from imgforge.testing.marks import Mark
from imgforge.testing.suite.life import USER_DATA, Life
from imgforge.testing.suite.ways_in import Stranger

_GIB = 2**30
_ROOM_GIB = 2  # that the root file system has to grow by


@pytest.fixture(scope="session")
def life(request: pytest.FixtureRequest) -> Iterator[Life]:
    """A machine that reboots, stops and starts, each once for all tests.

    It has an instance store, user data, and a root volume larger than the disk.
    """
    disk = plugin.session_of(request.config).plan([]).image.disk
    marks = [
        Mark("instance_type", ("m3.medium",)),
        Mark("root_volume", (-(-disk.size_bytes // _GIB) + _ROOM_GIB,)),
        Mark("user_data", (USER_DATA,)),
    ]
    with plugin.lend_to_all(request, marks) as machine:
        yield Life(machine)


@pytest.fixture
def stranger(shared_machine: Machine, tmp_path: Path) -> Stranger:
    """Somebody with a key that nobody was told of, at the door of `shared_machine`."""
    key = tmp_path / "key"
    arguments: list[str | Path] = ["-q", "-t", "ed25519", "-N", "", "-C", "stranger", "-f", key]
    command.run("ssh-keygen", arguments, timeout_s=30)
    return Stranger(shared_machine, key)
