"""Which system a disk holds, as it says itself."""

import tempfile
from pathlib import Path

from imgforge.disk.reader import extract_file
from imgforge.disk.volume import Volume, VolumeKind, read_volumes
from imgforge.errors import BadInputError

_PATH = "/etc/os-release"
_MOST_BYTES = 64 * 1024
_SHOWN_CHARACTERS = 80
_HAVE_NONE = {VolumeKind.UNKNOWN, VolumeKind.SWAP, VolumeKind.LVM, VolumeKind.FAT}


def read_platform(disk: Path) -> str:
    """Return the system's name in words, as "Debian GNU/Linux 12 (bookworm)"; "" for an unknown.

    It is the PRETTY_NAME of the first file system with an os-release (os-release(5)), or Windows
    where there is an NTFS and no such file. What cannot be read says nothing.
    """
    volumes = read_volumes(disk)
    with tempfile.TemporaryDirectory(prefix="imgforge-") as folder:
        for volume in volumes:
            if name := _name_on(disk, volume, Path(folder) / "os-release"):
                return name
    return "Windows" if any(one.kind is VolumeKind.NTFS for one in volumes) else ""


def _name_on(disk: Path, volume: Volume, copy: Path) -> str:
    if volume.kind in {*_HAVE_NONE, VolumeKind.NTFS}:
        return ""
    try:
        is_there = extract_file(
            disk,
            partition=volume.partition,
            path=_PATH,
            destination=copy,
            limit_bytes=_MOST_BYTES,
        )
    except BadInputError:
        return ""
    return pretty_name(copy.read_bytes()) if is_there else ""


def pretty_name(os_release: bytes) -> str:
    """Return the PRETTY_NAME of an os-release, or its NAME; "" where it has neither."""
    found = {}
    for line in os_release.decode(errors="replace").splitlines():
        key, _, value = line.partition("=")
        found[key.strip()] = value.strip().strip("\"'")
    name = found.get("PRETTY_NAME") or found.get("NAME", "")
    return "".join(c for c in name if c.isprintable())[:_SHOWN_CHARACTERS]
