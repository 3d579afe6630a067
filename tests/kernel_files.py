"""The least of a Linux kernel: an ELF with notes, a bzImage around it, and one that truly runs."""

import bz2
import gzip
import lzma
import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

RUNNING = Path(__file__).parent / "data" / "test_kernel"
STARTED = "imgforge-test-kernel: started:"
_VIRTUAL, _PHYSICAL = 0xFFFFFFFF80000000, 0x100000
_MEMORY_BYTES = 8192  # of pv.s, with its stack and page


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


def make_running_elf(*, is_for_xen: bool = True, code: str = "pv") -> bytes:
    """Make a 64-bit kernel for Xen's PV guests: it says STARTED and its command line, and ends.

    Its source is data/test_kernel/pv.s; that of the `code` named hostile does what is behind "do="
    on its command line. Its notes are Xen's (public/elfnote.h).
    """
    machine_code = (RUNNING / f"{code}.bin").read_bytes()
    wide = struct.Struct("<Q").pack
    notes = b"".join(
        _note(kind, value)
        for kind, value in (
            *([(1, wide(_VIRTUAL + _PHYSICAL))] if is_for_xen else []),
            (3, wide(_VIRTUAL)),
            (4, wide(0)),
            (5, b"xen-3.0\0"),
            (6, b"imgforge\0"),
            (8, b"generic\0"),
        )
    )
    head = bytearray(b"\x7fELF\x02\x01\x01".ljust(64, b"\0"))
    entry = _VIRTUAL + _PHYSICAL
    struct.pack_into("<HHIQQQIHHHHHH", head, 16, 2, 62, 1, entry, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    sizes = (len(machine_code), _MEMORY_BYTES, 4096)
    segments = struct.pack("<IIQQQQQQ", 1, 7, 4096, entry, _PHYSICAL, *sizes)
    segments += struct.pack("<IIQQQQQQ", 4, 4, 176, 0, 0, len(notes), len(notes), 4)
    return (bytes(head) + segments + notes).ljust(4096, b"\0") + machine_code


def _note(kind: int, value: bytes) -> bytes:
    return struct.pack("<III", 4, len(value), kind) + b"Xen\0" + value + bytes(-len(value) % 4)


def make_running_bzimage(payload: bytes, *, size: int | None = None) -> bytes:
    """Wrap a payload so that a BIOS's boot loader, too, starts what says STARTED (hvm.s).

    `size` is appended as Linux does for all but gzip, which ends with it (scripts/Makefile.lib).
    """
    payload += b"" if size is None else struct.pack("<I", size)
    image = bytearray(make_bzimage(payload))
    code = (RUNNING / "hvm.bin").read_bytes()
    struct.pack_into("<I", image, 0x22C, 2**31 - 1)  # initrd_addr_max
    image[0x200:0x202] = code[:2]
    image[0x270 : 0x200 + len(code)] = code[0x70:]
    return bytes(image)


def pack_lzo(data: bytes) -> bytes:
    """Pack as lzop does what it cannot make smaller: one block, as it is."""
    head = struct.pack(">HHHBBIIIIB", 0x1030, 0x2080, 0x0940, 1, 5, 1, 0o100644, 0, 0, 0)
    block = struct.pack(">III", len(data), len(data), zlib.adler32(data)) + data
    magic = b"\x89LZO\0\r\n\x1a\n"
    return magic + head + struct.pack(">I", zlib.adler32(head)) + block + bytes(4)


def pack_lz4(data: bytes) -> bytes:
    """Pack as `lz4 -l` might: one block, of literals alone."""
    length, more = len(data) - 15, b""
    while length >= 255:
        more, length = more + b"\xff", length - 255
    block = b"\xf0" + more + bytes([length]) + data
    return b"\x02\x21\x4c\x18" + struct.pack("<I", len(block)) + block


def pack_zstd(data: bytes) -> bytes:
    """Pack as zstd might (RFC 8878): one raw block."""
    frame = b"\x28\xb5\x2f\xfd" + b"\xa0" + struct.pack("<I", len(data))
    return frame + (len(data) << 3 | 1).to_bytes(3, "little") + data


def pack_xz(data: bytes) -> bytes:
    """Pack as Linux does for its own unpacker, which knows no checksum but CRC32."""
    return lzma.compress(data, check=lzma.CHECK_CRC32)


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "none": bytes,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": pack_xz,
    "lzo": pack_lzo,
    "lz4": pack_lz4,
    "zstd": pack_zstd,
}
