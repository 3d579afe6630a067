"""fstab in an image: EFI lines, the root, what is generated."""

import pytest

from imgforge.errors import BadInputError
from imgforge.volume import check_fstab, generate_fstab, other_devices, root_line, without_efi

UBUNTU = b"""\
LABEL=cloudimg-rootfs   /        ext4   defaults        0 0
LABEL=UEFI     /boot/efi       vfat    defaults        0 0
/dev/xvdb       /mnt    auto    defaults,nobootwait,comment=cloudconfig 0       2
"""


def test_the_guides_fstab_loses_its_efi_line_as_the_guide_says() -> None:
    new, places = without_efi(UBUNTU)
    assert new == UBUNTU.replace(b"LABEL=UEFI", b"#LABEL=UEFI")
    assert places == ("/boot/efi",)
    assert without_efi(new) == (new, ())


@pytest.mark.parametrize(
    "line",
    [
        b"UUID=1234-ABCD /boot/efi vfat umask=0077 0 1",
        b"\tUUID=1234-ABCD\t/efi\tvfat",
        b"PARTLABEL=EFI /x vfat defaults 0 0",
        b"LABEL=UEFI /boot/efi auto defaults 0 0\r",
    ],
)
def test_other_efi_lines_go_too(line: bytes) -> None:
    assert without_efi(b"# mine\n" + line + b"\nx") == (b"# mine\n#" + line + b"\nx", (
        line.split()[1].decode(),
    ))  # fmt: skip


@pytest.mark.parametrize(
    "line",
    [
        b"LABEL=data /data vfat defaults 0 0",
        b"LABEL=EFI-tools /srv ext4 defaults 0 0",
        b"#LABEL=UEFI /boot/efi vfat defaults 0 0",
        b"/boot/efi vfat",
        b"\xff\xfe\0 garbage",
        b"",
    ],
)
def test_other_lines_keep_each_byte(line: bytes) -> None:
    assert without_efi(line) == (line, ())


def test_the_root_is_found() -> None:
    found = root_line(b"# x\n\n" + UBUNTU)
    assert found is not None
    assert (found.number, found.source, found.kind) == (3, "LABEL=cloudimg-rootfs", "ext4")
    assert root_line(b"/dev/sda1 /boot ext4\nnone / \n") is None


def test_devices_that_a_boot_waits_for_are_named() -> None:
    text = UBUNTU + b"/dev/sdc /data ext4 defaults 0 0\nUUID=x /home xfs\nnone /proc proc\n"
    text += b"LABEL=s none swap sw 0 0\n/dev/sdd /later ext4 noauto 0 0\n"
    assert other_devices(text) == ("/boot/efi", "/data", "/home")


def test_a_generated_fstab_mounts_the_root_and_instance_store_0() -> None:
    data = generate_fstab(root="LABEL=root", kind="ext4", ephemeral="/dev/sdb")
    check_fstab(data, origin="it")
    assert data.startswith(b"LABEL=root\t/\text4\tdefaults\t1 1\n/dev/sdb\t/mnt\tauto\t")
    assert other_devices(data) == ()
    assert b"/mnt" not in generate_fstab(root="/dev/sda1", kind="xfs", ephemeral=None)


@pytest.mark.parametrize("data", [b"", b"no root\n", b"/dev/sda1 / ext4\n\0", b"x" * 2**21])
def test_what_is_no_fstab_is_refused(data: bytes) -> None:
    with pytest.raises(BadInputError):
        check_fstab(data, origin="Fstab x")
