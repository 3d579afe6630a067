"""Genuine PV boots: the minimal guest under Xen, and what goes wrong there."""

import asyncio
import json
import shutil
from pathlib import Path

import pytest

from imgforge import host
from imgforge.acceptance import BootMethod, StageName, Verdict
from imgforge.build import build
from imgforge.disk import Disk, open_disk
from imgforge.errors import HostError
from imgforge.files import locked_folder
from imgforge.machine.subnet import subnet_of
from imgforge.pv_way import PvWay, PvWish
from imgforge.recipe import ExpectPart, Layout
from imgforge.recipe_file import load_recipe
from imgforge.start import Surroundings
from imgforge.trial import Trial, try_disk
from imgforge.xen_appliance import KIND, prepare_appliance
from tests.boot.conftest import GUEST, TCG, folder_of_all_workers
from tests.boot.patient import Patient

pytestmark = pytest.mark.boot

LIMIT_S = 480
UNDER_XEN = PvWish(PvWay.XEN_DIRECT)
IN_XEN = (
    "grep -qx PV /sys/hypervisor/guest_type",
    "grep -q ^ec2 /sys/hypervisor/uuid",
    "grep -qw hvc0 /sys/class/tty/console/active",
)


@pytest.fixture(scope="module")
def disks(tmp_path_factory: pytest.TempPathFactory) -> dict[Layout, Disk]:
    """The minimal guest with a kernel that EC2's PV-GRUB reads."""
    layouts = (Layout.PV, Layout.PV_PART)
    folder = folder_of_all_workers(tmp_path_factory, "xen")
    with locked_folder(folder):
        if not (folder / "done").exists():
            recipe = load_recipe(GUEST / "recipes/minimal.toml")
            build(recipe, layouts=layouts, out=folder / "out", locked=True)
            prepare_appliance(host.cache_dir())
            (folder / "done").touch()
    return {layout: open_disk(folder / f"out/minimal-{layout}.raw") for layout in layouts}


def expect(*commands: str, silence_limit_s: int = 90) -> ExpectPart:
    return ExpectPart(boot_limit_s=300, silence_limit_s=silence_limit_s, commands=commands)


def boot(disk: Disk, folder: Path, way: PvWay, expected: ExpectPart) -> Verdict:
    trial = Trial(disk, folder, expected, Surroundings(pv=PvWish(way)))
    return asyncio.run(asyncio.wait_for(try_disk(trial, accelerator=TCG), LIMIT_S)).verdict


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def test_a_pv_disk_boots_under_xen_by_its_own_menu_lst(
    disks: dict[Layout, Disk], tmp_path: Path
) -> None:
    expected = expect(*IN_XEN, "test -b /dev/xvda1")
    verdict = boot(disks[Layout.PV], tmp_path / "t", PvWay.XEN_GRUB, expected)
    assert verdict.accepted, verdict.reason
    assert verdict.boot_method is BootMethod.XEN_GRUB
    names = [stage.name for stage in verdict.stages]
    assert names[:2] == [StageName.BOOTLOADER, StageName.KERNEL]
    # The two consoles are apart.
    console, xen = text(tmp_path / "t/console.log"), text(tmp_path / "t/xen.log")
    assert "imgforge-pvgrub: reads (hd0)/boot/grub/menu.lst" in console
    assert "(XEN)" not in console
    assert "(XEN) Xen version" in xen
    assert "imgforge-pvgrub" not in xen
    asked = [json.loads(line)["path"] for line in text(tmp_path / "t/metadata.jsonl").splitlines()]
    assert any("openssh-key" in path for path in asked)


@pytest.mark.slow
def test_libxl_loads_the_kernel_of_a_partitioned_disk(
    disks: dict[Layout, Disk], tmp_path: Path
) -> None:
    expected = expect(*IN_XEN, "test -b /dev/xvda && test -b /dev/xvda1")
    verdict = boot(disks[Layout.PV_PART], tmp_path / "t", PvWay.XEN_DIRECT, expected)
    assert verdict.accepted, verdict.reason
    assert verdict.boot_method is BootMethod.XEN_DIRECT
    assert verdict.stages[0].name is StageName.KERNEL


@pytest.mark.slow
def test_the_stand_in_reads_a_partitioned_disk(disks: dict[Layout, Disk], tmp_path: Path) -> None:
    verdict = boot(disks[Layout.PV_PART], tmp_path / "t", PvWay.XEN_GRUB, expect(*IN_XEN))
    assert verdict.accepted, verdict.reason
    assert "reads (hd0,1)/boot/grub/menu.lst" in text(tmp_path / "t/console.log")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "sign"),
    [
        ("echo c >/proc/sysrq-trigger", "kernel-panic"),
        ("(sleep 1; reboot -f) & sleep 30", "guest-reset"),
        ("(sleep 1; poweroff -f) & sleep 30", "guest-shutdown"),
    ],
)
def test_how_a_guest_ends_is_told_at_once(
    disks: dict[Layout, Disk], tmp_path: Path, command: str, sign: str
) -> None:
    verdict = boot(disks[Layout.PV], tmp_path / "t", PvWay.XEN_DIRECT, expect(command))
    assert not verdict.accepted
    assert verdict.sign is not None
    assert verdict.sign.id == sign
    assert verdict.seconds - verdict.sign.seconds < 5


@pytest.mark.slow
def test_a_kernel_that_is_not_there_is_the_image_s_failure(
    disks: dict[Layout, Disk], tmp_path: Path
) -> None:
    patient = Patient.copy(disks[Layout.PV].path, tmp_path / "pv.raw", is_partitioned=False)
    menu = b"default 0\ntimeout 0\ntitle x\nroot (hd0)\nkernel /boot/gone root=LABEL=root\n"
    patient.write("/boot/grub/menu.lst", menu)
    verdict = boot(open_disk(patient.disk), tmp_path / "t", PvWay.XEN_GRUB, expect())
    assert not verdict.accepted
    assert verdict.failed_stage is StageName.BOOTLOADER
    assert verdict.sign is not None
    assert (verdict.sign.id, verdict.sign.text) == (
        "grub-no-entry-boots",
        "error: couldn't load file /boot/gone.",
    )


@pytest.mark.slow
def test_a_kernel_that_xen_refuses_is_the_image_s_failure(
    disks: dict[Layout, Disk], tmp_path: Path
) -> None:
    patient = Patient.copy(disks[Layout.PV].path, tmp_path / "pv.raw", is_partitioned=False)
    menu = b"default 0\ntimeout 0\ntitle x\nroot (hd0)\nkernel /boot/none root=LABEL=root\n"
    patient.write("/boot/grub/menu.lst", menu)
    patient.write("/boot/none", b"\x7fELF\x02\x01\x01" + bytes(4096))
    verdict = boot(open_disk(patient.disk), tmp_path / "t", PvWay.XEN_DIRECT, expect())
    assert not verdict.accepted
    assert verdict.failed_stage is StageName.KERNEL
    assert verdict.sign is not None
    assert verdict.sign.id == "kernel-refused"


@pytest.mark.slow
def test_an_appliance_that_fails_is_the_host_s_failure(
    disks: dict[Layout, Disk], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = prepare_appliance(host.cache_dir())
    damaged = tmp_path / "cache" / KIND / whole.key
    shutil.copytree(whole.folder, damaged)
    (damaged / whole.initramfs.name).write_bytes(bytes(4096))
    monkeypatch.setenv("IMGFORGE_CACHE", str(tmp_path / "cache"))
    with pytest.raises(HostError, match=r"The Xen appliance did not start[\s\S]*panic"):
        boot(disks[Layout.PV], tmp_path / "t", PvWay.XEN_GRUB, expect())
    assert not (tmp_path / "t" / "verdict.json").exists()


@pytest.mark.slow
def test_a_pv_guest_reaches_its_metadata_and_nothing_else(
    disks: dict[Layout, Disk], tmp_path: Path
) -> None:
    """Not dom0, which has no service, nor the host's loopback, network or world."""
    reached: list[int] = []

    async def scenario() -> Verdict:
        bait = await asyncio.start_server(lambda _, writer: reached.append(1), "0.0.0.0", 0)
        port = bait.sockets[0].getsockname()[1]
        places = [
            *(f"{where} {port}" for where in ("172.31.0.1", "172.31.0.2", "10.0.2.2", "127.0.0.1")),
            *(f"{subnet_of('172.31.16.15').dom0} {service}" for service in (22, 80, 111, 8002)),
            *(f"169.254.169.254 {service}" for service in (22, port)),
            "169.254.169.1 22",
            "1.1.1.1 53",
        ]
        tries = "; ".join(f"busybox nc -w 2 {place} </dev/null && echo {place}" for place in places)
        command = f"busybox ip route add default via 172.31.0.1; ({tries}) | grep . && exit 1; true"
        metadata = "busybox wget -q -O - http://169.254.169.254/latest/meta-data/instance-id"
        expected = expect(command, f"{metadata} | grep -q ^i-")
        trial = Trial(disks[Layout.PV], tmp_path / "t", expected, Surroundings(pv=UNDER_XEN))
        async with bait:
            return (await asyncio.wait_for(try_disk(trial, accelerator=TCG), LIMIT_S)).verdict

    verdict = asyncio.run(scenario())
    assert verdict.accepted, verdict
    assert reached == []
