"""menu.lst corrected for the root of another arrangement."""

import pytest

from imgforge.disk import correct_menu_root

GUIDE = b"""\
title           Ubuntu 12.04.3 LTS, kernel 3.2.0-54-virtual
root            (hd0)
kernel          /boot/vmlinuz-3.2.0-54-virtual root=LABEL=cloudimg-rootfs ro console=ttyS0
initrd          /boot/initrd.img-3.2.0-54-virtual

title           Ubuntu 12.04.3 LTS, memtest86+
root            (hd0)
kernel          /boot/memtest86+.bin
"""


def test_the_guides_menu_gets_a_partition_and_loses_it_again() -> None:
    there, count = correct_menu_root(GUIDE, root="(hd0,0)")
    assert there == GUIDE.replace(b"(hd0)", b"(hd0,0)")
    assert count == 2
    assert correct_menu_root(there, root="(hd0,0)") == (there, 0)
    assert correct_menu_root(there, root="(hd0)") == (GUIDE, 2)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"root(hd0)", None),
        (b"root=(hd0)", b"root=(hd0,0)"),
        (b"root (hd0,1)", b"root (hd0,0)"),
        (b"root (hd0,12)\r\n", b"root (hd0,0)\r\n"),
        (b"\troot\t(hd0)\t", b"\troot\t(hd0,0)\t"),
        (b"root \\\n (hd0)\n", b"root \\\n (hd0,0)\n"),
        (
            b"kernel (hd0)/boot/vmlinuz root=/dev/sda1",
            b"kernel (hd0,0)/boot/vmlinuz root=/dev/sda1",
        ),
        (b"initrd (hd0)/boot/initrd", b"initrd (hd0,0)/boot/initrd"),
        (b"splashimage=(hd0)/boot/x.xpm.gz", b"splashimage=(hd0,0)/boot/x.xpm.gz"),
        (b"kernel /boot/vmlinuz x=(hd0)", None),
        (b"# root (hd0)", None),
        (b"chainloader (hd0)+1", None),
        (b"rootnoverify (hd0)", None),
        (b"root (hd1,0)", None),
        (b"root (hd0,a)", None),
        (b"root (hd0)x", None),
        (b"root (nd)", None),
        (b"", None),
        (b"\0\xff\xfe root (hd0)", None),
    ],
)
def test_only_what_names_the_root_changes(old: bytes, new: bytes | None) -> None:
    found, count = correct_menu_root(old, root="(hd0,0)")
    assert found == (old if new is None else new)
    assert count == (new is not None)
