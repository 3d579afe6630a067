"""`imgforge menu-lst` on real disks, each wrong in one way."""
# ruff: noqa: E501 - the rows of its tables

import gzip
import json
import lzma
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from imgforge.aki import parse_name
from imgforge.command import run
from imgforge.disk import (
    MenuExamination,
    NewEntry,
    Weight,
    World,
    edit_disk,
    examine_menu,
    read_first_menu,
)
from imgforge.disk.kernel_image import examine_kernel
from imgforge.disk.menu_place import MENU_PLACES
from imgforge.disk.menu_rule_table import RULES
from imgforge.errors import BadInputError
from tests.kernel_files import make_bzimage, make_elf, pack_lzo
from tests.menu_disks import make_disk, make_gpt, make_hvm_disk

KERNEL = make_bzimage(gzip.compress(make_elf()))
ARGUMENTS = "root=LABEL=root console=hvc0"
MENU = f"default 0\nfallback 1\ntimeout 0\ntitle new\nroot (hd0)\nkernel /boot/k {ARGUMENTS}\ninitrd /boot/i\n"
OLD = f"title old\nroot (hd0)\nkernel /boot/old {ARGUMENTS}\n"
GOOD = MENU + OLD
AKI = "pv-grub-hd0_1.05-x86_64.gz"
Change = Callable[[dict[str, bytes]], None]


def files_of(menu: str = GOOD, **others: bytes) -> dict[str, bytes]:
    files = {"boot/k": KERNEL, "boot/i": b"initrd", "boot/old": KERNEL}
    files["boot/grub/menu.lst"] = menu.encode()
    return files | {name.replace("__", "/"): content for name, content in others.items()}


def imgforge(*words: str | Path) -> "subprocess.CompletedProcess[bytes]":
    command = [sys.executable, "-m", "imgforge", *words]
    return subprocess.run(command, capture_output=True, check=False, timeout=60)


def ids(examined: MenuExamination, weight: Weight) -> set[str]:
    return {finding.rule.id for finding in examined.findings if finding.weight is weight}


def test_a_good_disk_has_no_finding(tmp_path: Path) -> None:
    examined = examine_menu(make_disk(tmp_path, files_of()), pv_grub=parse_name(AKI))
    assert examined.findings == ()
    assert (examined.world, examined.boots) == (World.PV, 0)


def entry(change: Callable[[str], str]) -> dict[str, bytes]:
    return files_of(change(MENU) + OLD)


LZ4 = make_bzimage(b"\x02\x21\x4c\x18" + bytes(50))
ZSTD = make_bzimage(b"\x28\xb5\x2f\xfd" + bytes(50))
# Files, AKI, the rule that is broken, the entry that boots all the same.
PV_CASES: dict[str, tuple[dict[str, bytes], str, str, int | None]] = {
    "no menu": ({"boot/k": KERNEL}, AKI, "menu-missing", None),
    "grub.conf alone": ({"boot/grub/grub.conf": GOOD.encode(), "boot/k": KERNEL, "boot/i": b"", "boot/old": KERNEL}, AKI, "menu-name", None),
    "no title": (files_of("default 0\n"), AKI, "menu-without-entry", None),
    "binary": (files_of("\x00\x7f\n" * 99), AKI, "menu-without-entry", None),
    "two mebibytes": (files_of("#" * 2**21), AKI, "menu-unreadable", None),
    "kernel missing": (entry(lambda m: m.replace("/boot/k", "/boot/none")), AKI, "kernel-missing", 1),
    "kernel missing, no fallback": (files_of(MENU.replace("/boot/k", "/none").replace("fallback 1\n", "")), AKI, "kernel-missing", None),
    "initrd missing": (entry(lambda m: m.replace("/boot/i", "/boot/none")), AKI, "initrd-missing", 1),
    "no kernel line": (entry(lambda m: m.replace("kernel", "pager")), AKI, "kernel-unnamed", 1),
    "text for a kernel": (files_of(boot__k=b"text" * 999), AKI, "kernel-none", 1),
    "kernel cut short": (files_of(boot__k=KERNEL[:2000]), AKI, "kernel-damaged", 1),
    "lz4": (files_of(boot__k=LZ4), AKI, "kernel-compression", 1),
    "zstd": (files_of(boot__k=ZSTD), AKI, "kernel-compression", 1),
    "no notes for Xen": (files_of(boot__k=make_bzimage(gzip.compress(make_elf(notes=(18,))))), AKI, "kernel-not-for-xen", 1),
    "32-bit kernel, 64-bit AKI": (files_of(boot__k=make_bzimage(lzma.compress(make_elf(bits=32)), bits=32)), AKI, "kernel-bits", 1),
    "64-bit kernel, 32-bit AKI": (files_of(), "pv-grub-hd0_1.05-i386.gz", "kernel-bits", None),
    "root (hd0,0)": (entry(lambda m: m.replace("(hd0)", "(hd0,0)")), AKI, "root-layout", 1),
    "root (hd1)": (entry(lambda m: m.replace("(hd0)", "(hd1)")), AKI, "root-unknown", 1),
    "another label": (entry(lambda m: m.replace("LABEL=root", "LABEL=other")), AKI, "root-argument-label", None),
    "another UUID": (entry(lambda m: m.replace("LABEL=root", "UUID=00000000-0000-4000-8000-000000000000")), AKI, "root-argument-uuid", None),
    "/dev/sda1": (entry(lambda m: m.replace("LABEL=root", "/dev/sda1")), AKI, "root-argument-device", None),
    "/dev/xvda2": (entry(lambda m: m.replace("LABEL=root", "/dev/xvda2")), AKI, "root-argument-device", None),
    "chainloader": (entry(lambda m: m.replace("kernel", "chainloader +1\n#")), AKI, "chainloader", 1),
    "no timeout": (files_of(GOOD.replace("timeout 0\n", "")), AKI, "timeout-missing", None),
    "pause": (entry(lambda m: m.replace("kernel", "pause\nkernel")), AKI, "entry-pauses", None),
    "lock": (entry(lambda m: "password x\n" + m.replace("kernel", "lock\nkernel")), AKI, "entry-waits", 1),
    "configfile missing": (entry(lambda m: m.replace("kernel", "configfile /none\n#")), AKI, "configfile-missing", 1),
    "configfile in a circle": (entry(lambda m: m.replace("kernel", "configfile /boot/grub/menu.lst\n#")), AKI, "menu-circle", None),
    "hd00 AKI of 1.03": (files_of(), "pv-grub-hd00_1.03-x86_64.gz", "aki-place", None),
    "hd00 AKI of 1.03, by place": (files_of(), "pv-grub-hd00_1.03-x86_64.gz", "menu-place-1.03", None),
}  # fmt: skip


@pytest.mark.parametrize("name", list(PV_CASES))
def test_each_error_is_found_and_told_from_what_boots(tmp_path: Path, name: str) -> None:
    files, aki, rule, boots = PV_CASES[name]
    examined = examine_menu(make_disk(tmp_path, files), pv_grub=parse_name(aki))
    assert rule in ids(examined, Weight.ERROR)
    assert examined.boots == boots


def test_from_104_on_an_hd00_aki_finds_the_whole_disks_menu_too(tmp_path: Path) -> None:
    hd00 = parse_name("pv-grub-hd00_1.05-x86_64.gz")
    examined = examine_menu(make_disk(tmp_path, files_of()), pv_grub=hd00)
    assert "aki-hd00" in ids(examined, Weight.WARNING)
    assert (examined.boots, examined.has_error) == (0, False)


def test_a_root_that_is_not_there_is_told_by_the_kernel_not_by_grub(tmp_path: Path) -> None:
    # GRUB's fallback is for what GRUB itself cannot load: the old entry is never tried.
    both = entry(lambda m: m.replace("LABEL=root", "LABEL=other").replace("/boot/k", "/boot/none"))
    examined = examine_menu(make_disk(tmp_path, both), pv_grub=parse_name(AKI))
    assert {"root-argument-label", "kernel-missing"} <= ids(examined, Weight.ERROR)
    assert examined.boots == 1


PV_WARNINGS = {
    "default out of range": (GOOD.replace("default 0", "default 5"), "default-range"),
    "fallback out of range": (GOOD.replace("fallback 1", "fallback 5"), "fallback-range"),
    "fallback the same": (GOOD.replace("fallback 1", "fallback 0"), "fallback-same"),
    "no root=": (GOOD.replace("root=LABEL=root", ""), "root-argument-missing"),
    "an LVM root": (GOOD.replace("LABEL=root", "/dev/mapper/vg-root"), "root-argument-lvm"),
    "console=ttyS0": (GOOD.replace("hvc0", "ttyS0"), "console-missing"),
    "a long command line": (
        GOOD.replace("LABEL=root", "LABEL=root " + "x" * 1600),
        "line-too-long",
    ),
    "misspelt": (GOOD.replace("timeout", "timeuot\ntimeout"), "command-unknown"),
}


HUGE = 10 * 2**20


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("ten mebibytes of comments", GOOD.encode() + b"#" * HUGE),
        ("ten mebibytes in one line", b"title " + b"x" * HUGE),
        ("ten mebibytes of titles", b"title a\nkernel /k\n" * (HUGE // 18)),
        ("ten mebibytes of noise", bytes(range(256)) * (HUGE // 256)),
    ],
)
def test_a_menu_of_ten_mebibytes_is_refused_at_once(
    tmp_path: Path, name: str, content: bytes
) -> None:
    disk = make_disk(tmp_path, {"boot/grub/menu.lst": content}, size="24M")
    examined = examine_menu(disk, pv_grub=parse_name(AKI))
    assert "menu-unreadable" in ids(examined, Weight.ERROR), name
    assert examined.boots is None
    with pytest.raises(BadInputError, match="is longer than"):
        read_first_menu(disk)


def test_a_menu_without_end_is_refused_and_fills_nothing(tmp_path: Path) -> None:
    disk = make_disk(tmp_path, files_of())
    run("debugfs", ["-w", "-R", f"sif /boot/grub/menu.lst size {2**40}", disk])
    examined = examine_menu(disk, pv_grub=parse_name(AKI))
    assert "menu-unreadable" in ids(examined, Weight.ERROR)


@pytest.mark.parametrize("target", ["menu.lst", "/boot/grub/menu.lst", "/boot", "/none"])
def test_a_menu_that_is_a_link_to_nothing_is_no_menu(tmp_path: Path, target: str) -> None:
    files = files_of()
    del files["boot/grub/menu.lst"]
    (tmp_path / "tree/boot/grub").mkdir(parents=True)
    (tmp_path / "tree/boot/grub/menu.lst").symlink_to(target)
    examined = examine_menu(make_disk(tmp_path, files), pv_grub=parse_name(AKI))
    assert ids(examined, Weight.ERROR) <= {"menu-missing", "menu-unreadable"}
    assert examined.boots is None


@pytest.mark.parametrize("name", list(PV_WARNINGS))
def test_what_still_boots_is_a_warning(tmp_path: Path, name: str) -> None:
    menu, rule = PV_WARNINGS[name]
    examined = examine_menu(make_disk(tmp_path, files_of(menu)), pv_grub=parse_name(AKI))
    assert rule in ids(examined, Weight.WARNING)
    assert examined.boots is not None


def test_a_compression_that_is_not_unpacked_here_is_a_note(tmp_path: Path) -> None:
    examined = examine_menu(make_disk(tmp_path, files_of(boot__k=LZ4)), pv_grub=parse_name(AKI))
    assert ids(examined, Weight.NOTE) == {"kernel-notes-unread"}


def test_a_kernel_packed_by_lzo_is_unpacked_too(tmp_path: Path) -> None:
    for name, elf, rule in (
        ("good", make_elf(), None),
        ("narrow", make_elf(bits=32), "kernel-bits"),
        ("no notes", make_elf(notes=(18,)), "kernel-not-for-xen"),
    ):
        (tmp_path / name).mkdir()
        size = len(elf).to_bytes(4, "little")  # as Linux appends it
        files = files_of(boot__k=make_bzimage(pack_lzo(elf) + size))
        examined = examine_menu(make_disk(tmp_path / name, files), pv_grub=parse_name(AKI))
        assert ids(examined, Weight.ERROR) == ({rule} if rule else set()), name
        assert ids(examined, Weight.NOTE) == set()


@pytest.mark.parametrize(
    "payload", [b"\x89LZO", pack_lzo(make_elf())[:3000], b"\x89LZO" + b"\xff" * 9999]
)
def test_an_lzo_that_is_none_is_damage(tmp_path: Path, payload: bytes) -> None:
    (tmp_path / "k").write_bytes(make_bzimage(payload))
    kernel = examine_kernel(tmp_path / "k")
    assert kernel is not None
    assert kernel.damage
    assert kernel.xen_notes is None


@pytest.mark.parametrize(("number", "folder"), MENU_PLACES)
def test_each_of_the_nine_places_is_found_and_1_03_reads_one(
    tmp_path: Path, number: int, folder: str
) -> None:
    root = f"(hd0,{number - 1})" if number else "(hd0)"
    files = files_of()
    menu = files.pop("boot/grub/menu.lst").decode().replace("(hd0)", root)
    files[f"{folder[1:]}/menu.lst"] = menu.encode()
    disk = make_disk(tmp_path, files, partitions=4 if number else 0, at=max(number, 1))
    assert examine_menu(disk, world=World.PV, pv_grub=parse_name(AKI)).boots == 0
    old = parse_name(f"pv-grub-{'hd00' if number else 'hd0'}_1.03-x86_64.gz")
    is_first = (number, folder) in {(0, "/boot/grub"), (1, "/boot/grub")}
    assert examine_menu(disk, world=World.PV, pv_grub=old).boots == (0 if is_first else None)


def test_ext4_as_it_is_made_today_is_warned_of(tmp_path: Path) -> None:
    disk = make_disk(tmp_path, files_of(), kind="ext4")
    run("tune2fs", ["-O", "64bit", disk], accepted_exit_codes=range(256))
    examined = examine_menu(disk, pv_grub=parse_name(AKI))
    assert ids(examined, Weight.WARNING) <= {"file-system-features"}


def test_hvm_has_rules_of_its_own(tmp_path: Path) -> None:
    menu = (
        GOOD.replace("(hd0)", "(hd0,0)")
        .replace("hvc0", "ttyS0")
        .replace("title new", "hiddenmenu\ntitle new")
    )
    files = files_of(menu, boot__old=gzip.compress(make_elf()))
    disk = make_hvm_disk(tmp_path, files)
    examined = examine_menu(disk, world=World.HVM, pv_grub=parse_name(AKI))
    assert ids(examined, Weight.ERROR) == {"kernel-container"}
    assert ids(examined, Weight.WARNING) == {"aki-for-hvm"}
    assert ids(examined, Weight.NOTE) == {"hiddenmenu", "serial-missing"}
    assert examined.boots == 0


def test_gpt_is_too_new_for_1_03(tmp_path: Path) -> None:
    disk = make_disk(tmp_path, files_of(GOOD.replace("(hd0)", "(hd0,0)")), partitions=1)
    with disk.open("r+b") as file:
        file.truncate(disk.stat().st_size + 2**20)
    make_gpt(disk)
    for release, is_found in (("1.03", True), ("1.04", False)):
        pv_grub = parse_name(f"pv-grub-hd00_{release}-x86_64.gz")
        examined = examine_menu(disk, world=World.PV, pv_grub=pv_grub)
        assert ("gpt-1.03" in ids(examined, Weight.ERROR)) is is_found


def test_every_rule_names_its_section_and_has_an_id() -> None:
    assert all(rule.id == key for key, rule in RULES.items())
    assert all(rule.needed and rule.hint and rule.section for rule in RULES.values())


@pytest.mark.parametrize("partitions", [0, 1])
@pytest.mark.parametrize("kind", ["ext2", "ext3", "ext4"])
def test_an_edited_disk_boots_the_new_kernel_and_is_sound(
    tmp_path: Path, kind: str, partitions: int
) -> None:
    menu = GOOD.replace("(hd0)", "(hd0,0)") if partitions else GOOD
    disk = make_disk(tmp_path, files_of(menu), kind=kind, partitions=partitions)
    before = disk.read_bytes()
    copy = tmp_path / "out" / "copy.raw"
    added = NewEntry(title="newest", kernel="/boot/old", initrd="/boot/i")
    written = edit_disk(disk, added, destination=copy)
    assert disk.read_bytes() == before
    assert written.menu.order == (0, 1, 2)
    assert written.menu.entries[0].command_line == ARGUMENTS
    assert written.data.endswith(menu.partition("timeout 0\n")[2].encode())
    assert [path.name for path in copy.parent.iterdir() if not path.name.startswith(".")] == [
        "copy.raw"
    ]
    inner = tmp_path / "inner"
    inner.write_bytes(copy.read_bytes()[2048 * 512 if partitions else 0 :])
    run("e2fsck", ["-fn", inner])
    edit_disk(copy, added, destination=copy)
    assert len(examine_menu(copy, world=World.PV).facts.entries) == 4


def test_a_symbolic_link_stays_one_and_owner_and_mode_too(tmp_path: Path) -> None:
    files = files_of()
    files["boot/grub/grub.conf"] = files.pop("boot/grub/menu.lst")
    tree = tmp_path / "tree" / "boot" / "grub"
    tree.mkdir(parents=True)
    (tree / "menu.lst").symlink_to("./grub.conf")
    disk = make_disk(tmp_path, files)
    run("debugfs", ["-w", "-R", "sif /boot/grub/grub.conf mode 0100600", disk])
    run("debugfs", ["-w", "-R", "sif /boot/grub/grub.conf uid 70001", disk])
    edit_disk(disk, NewEntry(title="n", kernel="/boot/k"), destination=disk)
    said = run("debugfs", ["-R", "stat /boot/grub/grub.conf", disk]).stdout.decode()
    assert "Mode:  0600" in said
    assert "User: 70001" in said
    assert "symlink" in run("debugfs", ["-R", "stat /boot/grub/menu.lst", disk]).stdout.decode()
    assert examine_menu(disk).facts.entries[0].entry.title == "n"


def test_a_disk_that_cannot_be_edited_is_left_as_it_is(tmp_path: Path) -> None:
    disk = make_disk(tmp_path, files_of())
    run("debugfs", ["-w", "-R", "feature needs_recovery", disk])
    before = disk.read_bytes()
    with pytest.raises(BadInputError, match="was not unmounted"):
        edit_disk(disk, NewEntry(title="n", kernel="/boot/k"), destination=disk)
    assert disk.read_bytes() == before
    empty = tmp_path / "empty.raw"
    empty.write_bytes(bytes(2**20))
    with pytest.raises(BadInputError, match="no menu"):
        edit_disk(empty, NewEntry(title="n", kernel="/k"), destination=tmp_path / "x")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("entry", "found"),
    [
        (NewEntry(title="n", kernel="/boot/none"), "/boot/none"),
        (NewEntry(title="n", kernel="/boot/k", initrd="/none"), "/none"),
        (NewEntry(title="n", kernel="/boot/i"), "/boot/i is no Linux kernel"),
        (NewEntry(title="n", kernel="/boot/k", root="(hd0,3)"), "(hd0,3)"),
    ],
)
def test_an_entry_that_would_not_boot_is_not_added(
    tmp_path: Path, entry: NewEntry, found: str
) -> None:
    disk = make_disk(tmp_path, files_of())
    before = disk.read_bytes()
    with pytest.raises(BadInputError, match="the new entry would not boot") as caught:
        edit_disk(disk, entry, destination=disk)
    assert found in str(caught.value)
    assert "Install the kernel" in caught.value.hint
    assert disk.read_bytes() == before


def test_a_disk_that_may_not_grow_so_far_is_told_as_that(tmp_path: Path) -> None:
    disk = make_disk(tmp_path, files_of())
    words: list[str | Path] = [sys.executable, "-m", "imgforge", "menu-lst", "edit", disk]
    words += ["--title", "n", "--kernel", "/boot/k", "-o", tmp_path / "x"]
    command = ["prlimit", "--fsize=1000000", *words]
    ended = subprocess.run(command, capture_output=True, check=False, timeout=60)
    assert ended.returncode == 3
    assert b"the changed disk cannot be written there: File too large" in ended.stderr
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("partitions", [0, 1])
def test_hvm_needs_boot_code(tmp_path: Path, partitions: int) -> None:
    root = "(hd0,0)" if partitions else "(hd0)"
    menu = GOOD.replace("(hd0)", root).replace("hvc0", "ttyS0")
    disk = make_disk(tmp_path, files_of(menu), partitions=partitions)
    examined = examine_menu(disk, world=World.HVM)
    assert ids(examined, Weight.ERROR) == {"boot-code-missing"}
    assert examined.boots is None
    assert imgforge("menu-lst", "check", disk, "--virtualization", "hvm").returncode == 1


def test_the_gravest_findings_come_first(tmp_path: Path) -> None:
    menu = (
        GOOD.replace("fallback 1\n", "")
        .replace("title new", "pagger\ntitle new")
        .replace("/boot/k", "/no")
    )
    examined = examine_menu(make_disk(tmp_path, files_of(menu)), pv_grub=parse_name(AKI))
    weights = [finding.weight for finding in examined.findings]
    assert weights == sorted(weights, key=list(Weight).index)
    assert set(weights) == set(Weight)


def test_the_commands_speak_json_and_returncodes(tmp_path: Path) -> None:
    disk = make_disk(tmp_path, files_of())
    shown = imgforge("menu-lst", "show", disk, "--json")
    assert json.loads(shown.stdout)["order"] == [0, 1]
    assert imgforge("menu-lst", "show", disk, "--raw").stdout == GOOD.encode()
    good = imgforge("menu-lst", "check", disk, "--json", "--aki", "aki-5c21674b")
    assert (good.returncode, json.loads(good.stdout)["boots"]) == (0, 0)
    bad = imgforge("menu-lst", "check", disk, "--json", "--aki", "aki-04206613")
    assert (bad.returncode, json.loads(bad.stdout)["boots"]) == (1, None)
    edit = ("menu-lst", "edit", disk, "--title", "n", "--kernel", "/boot/k")
    assert imgforge(*edit).returncode == 2
    copy = tmp_path / "copy.raw"
    assert imgforge(*edit, "-o", copy).returncode == 0
    assert json.loads(imgforge("menu-lst", "show", copy, "--json").stdout)["order"] == [0, 1, 2]
    assert imgforge("aki", "check", "aki-5c21674b").returncode == 0
    old = imgforge("aki", "check", "pv-grub-hd0_1.03-i386.gz")
    assert old.returncode == 1
    assert old.stdout.count(b"hd0_1.03") == 1
    assert b"The newest is 1.05; imgforge aki update --region REGION" in old.stdout
    update = ("aki", "update", "pv-grub-hd0_1.03-i386.gz", "--region", "eu-west-1")
    told = imgforge(*update, "--instance", "i-12345678", "--json")
    assert json.loads(told.stdout)["successor"]["id"] == "aki-1c9fd86f"
    assert len(json.loads(told.stdout)["commands"]) == 4
