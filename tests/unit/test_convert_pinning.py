"""What convert changes in qemu-img's output, without qemu-img."""

import struct

import pytest

from imgforge.convert import pin_vhd_footer, pin_vmdk_descriptor
from imgforge.errors import HostError

SHA256 = "f" * 64


def test_a_shorter_content_id_keeps_the_descriptor_length() -> None:
    descriptor = b"# Disk\nCID=b0303c4\nparentCID=ffffffff\n".ljust(1024, b"\0")
    pinned = pin_vmdk_descriptor(descriptor, SHA256)
    assert len(pinned) == 1024
    assert b"\nCID=7fffffff\nparentCID=ffffffff\n\0" in pinned


@pytest.mark.parametrize("descriptor", [b"", b"\0" * 512, b"CID=zz\n", b"CID=1\n"])
def test_a_descriptor_without_room_or_content_id_is_refused(descriptor: bytes) -> None:
    with pytest.raises(HostError):
        pin_vmdk_descriptor(descriptor, SHA256)


def test_a_pinned_footer_has_a_right_checksum() -> None:
    footer = b"conectix" + bytes(range(256)) + bytes(512 - 8 - 256)
    pinned = pin_vhd_footer(footer, SHA256)
    (checksum,) = struct.unpack_from(">I", pinned, 64)
    assert checksum == ~(sum(pinned[:64]) + sum(pinned[68:])) & 0xFFFFFFFF


@pytest.mark.parametrize("footer", [b"", b"conectix", bytes(512)])
def test_what_is_no_footer_is_refused(footer: bytes) -> None:
    with pytest.raises(HostError):
        pin_vhd_footer(footer, SHA256)
