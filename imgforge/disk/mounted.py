"""The file system of a block device that is mounted, and the table of the disk it stands on."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

from imgforge.disk.partition import read_scheme
from imgforge.disk.volume import Volume, VolumeKind, recognise_volume

_SYS = Path("/sys/dev/block")
_BY = Path("/dev/disk")


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """What a device holds; `scheme` is "none", "mbr" or "gpt", or None where it cannot be told."""

    volume: Volume
    scheme: str | None


def examine_device(number: tuple[int, int], *, kind: str) -> DeviceFacts:
    """Look at the device of this number, which `kind` of file system is mounted from.

    Where the device may not be read, its names below /dev/disk tell (udev(7)), as far as they go.
    """
    sys = _SYS / f"{number[0]}:{number[1]}"
    node = _node(sys)
    known = {item.value for item in VolumeKind}
    volume = Volume(0, None, VolumeKind(kind) if kind in known else VolumeKind.UNKNOWN)
    try:
        read = recognise_volume(node) if node else volume
    except OSError:
        read = replace(volume, label=_name(number, "by-label"), identity=_name(number, "by-uuid"))
    return DeviceFacts(read if read.kind is not VolumeKind.UNKNOWN else volume, _scheme(sys))


def _node(sys: Path) -> Path | None:
    """Return a device's path below /dev."""
    try:
        lines = (sys / "uevent").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    names = [line.partition("=")[2] for line in lines if line.startswith("DEVNAME=")]
    return Path("/dev", names[0]) if names else None


def _scheme(sys: Path) -> str | None:
    if not sys.exists():
        return None
    if not (sys / "partition").exists():
        return "none"
    node = _node(sys.resolve().parent)
    try:
        return read_scheme(node) if node else None
    except OSError:
        return None


def _name(number: tuple[int, int], folder: str) -> str | None:
    """Return the name of a device in a folder of /dev/disk, its escapes undone."""
    try:
        links = list((_BY / folder).iterdir())
    except OSError:
        return None
    for link in links:
        try:
            status = link.stat()
        except OSError:
            continue
        if (os.major(status.st_rdev), os.minor(status.st_rdev)) == number:
            return link.name.encode("latin-1", "replace").decode("unicode_escape")
    return None
