"""The least of a Linux kernel: an ELF with notes, and a bzImage around it."""

import random
import struct


def make_elf(
    *,
    bits: int = 64,
    notes: tuple[int, ...] = (1, 6),
    notes_at: int = 4096,
    padding: int = 0,
    is_short: bool = False,
) -> bytes:
    """Make an ELF whose only segment holds these notes of Xen's, by their numbers."""
    body = b"".join(struct.pack("<III", 4, 4, kind) + b"Xen\0" + b"abcd" for kind in notes)
    head = bytearray(b"\x7fELF" + bytes([2 if bits == 64 else 1]) + bytes(59))
    if bits == 64:
        struct.pack_into("<Q", head, 32, 64)
        struct.pack_into("<HH", head, 54, 56, 1)
        segment = struct.pack("<IIQQQQQQ", 4, 4, notes_at, 0, 0, len(body), len(body), 4)
    else:
        struct.pack_into("<I", head, 28, 64)
        struct.pack_into("<HH", head, 42, 32, 1)
        segment = struct.pack("<IIIIIIII", 4, notes_at, 0, 0, len(body), len(body), 4, 4)
    if is_short:
        return bytes(head) + segment
    # It does not compress, so that a cut kernel is cut within.
    noise = random.Random(1).randbytes(notes_at - 64 - len(segment) + padding)
    before = notes_at - 64 - len(segment)
    return bytes(head) + segment + noise[:before] + body + noise[before:]


def make_bzimage(payload: bytes, *, bits: int = 64) -> bytes:
    """Wrap a payload as Linux's boot protocol 2.12 has it."""
    setup_sectors = 1
    head = bytearray((setup_sectors + 1) * 512)
    head[0x1F1] = setup_sectors
    head[0x1FE:0x200] = b"\x55\xaa"
    head[0x202:0x208] = b"HdrS\x0c\x02"
    head[0x211] = 1  # LOADED_HIGH
    struct.pack_into("<H", head, 0x236, 1 if bits == 64 else 0)
    struct.pack_into("<II", head, 0x248, 0, len(payload))
    whole = payload + bytes(-len(payload) % 16)
    struct.pack_into("<I", head, 0x1F4, len(whole) // 16)
    return bytes(head) + whole
