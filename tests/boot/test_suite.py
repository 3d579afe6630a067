"""The built-in suite on real machines: what is wrong is found, what is right is accepted."""

import asyncio
import shutil
import signal
from pathlib import Path

import pytest

from imgforge import host
from imgforge.accelerator import AcceleratorWish
from imgforge.disk import PvBoot, evaluate_pv_boot, open_disk
from imgforge.report import TestEntry, TestOutcome
from imgforge.start import pick_accelerator
from imgforge.suite import SuiteRun, choose_tests, run_tests
from imgforge.testing.built_in import suite_tests
from tests.boot.command_line import DIRECT_PV, Room
from tests.boot.conftest import GUEST, Workshop
from tests.boot.faulty_guest import LOGIN_USER, write_faults, write_hang
from tests.boot.test_goes_wrong_guest import read_verdict

pytestmark = pytest.mark.boot

# How each test fails on the guest that has all faults at once.
FAULTS = {
    "console-fits-what-ec2-keeps": "EC2 would lose its start",
    "no-unit-has-failed": "failed units: wrong.service",
    "clock-is-right-after-a-boot": "off the host's",
    "fallback-boots-when-the-first-entry-is-broken": "Rejected at stage bootloader",
    "hostname-is-the-metadata-services": "it is called elsewhere",
    "instance-id-is-the-metadata-services": "says i-00000000",
    "each-instance-has-a-machine-id-of-its-own": "the image brings it along",
    "each-machine-draws-random-numbers-of-its-own": "two machines drew the same: 00 00",
    "survives-a-reboot": "SSH logged in '0'",
    "instance-store-is-kept-by-a-reboot": "nothing could be written to ephemeral0",
    "survives-a-stop-and-start": "SSH logged in '0'",
    "blank-instance-store-is-mounted-after-a-stop": "ephemeral0 is not mounted",
    "shutdown-is-clean": "after a reboot a file system was not clean",
    "user-data-runs-once": "the user data ran again after a reboot",
    "owner-logs-in-with-the-injected-key": "unknown ID 0",
    "other-keys-are-refused": "admin is let in with a key nobody was told of",
    "no-password-is-asked-for": "admin is let in for nothing",
    "root-is-not-let-in-where-another-user-is": "the owner's key opens root's account, too",
    "nothing-else-listens": "beside SSH there listens: tcp port 4444 (",
    "no-account-has-an-empty-password": "accounts with an empty password: admin, root",
    "no-account-has-a-key-but-the-owners": "the owner's key also opens root",
    "each-instance-has-host-keys-of-its-own": "two instances have the same host keys",
    "owner-has-sudo-without-a-password": "a password is required",
    "nobody-else-has-sudo": "these have sudo, too: daemon",
    "root-partition-fills-its-volume": "the root's partition has 0.",
    "root-file-system-fills-its-volume": "the root file system has 0.",
    "ephemeral0-is-mounted-where-promised": "ephemeral0 is mounted nowhere",
}
# What only another guest can fail in.
HANGS = {
    "boots-within-its-limit": "imgforge-init: once was enough",
    "survives-a-reboot": "imgforge-init: once was enough",
}


def build(
    workshop: Workshop,
    room: Room,
    changes: dict[str, str],
    *,
    expect: str = "",
    layout: str = "hvm-mbr",
) -> Path:
    overlays = {f'"{workshop.folder}/overlay"': f'"{room.folder}/faults"'}
    recipe = workshop.write_recipe(room.folder, changes={**overlays, **changes}, expect=expect)
    ended = room.run("build", recipe, "--locked", "--layout", layout, "--out", room.out)
    assert ended.exit_code == 0, ended.stderr
    return room.out / f"minimal-{layout}.raw"


def run_suite(
    disk: Path, wanted: str, room: Room, monkeypatch: pytest.MonkeyPatch
) -> dict[str, TestEntry]:
    for name, value in room.environment.items():
        monkeypatch.setenv(name, value)
    opened = open_disk(disk)
    assert opened.recipe is not None
    wish = SuiteRun(
        wish=choose_tests(wanted),
        disk=opened,
        folder=room.folder / "test",
        expect=opened.recipe.expect,
        accelerator=pick_accelerator(AcceleratorWish.AUTO),
    )
    entries = asyncio.run(run_tests(wish))
    return {entry.name.removeprefix("suite:"): entry for entry in entries}


def assert_fails(entry: TestEntry, told: str) -> None:
    assert entry.outcome is TestOutcome.IMAGE, entry
    assert told in entry.failure


def test_each_test_of_the_suite_finds_its_fault(
    workshop: Workshop, room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_faults(room.folder, guest=GUEST)
    broken = '[[boot.entries]]\ntitle = "broken"\nkernel = "/boot/no-kernel"\ncommand_line = "ro"\n'
    changes = {
        "[[boot.entries]]": "[boot]\nfallback = 1\n\n[[boot.entries]]",
        "[expect]": f"{broken}\n[expect]",
        'login_user = "root"': f'login_user = "{LOGIN_USER}"',
        f'"{GUEST}/initrd/init"': f'"{room.folder}/init"',
    }
    entries = run_suite(build(workshop, room, changes), "full", room, monkeypatch)
    assert FAULTS.keys() | HANGS.keys() == suite_tests().keys() == entries.keys()
    found = {name: entry.failure for name, entry in entries.items() if name in FAULTS}
    assert {name: told for name, told in FAULTS.items() if told not in found[name]} == {}
    for name, told in FAULTS.items():
        assert_fails(entries[name], told)


@pytest.mark.parametrize("layout", ["hvm-mbr", "pv"])
def test_a_fallback_that_boots_is_found_to_boot(
    workshop: Workshop, room: Room, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    found = evaluate_pv_boot(workshop.disk, room.folder)
    assert isinstance(found, PvBoot)
    spare = room.folder / "faults/boot/spare"
    spare.parent.mkdir(parents=True)
    shutil.copy(found.kernel, spare)
    entry = (
        '[[boot.entries]]\ntitle = "spare"\nkernel = "/boot/spare"\ninitrd = "/boot/initrd.img"\n'
        'command_line = "root=LABEL=root ro console=ttyS0 quiet panic=-1 no_timer_check"\n'
    )
    changes = {
        "[[boot.entries]]": "[boot]\nfallback = 1\n\n[[boot.entries]]",
        "[expect]": f"{entry}\n[expect]",
    }
    name = "fallback-boots-when-the-first-entry-is-broken"
    disk = build(workshop, room, changes, layout=layout)
    entries = run_suite(disk, name, room, monkeypatch)
    assert entries[name].outcome is TestOutcome.PASSED, entries[name]


@pytest.mark.slow
def test_a_reboot_that_hangs_fails_the_tests_that_need_one(
    workshop: Workshop, room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_hang(room.folder, guest=GUEST)
    disk = build(workshop, room, {}, expect="silence_limit_s = 15\n")
    entries = run_suite(disk, ",".join(HANGS), room, monkeypatch)
    for name, told in HANGS.items():
        assert_fails(entries[name], told)


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["hvm-mbr", "hvm-gpt", "pv", "pv-part"])
def test_the_minimal_guest_passes_the_suite(workshop: Workshop, room: Room, layout: str) -> None:
    words = ("--suite", "full", "--locked", "--layout", layout, "--out", room.out)
    is_pv = layout.startswith("pv")
    # The workshop's kernel is LZ4, which no PV-GRUB reads.
    recipe = GUEST / "recipes/minimal.toml" if is_pv else workshop.recipe
    with room.start("run", recipe, *words) as running:
        ended = running.wait(2400)
    assert ended.exit_code == 0, ended.stdout + ended.stderr
    method = "xen-grub" if is_pv else "bios"
    assert read_verdict(room.out / f"minimal-{layout}.test")["boot_method"] == method


@pytest.mark.slow
def test_the_debian_guest_passes_the_suite(room: Room) -> None:
    # From the user's own cache: its root tree takes minutes.
    own = Room(folder=room.folder, runtime=room.runtime, cache=host.cache_dir())
    recipe = GUEST / "recipes/debian.toml"
    words = ("--suite", "full", "--locked", "--layout", "hvm-mbr", "--out", room.out)
    with own.start("run", recipe, *words) as running:
        ended = running.wait(3600)
    assert ended.exit_code == 0, ended.stdout + ended.stderr
    skipped = [entry["id"] for entry in read_verdict(room.out / "debian-hvm-mbr.test")["skipped"]]
    assert skipped == ["suite:fallback-boots-when-the-first-entry-is-broken"]


def test_own_tests_are_checks_of_the_verdict_beside_the_suites(
    workshop: Workshop, room: Room
) -> None:
    own = room.folder / "test_own.py"
    own.write_text(
        "import pytest\n\n"
        "def test_it_is_linux(shared_machine):\n"
        "    assert shared_machine.succeed('uname -s').strip() == 'Linux'\n\n"
        "def test_it_has_a_moon(shared_machine):\n"
        "    shared_machine.succeed('test -e /moon')\n\n"
        "def test_it_has_wings(shared_machine):\n"
        "    pytest.skip('no machine has wings')\n",
        encoding="utf-8",
    )
    out = room.folder / "test"
    words = ("--suite", "hostname-is-the-metadata-services", "--out", out)
    ended = room.run("test", workshop.disk, own, *words)
    assert ended.exit_code == 1, ended.stdout + ended.stderr
    verdict = read_verdict(out)
    checks = {check["id"]: check for check in verdict["checks"]}
    assert not verdict["accepted"]
    assert checks["booted"]["passed"]
    assert checks["suite:hostname-is-the-metadata-services"]["passed"]
    assert checks["test:test_own.py::test_it_is_linux"]["passed"]
    assert not checks["test:test_own.py::test_it_has_a_moon"]["passed"]
    [skipped] = verdict["skipped"]
    assert skipped["id"] == "test:test_own.py::test_it_has_wings"
    assert skipped["reason"] == "no machine has wings"
    reason = "Rejected: test:test_own.py::test_it_has_a_moon does not hold: test -e /moon"
    assert verdict["reason"].startswith(reason)
    assert "test_it_has_a_moon does not hold" in ended.stdout
    assert "test_it_has_a_moon" in (out / "report.html").read_text(encoding="utf-8")
    assert room.run("register", workshop.disk, "--verdict", out / "verdict.json").exit_code != 0


def test_a_rejected_boot_is_tested_no_further(workshop: Workshop, room: Room) -> None:
    recipe = workshop.write_recipe(room.folder, wrong="reboot")
    words = ("--suite", "full", "--locked", *DIRECT_PV, "--out", room.out)
    ended = room.run("run", recipe, *words)
    assert ended.exit_code == 1
    assert "suite:" not in ended.stderr
    assert not (room.out / "minimal-pv.test/tests").exists()


def test_an_interrupted_suite_leaves_no_verdict_and_no_process(
    workshop: Workshop, room: Room
) -> None:
    out = room.folder / "test"
    with room.start("test", workshop.disk, "--out", out) as running:
        assert running.saw("suite:hostname"), running.stderr
        ended = running.interrupt(signal.SIGINT)
    assert ended.exit_code == 130, ended.stderr
    assert "Traceback" not in ended.stderr
    room.assert_no_process_is_left()
    assert not (out / "verdict.json").exists()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("import nothing_of_this_name\n", "nothing_of_this_name"),
        pytest.param("", "pytest found none", marks=pytest.mark.slow),
    ],
)
def test_own_tests_that_are_none_are_bad_input_and_no_verdict(
    workshop: Workshop, room: Room, text: str, told: str
) -> None:
    own = room.folder / "test_own.py"
    own.write_text(text, encoding="utf-8")
    out = room.folder / "test"
    ended = room.run("test", workshop.disk, own, "--suite", "none", "--out", out)
    assert ended.exit_code == 2, ended.stdout + ended.stderr
    assert told in ended.stderr
    assert not (out / "verdict.json").exists()
