"""A Debian with systemd, OpenSSH and cloud-init, broken in what the minimal guest has not."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from imgforge import host
from imgforge.disk import open_disk
from imgforge.files import locked_folder
from imgforge.recipe import ExpectPart
from imgforge.start import Surroundings
from imgforge.trial import Trial, try_disk
from tests.boot.command_line import Room
from tests.boot.conftest import GUEST, TCG, folder_of_all_workers
from tests.boot.patient import Patient

pytestmark = [pytest.mark.boot, pytest.mark.slow]

EXPECT = ExpectPart(login_user="debian", boot_limit_s=900, silence_limit_s=240)
RECIPE = GUEST / "recipes" / "debian.toml"
LIMIT_S = 1000

FSTAB = """LABEL=root / ext4 defaults,errors=remount-ro 0 1
LABEL=data /data ext4 defaults,x-systemd.device-timeout=10s 0 2
"""


@pytest.fixture(scope="session")
def debian(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Debian's pv disk, built once for all workers."""
    shared = folder_of_all_workers(tmp_path_factory, "debian")
    disk = shared / "out" / "debian-pv.raw"
    with locked_folder(shared):
        if not disk.exists():
            room = Room(folder=shared, runtime=shared, cache=host.cache_dir())
            ended = room.run("build", RECIPE, "--layout", "pv", "--out", disk.parent)
            assert ended.exit_code == 0, ended.stderr
    return disk


def lose_a_file_system(patient: Patient) -> None:
    patient.write("/etc/fstab", FSTAB, mode=0o644)


def lose_the_data_source(patient: Patient) -> None:
    patient.write("/etc/cloud/cloud.cfg.d/99-none.cfg", "datasource_list: [None]\n", mode=0o644)


def lose_dhcp(patient: Patient) -> None:
    patient.remove("/usr/sbin/dhclient")


def speak_up(patient: Patient) -> None:
    patient.change_menu(" quiet", " systemd.show_status=1 systemd.journald.forward_to_console=1")


def test_a_healthy_debian_that_tells_everything_shows_no_sign(debian: Path, tmp_path: Path) -> None:
    patient = Patient.copy(debian, tmp_path / "loud.raw", is_partitioned=False)
    speak_up(patient)
    trial = Trial(open_disk(patient.disk), tmp_path / "test", EXPECT, Surroundings())
    tested = asyncio.run(asyncio.wait_for(try_disk(trial, accelerator=TCG), LIMIT_S))
    assert tested.verdict.accepted, tested.verdict.reason
    stages = {stage.name.value: stage for stage in tested.verdict.stages}
    assert stages["cloud-init"].reached


@pytest.mark.parametrize(
    ("harm", "stage", "sign"),
    [
        (lose_a_file_system, "init", "fstab-device-missing"),
        (lose_the_data_source, "cloud-init", "cloud-init-no-datasource"),
        (lose_dhcp, "metadata", "metadata-unreachable"),
    ],
)
def test_a_broken_debian_is_named_within_two_seconds(
    debian: Path, tmp_path: Path, harm: Callable[[Patient], None], stage: str, sign: str
) -> None:
    patient = Patient.copy(debian, tmp_path / "broken.raw", is_partitioned=False)
    harm(patient)
    trial = Trial(open_disk(patient.disk), tmp_path / "test", EXPECT, Surroundings())
    tested = asyncio.run(asyncio.wait_for(try_disk(trial, accelerator=TCG), LIMIT_S))
    verdict, console = tested.verdict, "\n".join(tested.console_lines)
    assert not verdict.accepted
    assert verdict.sign is not None, console
    assert (verdict.sign.id, verdict.failed_stage) == (sign, stage), console
    assert verdict.seconds - verdict.sign.seconds < 2
