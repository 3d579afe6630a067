"""What a kernel file is: its container, compression, width, and its notes for Xen.

Formats: Documentation/arch/x86/boot.rst (bzImage), the ELF specification, and Xen's
public/elfnote.h. Nothing in the file is believed: it is read and unpacked as a stream, of which
only headers and notes are kept, and no further than MOST_UNPACKED_BYTES.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

from imgforge.disk.kernel_payload import (
    MOST_UNPACKED_BYTES,
    Compression,
    DamagedPayloadError,
    PayloadStream,
    can_unpack,
    read_chunks,
    recognise_compression,
    unpack_pieces,
)

_LARGEST_NOTES_BYTES = 2**16
_MOST_PROGRAM_HEADERS = 64
_PT_NOTE = 4
_LARGEST_HEAD_BYTES = 64 + _MOST_PROGRAM_HEADERS * 56
_XLF_KERNEL_64 = 1
_PROTOCOL_WITH_XLOADFLAGS = 0x20C
_PROTOCOL_WITH_PAYLOAD = 0x208


class Container(StrEnum):
    """How a kernel is packed up."""

    BZIMAGE = "bzImage"
    ELF = "ELF"
    COMPRESSED_ELF = "compressed ELF"


# "User Provided Kernels", "Limitations of PV-GRUB".
READ_BY_PV_GRUB = frozenset(
    {Compression.NONE, Compression.GZIP, Compression.BZIP2, Compression.LZO, Compression.XZ}
)


class XenNote(StrEnum):
    """Xen's ELF notes that matter here (elfnote.h)."""

    ENTRY = "XEN_ELFNOTE_ENTRY"
    HYPERCALL_PAGE = "XEN_ELFNOTE_HYPERCALL_PAGE"
    VIRT_BASE = "XEN_ELFNOTE_VIRT_BASE"
    XEN_VERSION = "XEN_ELFNOTE_XEN_VERSION"
    GUEST_OS = "XEN_ELFNOTE_GUEST_OS"
    LOADER = "XEN_ELFNOTE_LOADER"
    PAE_MODE = "XEN_ELFNOTE_PAE_MODE"
    FEATURES = "XEN_ELFNOTE_FEATURES"
    PHYS32_ENTRY = "XEN_ELFNOTE_PHYS32_ENTRY"


_NOTES = {
    1: XenNote.ENTRY,
    2: XenNote.HYPERCALL_PAGE,
    3: XenNote.VIRT_BASE,
    5: XenNote.XEN_VERSION,
    6: XenNote.GUEST_OS,
    8: XenNote.LOADER,
    9: XenNote.PAE_MODE,
    10: XenNote.FEATURES,
    18: XenNote.PHYS32_ENTRY,
}


@dataclass(frozen=True, slots=True)
class KernelImage:
    """What a kernel file is; None where its bytes do not tell.

    `damage` says what in it cannot be true, or could not be read; empty where all is well.
    """

    container: Container
    compression: Compression
    bits: int | None
    xen_notes: frozenset[XenNote] | None
    damage: str = ""

    @property
    def is_for_xen_pv(self) -> bool | None:
        """Whether Xen could start it as a paravirtual guest: it names its entry."""
        return None if self.xen_notes is None else XenNote.ENTRY in self.xen_notes


def examine_kernel(path: Path) -> KernelImage | None:
    """Look at a kernel file; None where it is no Linux kernel.

    A kernel that is cut short or lies about itself is a KernelImage with `damage`.
    """
    with path.open("rb") as file:
        head = file.read(1024)
        if head[:4] == b"\x7fELF":
            file.seek(0)
            return _examine_payload(read_chunks(file), Container.ELF, Compression.NONE)
        if head[0x202:0x206] == b"HdrS":
            return _examine_bzimage(file, head, path.stat().st_size)
        compression = recognise_compression(head)
        if compression is Compression.UNKNOWN:
            return None
        file.seek(0)
        image = _examine_payload(read_chunks(file), Container.COMPRESSED_ELF, compression)
        return None if image.bits is None and not image.damage else image


def recognise_kernel(path: Path) -> KernelImage | None:
    """Look at a kernel's headers alone: as examine_kernel, without its notes and their damage."""
    with path.open("rb") as file:
        head = file.read(1024)
        if head[:4] == b"\x7fELF" and len(head) > 4:
            bits = {1: 32, 2: 64}.get(head[4])
            return KernelImage(Container.ELF, Compression.NONE, bits, None)
        if head[0x202:0x206] == b"HdrS":
            bits, (start, _) = _header_bits(head), _payload(head)
            file.seek(start)
            return KernelImage(Container.BZIMAGE, recognise_compression(file.read(8)), bits, None)
    compression = recognise_compression(head)
    if compression is Compression.UNKNOWN:
        return None
    return KernelImage(Container.COMPRESSED_ELF, compression, None, None)


def unpack_kernel(path: Path, destination: Path) -> bool:
    """Write the ELF inside a kernel file to `destination`; tell whether that could be done.

    It cannot of one that is damaged, or compressed by what nothing here unpacks (lz4, zstd).
    """
    with path.open("rb") as file, destination.open("wb") as out:
        head = file.read(1024)
        start, length = _payload(head) if head[0x202:0x206] == b"HdrS" else (0, path.stat().st_size)
        file.seek(start)
        first = file.read(8)
        compression = recognise_compression(first)
        if not can_unpack(compression):
            return False
        left = MOST_UNPACKED_BYTES
        try:
            for piece in unpack_pieces(read_chunks(file, first=first, most=length), compression):
                out.write(piece)
                left -= len(piece)
                if left <= 0:
                    return False
        except DamagedPayloadError:
            return False
    return _starts_as_elf(destination)


def _starts_as_elf(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def _header_bits(head: bytes) -> int | None:
    protocol = struct.unpack_from("<H", head, 0x206)[0] if len(head) >= 0x238 else 0
    if protocol < _PROTOCOL_WITH_XLOADFLAGS:
        return None
    return 64 if struct.unpack_from("<H", head, 0x236)[0] & _XLF_KERNEL_64 else 32


def _payload(head: bytes) -> tuple[int, int]:
    """Return where a bzImage's payload starts and how long it is; (0, 0) where it does not say."""
    if len(head) < 0x250 or struct.unpack_from("<H", head, 0x206)[0] < _PROTOCOL_WITH_PAYLOAD:
        return 0, 0
    offset, length = struct.unpack_from("<II", head, 0x248)
    return _setup_bytes(head) + offset, length


def _setup_bytes(head: bytes) -> int:
    return ((head[0x1F1] or 4) + 1) * 512


def _examine_bzimage(file: BinaryIO, head: bytes, size: int) -> KernelImage:
    bits = _header_bits(head)
    start, length = _payload(head)
    if not start:
        return KernelImage(Container.BZIMAGE, Compression.UNKNOWN, bits, None)
    file.seek(start)
    payload = file.read(8)
    image = _examine_payload(
        read_chunks(file, first=payload, most=length),
        Container.BZIMAGE,
        recognise_compression(payload),
    )
    whole = _setup_bytes(head) + struct.unpack_from("<I", head, 0x1F4)[0] * 16  # syssize
    damage = image.damage
    if size < max(start + length, whole - 15):
        damage = f"its header names {max(start + length, whole)} bytes, the file has {size}"
    # The header's word is for what could not be unpacked; a payload that was is the kernel itself.
    return KernelImage(
        image.container, image.compression, image.bits or bits, image.xen_notes, damage
    )


def _examine_payload(
    chunks: Iterator[bytes], container: Container, compression: Compression
) -> KernelImage:
    if not can_unpack(compression):
        return KernelImage(container, compression, None, None)
    stream = PayloadStream(unpack_pieces(chunks, compression))
    bits: int | None = None
    try:
        start = stream.read(64)
        if start[:4] != b"\x7fELF":
            if container is Container.COMPRESSED_ELF:
                return KernelImage(container, compression, None, None)
            raise DamagedPayloadError("what its payload holds is no ELF")
        bits = {1: 32, 2: 64}.get(start[4])
        if bits is None:
            raise DamagedPayloadError(f"its ELF class {start[4]} is neither 32 nor 64 bits")
        notes = _read_notes(stream, start, bits)
    except DamagedPayloadError as error:
        return KernelImage(container, compression, bits, None, str(error))
    return KernelImage(container, compression, bits, notes)


def _read_notes(stream: PayloadStream, head: bytes, bits: int) -> frozenset[XenNote]:
    """Return Xen's notes of an ELF whose first 64 bytes are `head`."""
    if bits == 64:
        table = struct.unpack_from("<Q", head, 32)[0]
        entry_bytes, count = struct.unpack_from("<HH", head, 54)
        least = 56
    else:
        table = struct.unpack_from("<I", head, 28)[0]
        entry_bytes, count = struct.unpack_from("<HH", head, 42)
        least = 32
    if not least <= entry_bytes <= 256 or count > _MOST_PROGRAM_HEADERS:
        raise DamagedPayloadError(f"its ELF claims {count} program headers of {entry_bytes} bytes")
    headers = stream.read(table + entry_bytes * count, table)
    segments = sorted(
        _segment(headers, position * entry_bytes, bits)
        for position in range(count)
        if struct.unpack_from("<I", headers, position * entry_bytes)[0] == _PT_NOTE
    )
    notes: set[XenNote] = set()
    for offset, size in segments:
        if size > _LARGEST_NOTES_BYTES:
            raise DamagedPayloadError(f"its ELF claims {size} bytes of notes")
        notes |= set(_parse_notes(stream.read(offset + size, offset)))
    return frozenset(notes)


def _segment(headers: bytes, position: int, bits: int) -> tuple[int, int]:
    if bits == 64:
        return (
            struct.unpack_from("<Q", headers, position + 8)[0],
            struct.unpack_from("<Q", headers, position + 32)[0],
        )
    return (
        struct.unpack_from("<I", headers, position + 4)[0],
        struct.unpack_from("<I", headers, position + 16)[0],
    )


def _parse_notes(data: bytes) -> Iterator[XenNote]:
    position = 0
    while position + 12 <= len(data):
        name_bytes, value_bytes, kind = struct.unpack_from("<III", data, position)
        name = data[position + 12 : position + 12 + min(name_bytes, 16)].rstrip(b"\0")
        if name == b"Xen" and kind in _NOTES:
            yield _NOTES[kind]
        position += 12 + (name_bytes + 3 & ~3) + (value_bytes + 3 & ~3)
