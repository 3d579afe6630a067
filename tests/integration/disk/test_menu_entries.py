"""What an entry of menu.lst does before it boots, and where a configfile leads: on real disks."""

from pathlib import Path

import pytest

from imgforge.aki import parse_name
from imgforge.disk import MenuExamination, Weight, examine_menu
from imgforge.disk.menu_files import MenuFiles
from imgforge.disk.volume import read_volumes
from tests.menu_boots import HEAD, KERNEL, MENU, NEW, OLD
from tests.menu_disks import make_disk

FILES = {"boot/k": KERNEL, "boot/i": b"initrd", "boot/old": KERNEL}
AKI = "pv-grub-hd0_1.05-x86_64.gz"


def examine(
    folder: Path, menu: str, others: dict[str, bytes] | None = None, aki: str = AKI
) -> MenuExamination:
    files = FILES | {"boot/grub/menu.lst": menu.encode()} | (others or {})
    return examine_menu(make_disk(folder, files), pv_grub=parse_name(aki))


def errors(examined: MenuExamination) -> set[str]:
    return {finding.rule.id for finding in examined.findings if finding.weight is Weight.ERROR}


@pytest.mark.parametrize(
    ("old", "new", "rules", "boots"),
    [
        ("kernel /boot/k", "kernel /boot/none\nkernel /boot/k", {"kernel-missing"}, 1),
        ("kernel /boot/k", "kernel --type=x /k\nkernel /boot/k", {"kernel-unnamed"}, 1),
        ("kernel /boot/k", "kernel /boot/old\nkernel /boot/k", set(), 0),
        ("initrd", "initrd /boot/none\ninitrd", {"initrd-missing"}, 1),
        ("root (hd0)", "root (hd3)\nroot (hd0)", {"root-unknown"}, 1),
        ("root (hd0)", "root (hd0,2)\nroot (hd0)", {"root-unknown"}, 1),
        ("kernel", "find /nonexistent\nkernel", {"command-fails"}, 1),
        ("kernel", "find /boot/k\nkernel", set(), 0),
        ("kernel", "cat /nonexistent\nkernel", {"command-fails"}, 1),
        ("initrd /boot/i", "initrd /boot/i\nhalt", {"entry-ends"}, None),
        ("initrd /boot/i", "initrd /boot/i\nreboot", {"entry-ends"}, None),
        ("kernel /boot/k", "halt\nkernel /none", {"entry-ends"}, None),
        ("kernel /boot/k", "kernel /none\nhalt\n#", {"entry-ends", "kernel-missing"}, 1),
        ("initrd /boot/i", "boot\nhalt", set(), 0),
    ],
)
def test_every_command_of_an_entry_is_carried_out(
    tmp_path: Path, old: str, new: str, rules: set[str], boots: int | None
) -> None:
    examined = examine(tmp_path, HEAD + NEW.replace(old, new, 1) + OLD)
    assert errors(examined) == rules
    assert examined.boots == boots


BROKEN = NEW.replace("/boot/k", "/boot/none")


def test_a_fallback_that_leads_in_a_circle_boots_nothing(tmp_path: Path) -> None:
    circle = "title b\nroot (hd0)\nconfigfile /boot/grub/menu.lst\n"
    examined = examine(tmp_path, HEAD + BROKEN + circle)
    assert {"menu-circle", "kernel-missing"} == errors(examined)
    assert examined.boots is None


def test_a_fallback_may_lead_to_another_menu(tmp_path: Path) -> None:
    leading = "title b\nroot (hd0)\nconfigfile /boot/grub/real.lst\n"
    others = {"boot/grub/real.lst": MENU.encode()}
    examined = examine(tmp_path, HEAD + BROKEN + leading, others)
    assert examined.boots == 1


def test_the_first_menu_is_what_stands_in_the_place(tmp_path: Path) -> None:
    leading = "timeout 0\ntitle a\nroot (hd0)\nconfigfile /boot/grub/real.lst\n"
    others = {"boot/grub/real.lst": MENU.encode()}
    examined = examine(tmp_path, leading, others, AKI.replace("1.05", "1.03"))
    assert errors(examined) == set()
    assert examined.boots == 0
    assert examined.facts.found is not None
    assert examined.facts.found.name == "(hd0)/boot/grub/real.lst"


def test_a_file_is_looked_at_once_and_only_so_many_are(tmp_path: Path) -> None:
    disk = make_disk(tmp_path, FILES)
    files = MenuFiles(disk, read_volumes(disk), tmp_path)
    first = files.look("/boot/k", number=0, is_kernel=True)
    assert first.kernel is not None
    assert files.look("/boot/k", number=0, is_kernel=True) is first
    # Another name, the same bytes.
    assert files.look("/boot/old", number=0, is_kernel=True).kernel is first.kernel
    for index in range(200):
        last = files.look(f"/none/{index}", number=0)
    assert "more than 128 files" in last.missing
    assert "/none/0" in files.look("/none/0", number=0).missing
