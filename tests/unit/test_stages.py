"""How far a machine has come, as its console and requests tell."""

import pytest

from imgforge.acceptance.record import BootMethod, StageName
from imgforge.acceptance.stages import StageClock

TEXTS = [
    ("SeaBIOS (version 1.16.2-debian-1.16.2-1)", StageName.FIRMWARE),
    ("GRUB Loading stage1.5.", StageName.BOOTLOADER),
    ("GRUB loading, please wait...", StageName.BOOTLOADER),
    ("  Booting 'minimal'", StageName.BOOTLOADER),
    ("[    0.000000] Linux version 6.1.0-18-cloud-amd64", StageName.KERNEL),
    ("Linux version 2.6.32 (root@build)", StageName.KERNEL),
    ("Booting the kernel.", StageName.KERNEL),
    ("[    1.234567] anything", StageName.KERNEL),
    ("Loading, please wait...", StageName.INITRAMFS),
    ("Begin: Loading essential drivers ... done.", StageName.INITRAMFS),
    ("imgforge-initramfs: mounting LABEL=root", StageName.INITRAMFS),
    ("systemd[1]: systemd 252.22 running in system mode", StageName.INIT),
    ("Welcome to Debian GNU/Linux 12 (bookworm)!", StageName.INIT),
    ("imgforge-init: started", StageName.INIT),
    ("INIT: version 3.06 booting", StageName.INIT),
    ("udhcpc: lease of 169.0.2.15 obtained, lease time 86400", StageName.NETWORK),
    ("imgforge-init: network 169.0.2.15/8 on eth0", StageName.NETWORK),
    ("DHCPACK of 10.0.2.15 from 10.0.2.2", StageName.NETWORK),
    (
        "ci-info: |  ens3  | True |  169.0.2.15  | 255.0.0.0 | global | 02:00 |",
        StageName.NETWORK,
    ),
]


def _furthest(clock: StageClock) -> StageName | None:
    reached = [stage.name for stage in clock.stages() if stage.reached]
    return reached[-1] if reached else None


@pytest.mark.parametrize(("text", "stage"), TEXTS)
def test_recognises_a_stage(text: str, stage: StageName) -> None:
    clock = StageClock(boot_method=BootMethod.BIOS)
    clock.read(text, 1.5)
    assert _furthest(clock) is stage


def test_nothing_is_reached_before_anything_was_seen() -> None:
    assert _furthest(StageClock(boot_method=BootMethod.BIOS)) is None


def test_any_text_shows_that_the_firmware_runs() -> None:
    clock = StageClock(boot_method=BootMethod.BIOS)
    clock.read("\x00garbage", 0.5)
    assert clock.stages()[0].seconds == 0.5


def test_a_machine_without_a_metadata_service_has_no_stage_of_it() -> None:
    clock = StageClock(boot_method=BootMethod.BIOS, has_metadata=False)
    clock.reach(StageName.METADATA, 3.0)
    clock.reach(StageName.SSH, 4.0)
    assert StageName.METADATA not in [stage.name for stage in clock.stages()]
    assert clock.furthest is StageName.SSH


def test_a_later_stage_implies_the_earlier_ones_without_a_time() -> None:
    clock = StageClock(boot_method=BootMethod.BIOS)
    clock.read("GRUB loading", 1.0)
    clock.read("imgforge-init: started", 6.0)
    stages = {stage.name: stage for stage in clock.stages()}
    assert stages[StageName.KERNEL].reached
    assert stages[StageName.KERNEL].seconds is None
    assert stages[StageName.BOOTLOADER].seconds == 1.0
    assert not stages[StageName.NETWORK].reached


def test_a_stage_keeps_the_time_of_its_first_sign() -> None:
    clock = StageClock(boot_method=BootMethod.BIOS)
    clock.read("[    0.000000] Linux version 6.1", 4.0)
    clock.read("[    9.000000] Linux version 6.1", 13.0)
    assert [stage.seconds for stage in clock.stages() if stage.name is StageName.KERNEL] == [4.0]


def test_a_direct_boot_has_neither_firmware_nor_bootloader() -> None:
    clock = StageClock(boot_method=BootMethod.DIRECT)
    clock.read("GRUB loading", 1.0)
    assert _furthest(clock) is None
    clock.reach(StageName.SSH, 9.0)
    without = {StageName.FIRMWARE, StageName.BOOTLOADER, StageName.CLOUD_INIT}
    assert [stage.name for stage in clock.stages()] == [n for n in StageName if n not in without]
    assert all(stage.reached for stage in clock.stages())


CLOUD_INIT = "[   40.1] cloud-init[329]: Cloud-init v. 22.4.2 "


def test_cloud_init_is_not_listed_for_a_machine_on_which_it_says_nothing() -> None:
    clock = StageClock(boot_method=BootMethod.BIOS)
    clock.read("Reading cloud-init's manual", 1.0)
    clock.reach(StageName.SSH, 9.0)
    assert StageName.CLOUD_INIT not in {stage.name for stage in clock.stages()}


def test_cloud_init_is_listed_from_its_first_word_and_reached_with_its_modules() -> None:
    clock = StageClock(boot_method=BootMethod.BIOS)
    clock.read(CLOUD_INIT + "running 'init-local' at Mon, 23 Nov 2026", 40.0)
    stages = {stage.name: stage for stage in clock.stages()}
    assert not stages[StageName.CLOUD_INIT].reached
    clock.reach(StageName.METADATA, 41.0)
    clock.read("login: " + CLOUD_INIT + "running 'modules:config' at Mon, 23 Nov 2026", 50.0)
    clock.read(CLOUD_INIT + "running 'modules:final' at Mon, 23 Nov 2026", 55.0)
    stages = {stage.name: stage for stage in clock.stages()}
    assert (stages[StageName.CLOUD_INIT].reached, stages[StageName.CLOUD_INIT].seconds) == (
        True,
        50.0,
    )
    assert not stages[StageName.SSH].reached


def test_cloud_init_without_a_network_implies_neither_network_nor_metadata() -> None:
    clock = StageClock(boot_method=BootMethod.BIOS)
    clock.read("systemd[1]: hello", 9.0)
    clock.read(CLOUD_INIT + "finished at Mon. Datasource DataSourceNone.  Up 9 seconds", 99.0)
    reached = [stage.name for stage in clock.stages() if stage.reached]
    assert reached[-2:] == [StageName.INIT, StageName.CLOUD_INIT]
    assert clock.furthest is StageName.INIT


def test_a_login_before_cloud_init_is_done_implies_it() -> None:
    clock = StageClock(boot_method=BootMethod.BIOS)
    clock.read(CLOUD_INIT + "running 'init' at Mon, 23 Nov 2026", 40.0)
    clock.reach(StageName.SSH, 50.0)
    clock.read(CLOUD_INIT + "running 'modules:final' at Mon, 23 Nov 2026", 55.0)
    stages = {stage.name: stage for stage in clock.stages()}
    assert all(stage.reached for stage in stages.values())
    assert stages[StageName.CLOUD_INIT].seconds == 55.0


@pytest.mark.parametrize(
    "text",
    ["[  OK  ] Started x", "xsystemd[1]:x", "a lease", "ci-info: |  lo  | True | 127.0.0.1 |"],
)
def test_other_text_shows_no_stage_of_its_own(text: str) -> None:
    clock = StageClock(boot_method=BootMethod.BIOS)
    clock.read(text, 1.0)
    assert _furthest(clock) is StageName.FIRMWARE


def test_a_kernel_that_its_loader_handed_over_to_is_reached_and_waited_for() -> None:
    clock = StageClock(boot_method=BootMethod.XEN_GRUB)
    clock.read("imgforge-pvgrub: reads (hd0)/boot/grub/menu.lst", 4.0)
    assert not clock.waits_for_kernel
    clock.hand_over(30.0)
    assert _furthest(clock) is StageName.KERNEL
    assert clock.waits_for_kernel
    clock.read("Booting `late words of the loader'", 30.1)
    assert clock.waits_for_kernel
    clock.read("[    0.000000] Linux version 6.1.0", 31.0)
    assert not clock.waits_for_kernel
    (bootloader, kernel, *_) = clock.stages()
    assert (bootloader.seconds, kernel.seconds) == (4.0, 30.0)


def test_a_quiet_kernel_is_no_longer_waited_for_once_init_speaks() -> None:
    clock = StageClock(boot_method=BootMethod.XEN_GRUB)
    clock.hand_over(30.0)
    clock.read("imgforge-init: hello", 40.0)
    assert not clock.waits_for_kernel


def test_a_guest_that_closes_its_disks_later_starts_no_kernel_again() -> None:
    clock = StageClock(boot_method=BootMethod.XEN_GRUB)
    clock.read("[    0.000000] Linux version 6.1.0", 9.0)
    clock.hand_over(50.0)
    assert not clock.waits_for_kernel
    assert {stage.name: stage.seconds for stage in clock.stages()}[StageName.KERNEL] == 9.0
