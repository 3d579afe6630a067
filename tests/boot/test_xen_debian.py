"""Debian as a genuine PV guest under Xen: one run shows all that a PV image must do on EC2."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

import pytest

from imgforge import host
from imgforge.acceptance import BootMethod, Verdict
from imgforge.disk import Disk, open_disk
from imgforge.files import locked_folder
from imgforge.pv_way import PvWay, PvWish
from imgforge.recipe import Layout
from imgforge.start import Surroundings
from imgforge.trial import Trial, try_disk
from tests.boot.command_line import Room
from tests.boot.conftest import GUEST, TCG, folder_of_all_workers
from tests.boot.test_xen import IN_XEN

pytestmark = [pytest.mark.boot, pytest.mark.slow]

LIMIT_S = 1500
LAYOUTS = (Layout.PV, Layout.PV_PART)


@dataclass(frozen=True, slots=True)
class Shown:
    """A verdict, and the folder with what it is about."""

    verdict: Verdict
    folder: Path

    @property
    def console(self) -> str:
        return (self.folder / "console.log").read_text(encoding="utf-8", errors="replace")


@pytest.fixture(scope="module")
def disks(tmp_path_factory: pytest.TempPathFactory) -> dict[Layout, Disk]:
    """Debian with a kernel that EC2's PV-GRUB reads, built once for all workers."""
    shared = folder_of_all_workers(tmp_path_factory, "debian-pv")
    out = shared / "out"
    with locked_folder(shared):
        for layout in LAYOUTS:
            if not (out / f"debian-{layout}.raw").exists():
                room = Room(folder=shared, runtime=shared, cache=host.cache_dir())
                recipe = GUEST / "recipes/debian.toml"
                ended = room.run("build", recipe, "--locked", "--layout", layout, "--out", out)
                assert ended.exit_code == 0, ended.stderr
    return {layout: open_disk(out / f"debian-{layout}.raw") for layout in LAYOUTS}


def boot(disk: Disk, folder: Path, way: PvWay, *commands: str) -> Shown:
    """Boot Debian; beside what its recipe expects, `commands` must succeed by SSH."""
    assert disk.recipe is not None
    expect = disk.recipe.expect
    # Its console is quiet from the loader to cloud-init, under Xen several times as long.
    limits = {"boot_limit_s": 1100, "silence_limit_s": 600}
    expect = expect.model_copy(update={"commands": (*expect.commands, *commands), **limits})
    trial = Trial(disk, folder, expect, Surroundings(pv=PvWish(way)))
    tested = asyncio.run(asyncio.wait_for(try_disk(trial, accelerator=TCG), LIMIT_S))
    return Shown(tested.verdict, folder)


# What they say stands in the verdict.
GUEST_TYPE = "grep -x PV /sys/hypervisor/guest_type"
SOURCE = "grep -m 1 DataSourceEc2 /var/log/cloud-init.log"


@pytest.mark.parametrize(
    ("layout", "way"),
    [
        (Layout.PV, PvWay.XEN_GRUB),
        (Layout.PV, PvWay.XEN_DIRECT),
        (Layout.PV_PART, PvWay.XEN_GRUB),
    ],
)
def test_debian_boots_as_a_pv_guest_and_finds_ec2(
    disks: dict[Layout, Disk], tmp_path: Path, layout: Layout, way: PvWay
) -> None:
    shown = boot(disks[layout], tmp_path / "t", way, GUEST_TYPE, SOURCE, *IN_XEN)
    verdict = shown.verdict
    assert verdict.accepted, verdict.reason
    assert verdict.boot_method is BootMethod(way.value)
    seen = {check.id: check.evidence for check in verdict.checks}
    # All of one boot: by SSH, with the key that the metadata service gave.
    assert "debian was logged in by SSH" in seen["booted"]
    assert "public-keys/0/openssh-key" in seen["key-fetched"]
    told = {evidence.partition(": ")[0]: evidence for evidence in seen.values()}
    assert told[GUEST_TYPE].endswith("exit code 0\nPV")
    assert "DataSourceEc2" in told[SOURCE].partition("exit code 0\n")[2]
    assert "Datasource DataSourceEc2Local" in shown.console
