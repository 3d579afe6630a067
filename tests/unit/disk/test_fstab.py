"""Which lines of an fstab go when an image leaves instance store."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgforge.disk.fstab import edit_fstab

# "Converting your Instance Store-Backed AMI to an Amazon EBS-Backed AMI", as it stands there.
GUIDE = b"""\
#
LABEL=/     /           ext4    defaults,noatime  1   1
tmpfs       /dev/shm    tmpfs   defaults        0   0
devpts      /dev/pts    devpts  gid=5,mode=620  0   0
sysfs       /sys        sysfs   defaults        0   0
proc        /proc       proc    defaults        0   0
/dev/sdb        /media/ephemeral0       auto    defaults,comment=cloudconfig    0       2
"""


def removed(data: bytes, *devices: str) -> list[int]:
    return [line.number for line in edit_fstab(data, ephemeral_devices=devices).removed]


def test_the_guides_last_line_goes_and_all_else_keeps_its_bytes() -> None:
    edit = edit_fstab(GUIDE)
    assert edit.new == b"".join(GUIDE.splitlines(keepends=True)[:-1])
    assert [line.number for line in edit.removed] == [7]
    assert edit.diff("/etc/fstab").splitlines()[:2] == ["--- a/etc/fstab", "+++ b/etc/fstab"]
    assert sum(line.startswith("-/dev/sdb") for line in edit.diff("/etc/fstab").splitlines()) == 1


@pytest.mark.parametrize(
    "line",
    [
        b"/dev/sdb /mnt auto defaults 0 2",
        b"/dev/xvdb\t/mnt\tauto\tdefaults,nobootwait,comment=cloudconfig\t0\t2",
        b"LABEL=ephemeral0 /scratch ext4 defaults 0 0",
        b'LABEL="ephemeral1" /scratch ext4 defaults 0 0',
        b"ephemeral0 /mnt auto defaults 0 0",
        b"UUID=1234 /media/ephemeral0 ext3 defaults 0 0",
        b"UUID=1234 /mnt/ephemeral ext3 defaults",
        b"/dev/nvme1n1 /data ext4 defaults,nofail,comment=cloudconfig 0 2",
        b"LABEL=UEFI /boot/efi vfat defaults 0 0",
        b"  UUID=AB-CD /boot/efi/ vfat umask=0077 0 1",
        b"/dev/sde none swap sw 0 0",
    ],
)
def test_lines_of_ephemeral_volumes_and_of_efi_go(line: bytes) -> None:
    assert removed(b"LABEL=/ / ext4 defaults 1 1\n" + line + b"\n#end") == [2]


@pytest.mark.parametrize(
    "line",
    [
        b"LABEL=/ / ext4 defaults 1 1",
        b"/dev/sdb / ext4 defaults 1 1",
        b"#/dev/sdb /mnt auto defaults 0 2",
        b"# LABEL=UEFI /boot/efi vfat defaults 0 0",
        b"/dev/sdh /mnt ext4 defaults 0 0",
        b"/dev/sdb1 /data ext4 defaults 0 0",
        b"/dev/sdba /data ext4 defaults 0 0",
        b"LABEL=data /mnt ext4 defaults,comment=cloudconfigured 0 0",
        b"tmpfs /media/ephemeral0.old tmpfs defaults 0 0",
        b"/dev/sdb",
        b"",
        b"\x00\xff \xfe",
    ],
)
def test_everything_else_stays(line: bytes) -> None:
    assert removed(line + b"\n") == []


def test_the_images_own_mapping_says_what_is_ephemeral() -> None:
    lines = b"/dev/xvdc /a ext4 rw\n/dev/sda2 /mnt ext3 rw\n/dev/sdb /b ext4 rw\n"
    assert removed(lines, "sdc", "/dev/sda2") == [1, 2]
    assert removed(lines, "xvdb") == [3]
    assert removed(lines) == [1, 3]


def test_ends_of_lines_and_a_missing_last_one_are_kept() -> None:
    data = b"a /a ext4 rw\r\n/dev/sdb /mnt auto rw\r\nb /b\rc ext4 rw\n/dev/sdc /c auto rw"
    assert edit_fstab(data).new == b"a /a ext4 rw\r\nb /b\rc ext4 rw\n"


def test_a_diff_for_display_has_no_control_characters() -> None:
    shown = edit_fstab(b"/dev/sdb /mnt\x1b[2J auto rw\n").diff("/etc/fstab")
    assert "\x1b" not in shown


@given(st.binary(max_size=400))
def test_what_is_kept_is_whole_lines_in_their_order(data: bytes) -> None:
    edit = edit_fstab(data)
    lines = data.split(b"\n")
    gone = {line.number for line in edit.removed}
    kept = [line for number, line in enumerate(lines, start=1) if number not in gone]
    assert edit.new.rstrip(b"\n") == b"\n".join(kept).rstrip(b"\n")
    assert len(edit.new) <= len(data)
