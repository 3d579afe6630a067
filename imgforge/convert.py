"""A disk becomes an artifact: the same data in the format that others take."""

import contextlib
import errno
import hashlib
import json
import os
import re
import struct
import uuid
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from imgforge import command, host
from imgforge.artifact_format import ArtifactFormat as ArtifactFormat
from imgforge.disk import Disk
from imgforge.errors import BadInputError, CommandError, HostError
from imgforge.files import appearing, told_writing
from imgforge.progress import report

_SECTOR_BYTES = 512
# qemu's block/vpc.c, VHD_MAX_SECTORS: a VHD ends at 2040 GiB.
_VHD_MAX_BYTES = 2040 * 2**30
_FULL_BELOW_BYTES = 2**20
# Above what terabytes of data take, on a slow disk.
_TIME_LIMIT_S = 24 * 3600.0
_DIFFERENT = 1


class Existing(StrEnum):
    """What to do with a file that stands where the artifact goes."""

    REFUSE = "refuse"
    REPLACE = "replace"


@dataclass(frozen=True, slots=True)
class Artifact:
    """A converted disk.

    `sha256` and `size_bytes` are those of the file, `virtual_size_bytes` and `disk_sha256` those
    of the raw disk in it.
    """

    path: Path
    format: ArtifactFormat
    sha256: str
    size_bytes: int
    virtual_size_bytes: int
    disk_sha256: str


def convert_disk(
    disk: Disk,
    *,
    to: ArtifactFormat,
    destination: Path,
    existing: Existing = Existing.REFUSE,
) -> Artifact:
    """Write `disk` as the file `destination`, and compare it back block by block.

    The file appears whole or not at all, holes stay holes, the disk is only read, and the same
    disk and file name give the same bytes. The disk is always taken as raw: one that starts like
    a qcow2 could otherwise name any file of this host as its backing file.
    Raises BadInputError where the disk or the destination cannot be what it is, HostError where
    qemu-img or the host fails, or the artifact does not hold the disk's data.
    """
    before = _check_source(disk, to)
    _check_destination(disk.path, destination, existing)
    folder = destination.parent
    report(f"convert: {disk.path.name} to {to}, compared back")
    with _told(folder), appearing(destination) as new, _told(folder):
        # A vmdk holds its own file name: let qemu-img see the final one.
        written = new.with_name(destination.name)
        _convert(disk.path, to=to, written=written)
        _pin_identity(written, to=to, disk_sha256=disk.sha256)
        _compare(disk, to=to, written=written)
        sha256 = disk.sha256 if to is ArtifactFormat.RAW else _sha256(written)
        size_bytes = written.stat().st_size
        if _identity(disk.path.stat()) != _identity(before):
            raise HostError(f"Disk {disk.path}: changed while it was converted to {to}.")
        written.replace(new)
    return Artifact(
        path=destination,
        format=to,
        sha256=sha256,
        size_bytes=size_bytes,
        virtual_size_bytes=disk.size_bytes,
        disk_sha256=disk.sha256,
    )


def _check_source(disk: Disk, to: ArtifactFormat) -> os.stat_result:
    path = disk.path
    try:
        status = path.stat()
    except OSError as error:
        raise BadInputError(f"Disk {path}: cannot be read: {error.strerror}.") from None
    if path.is_dir():
        raise BadInputError(f"Disk {path}: is a folder; a raw disk file is needed.")
    if not path.is_file():
        raise BadInputError(f"Disk {path}: is not a regular file; a raw disk file is needed.")
    if not os.access(path, os.R_OK):
        raise BadInputError(f"Disk {path}: cannot be read: no permission.")
    size_bytes = status.st_size
    if size_bytes == 0:
        raise BadInputError(f"Disk {path}: is empty; a raw disk is needed.")
    if size_bytes % _SECTOR_BYTES:
        raise BadInputError(
            f"Disk {path}: has {size_bytes} bytes; a disk is a whole number of "
            f"{_SECTOR_BYTES}-byte sectors. Was it cut short?"
        )
    if size_bytes != disk.size_bytes:
        raise BadInputError(
            f"Disk {path}: has {size_bytes} bytes, {disk.size_bytes} were built or tested. "
            "It changed since then."
        )
    if to is ArtifactFormat.VHD and size_bytes > _VHD_MAX_BYTES:
        raise BadInputError(
            f"Disk {path}: has {size_bytes / 2**30:.0f} GiB; a vhd holds at most 2040.",
            hint="Convert it to qcow2 or vmdk.",
        )
    return status


def _check_destination(source: Path, destination: Path, existing: Existing) -> None:
    if not os.path.lexists(destination):
        return
    if destination.is_dir():
        raise BadInputError(f"Artifact {destination}: a folder stands there; name a file.")
    if destination.exists() and destination.samefile(source):
        raise BadInputError(f"Artifact {destination}: this is the disk itself; name another file.")
    if existing is Existing.REFUSE:
        raise BadInputError(
            f"Artifact {destination}: already exists.", hint="Name another file, or replace it."
        )


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def _qemu_img(
    verb: str, arguments: Sequence[str | Path], *, accepted_exit_codes: Collection[int] = (0,)
) -> command.Completed:
    # Absolute: qemu-img takes "nbd:…" or "json:…" for something else than a file.
    absolute = [part.absolute() if isinstance(part, Path) else part for part in arguments]
    return command.run(
        "qemu-img",
        [verb, *absolute],
        timeout_s=_TIME_LIMIT_S,
        accepted_exit_codes=accepted_exit_codes,
    )


def _convert(source: Path, *, to: ArtifactFormat, written: Path) -> None:
    options = ["-o", to.qemu_options] if to.qemu_options else []
    _qemu_img("convert", ["-f", "raw", "-O", to.qemu_name, *options, source, written])


def _compare(disk: Disk, *, to: ArtifactFormat, written: Path) -> None:
    """Compare size and data block by block.

    Not with -s: it also refuses zeros that became a hole, which is no difference of the data.
    """
    described = _qemu_img("info", ["--output=json", "-f", to.qemu_name, written])
    size_bytes = json.loads(described.stdout)["virtual-size"]
    if size_bytes != disk.size_bytes:
        raise HostError(
            f"Disk {disk.path}: qemu-img made a {to} of {size_bytes} bytes out of a disk of "
            f"{disk.size_bytes}."
        )
    compared = _qemu_img(
        "compare",
        ["-f", "raw", "-F", to.qemu_name, disk.path, written],
        accepted_exit_codes=(0, _DIFFERENT),
    )
    if compared.exit_code == _DIFFERENT:
        said = compared.stdout.decode(errors="replace").strip()
        raise HostError(f"Disk {disk.path}: its {to} does not hold the same data: {said}")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _pin_identity(path: Path, *, to: ArtifactFormat, disk_sha256: str) -> None:
    """Put what qemu-img draws by lot, or from the clock, in terms of the disk."""
    with path.open("r+b") as file:
        if to is ArtifactFormat.VMDK:
            header = file.read(512)
            start, length = (512 * value for value in struct.unpack_from("<QQ", header, 28))
            file.seek(start)
            descriptor = pin_vmdk_descriptor(file.read(length), disk_sha256)
            file.seek(start)
            file.write(descriptor)
        elif to is ArtifactFormat.VHD:
            for whence in (0, -512):
                file.seek(whence, os.SEEK_SET if whence == 0 else os.SEEK_END)
                footer = pin_vhd_footer(file.read(512), disk_sha256)
                file.seek(-512, os.SEEK_CUR)
                file.write(footer)


def pin_vmdk_descriptor(descriptor: bytes, disk_sha256: str) -> bytes:
    """Return a vmdk's embedded descriptor with a content id that follows from the disk.

    Its length stays. VMware Virtual Disk Format 5.0: CID is any 32-bit number but ffffffff.
    """
    content_id = f"{int(disk_sha256[:8], 16) & 0x7FFFFFFF:08x}".encode()
    text = descriptor.rstrip(b"\0")
    pinned, found = re.subn(rb"(?m)^CID=[0-9a-f]{1,8}$", b"CID=" + content_id, text, count=1)
    if not found or len(pinned) > len(descriptor):
        raise HostError("qemu-img made a vmdk with a descriptor that has no content id.")
    return pinned.ljust(len(descriptor), b"\0")


def pin_vhd_footer(footer: bytes, disk_sha256: str) -> bytes:
    """Return a vhd's footer with its time at 2000-01-01 and an id that follows from the disk.

    Virtual Hard Disk Image Format Specification 1.0, "Hard Disk Footer Format": cookie at 0, time
    at 24, checksum (the ones' complement of the sum of the other bytes) at 64, unique id at 68.
    """
    if len(footer) != 512 or not footer.startswith(b"conectix"):
        raise HostError("qemu-img made a vhd without a footer.")
    pinned = bytearray(footer)
    pinned[24:28] = bytes(4)
    pinned[64:68] = bytes(4)
    pinned[68:84] = uuid.UUID(bytes=bytes.fromhex(disk_sha256[:32]), version=4).bytes
    pinned[64:68] = (~sum(pinned) & 0xFFFFFFFF).to_bytes(4, "big")
    return bytes(pinned)


@contextlib.contextmanager
def _told(folder: Path) -> Iterator[None]:
    """Tell failures of the folder that is written to as what they are."""
    with told_writing(folder, "the converted disk"):
        try:
            yield
        except CommandError as error:
            # Compressing, qemu-img tells a short write as "Invalid argument".
            if host.free_disk_bytes(folder) < _FULL_BELOW_BYTES:
                raise OSError(errno.ENOSPC, "no space is left") from error
            raise
