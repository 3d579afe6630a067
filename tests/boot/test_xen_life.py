"""PV guests under Xen through all that happens to a machine: forked, attached to, stopped."""

import json
import shlex
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from imgforge import host
from imgforge.build import build
from imgforge.files import locked_folder
from imgforge.pv_way import PvWay, PvWish
from imgforge.recipe import Layout
from imgforge.recipe_file import load_recipe
from imgforge.testing import ImageFailure
from imgforge.testing.image import ImageWish
from imgforge.testing.machine import Machine
from imgforge.testing.marks import Mark
from imgforge.testing.session import SessionWish, TestSession
from tests.boot.command_line import Room
from tests.boot.conftest import GUEST, folder_of_all_workers
from tests.boot.test_xen import IN_XEN

pytestmark = [pytest.mark.boot, pytest.mark.slow]


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The minimal guest with a kernel that EC2's PV-GRUB reads."""
    folder = folder_of_all_workers(tmp_path_factory, "xen-life")
    with locked_folder(folder):
        path = folder / "out/minimal-pv.raw"
        if not path.exists():
            recipe = load_recipe(GUEST / "recipes/minimal.toml")
            build(recipe, layouts=(Layout.PV,), out=path.parent, locked=True)
    return path


@pytest.fixture
def own_room(tmp_path: Path) -> Iterator[Room]:
    """A room with the user's own cache: the Xen appliance and the packages are in it."""
    with tempfile.TemporaryDirectory(prefix="imgforge-", dir="/tmp") as runtime:
        room = Room(folder=tmp_path, runtime=Path(runtime), cache=host.cache_dir())
        yield room
        room.assert_no_process_is_left()


@contextmanager
def machine(session: TestSession, *marks: Mark) -> Iterator[Machine]:
    session.wish.evidence.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=session.wish.evidence))
    with session.machine(session.plan([*marks]), test="a test", folder=folder) as lent:
        yield lent.machine


@pytest.fixture
def session(disk: Path, own_room: Room) -> Iterator[TestSession]:
    wish = SessionWish(
        ImageWish(str(disk), own_room.out),
        own_room.folder / "evidence",
        pv=PvWish(PvWay.XEN_GRUB),
    )
    with TestSession(wish) as begun:
        yield begun


def test_clones_have_a_session_of_dom0_s_and_live_apart(session: TestSession) -> None:
    with machine(session) as one, machine(session) as two:
        for clone in (one, two):
            clone.succeed(*IN_XEN)
            assert not clone.notes
            assert clone.ssh.succeed("id -un") == "root\n"
            # Commands come by dom0's session: SSH's client is told who asks.
            assert clone.succeed("echo ${SSH_CONNECTION%% *}") == "172.31.0.3\n"
        one.succeed("echo one >/root/mark; sync")
        two.fail("ls /root/mark")
        draw = "head -c 16 /dev/urandom | od -An -tx1"
        assert one.succeed(draw) != two.succeed(draw)
        assert one.succeed("head -c 1000000 /dev/zero | tr '\\0' x") == "x" * 1_000_000
        # Where the guest ends it, commands go on by SSH.
        with pytest.raises(ImageFailure, match="its session by SSH ended"):
            two.run("read -r _ _ _ parent _ </proc/$PPID/stat; kill -9 $parent; sleep 30")
        assert not two.succeed("echo ${SSH_CONNECTION%% *}").startswith("172.31.0.3")


def test_volumes_a_reboot_and_the_power_button(session: TestSession) -> None:
    marks = (Mark("instance_type", ("m3.medium",)), Mark("volumes", (1,)))
    with machine(session, *marks) as guest:
        # The instance store first, as EC2 names them.
        guest.succeed("test -b /dev/xvdb && test -b /dev/xvdc && test ! -e /dev/xvdd")
        guest.attach_volume(1)
        guest.wait_for_file("/dev/xvdd")
        assert guest.succeed("cat /sys/block/xvdd/size") == f"{2**21}\n"
        guest.succeed("echo kept >/root/mark")
        guest.reboot()
        assert guest.succeed("cat /root/mark", "cat /sys/block/xvdd/size") == f"kept\n{2**21}\n"
        guest.stop()
        assert "imgforge-init: going down" in guest.console.text
        guest.start()
        assert guest.succeed("cat /root/mark") == "kept\n"
        # It was clean: the journal had nothing to be played back.
        guest.fail("dmesg | grep -i 'recovery\\|orphan'")


def test_an_image_is_launched_under_xen(disk: Path, own_room: Room) -> None:
    registered = own_room.run("register", disk, "--unverified", "--json")
    assert registered.exit_code == 0, registered.stderr
    image_id = registered.result["ImageId"]
    with own_room.start("launch", image_id, "--pv-boot", "xen-grub", "--json") as running:
        assert running.printed("ssh "), running.stderr
        words = shlex.split(json.loads(running.stdout)["ssh"])
        said = subprocess.run([*words, *IN_XEN[0].split()], timeout=60, check=True)
        assert said.returncode == 0
        subprocess.run([*words, "poweroff"], timeout=60, check=True)
        ended = running.wait()
    assert ended.exit_code == 0, ended.stderr
    assert "ended: guest-shutdown" in ended.stderr
