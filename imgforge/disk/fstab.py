"""/etc/fstab: the lines that an image loses with its instance-store volumes.

Sources: fstab(5); the guide to Linux AMIs, "Converting your Instance Store-Backed AMI to an Amazon
EBS-Backed AMI" and, for the EFI line, "Creating an AMI from an Instance Store-Backed Ubuntu
Instance"; cloud-init's cc_mounts, which tags each line that it writes, drops them all at the first
boot of an instance, and writes them anew.
"""

import difflib
import io
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from imgforge.fstab import FstabLine, parse_fstab

FSTAB = "/etc/fstab"
# Where an instance's volumes are, in a manifest that maps none ("Instance Store Device Names").
DEFAULT_EPHEMERAL_DEVICES = ("sdb", "sdc", "sdd", "sde")
_CLOUDCONFIG = "comment=cloudconfig"
_EPHEMERAL_SOURCE = re.compile(r"(?:(?:LABEL=)?\"?ephemeral\d+\"?)", re.IGNORECASE)
_EPHEMERAL_PLACE = re.compile(r"/(?:media|mnt)/ephemeral\d*/?")
_DEVICE = re.compile(r"(?:/dev/)?(?:sd|xvd|hd)([a-z]{1,2}\d*)")
_PREFIXES = ("sd", "xvd", "hd")


@dataclass(frozen=True, slots=True)
class RemovedLine:
    """A line that goes: its number from 1, its bytes without the end of line, and why it goes."""

    number: int
    text: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class FstabEdit:
    """An fstab before and after; what is not in `removed` keeps each of its bytes."""

    old: bytes
    new: bytes
    removed: tuple[RemovedLine, ...]

    def diff(self, name: str) -> str:
        """Return the unified diff, "" where nothing goes; for display, not for patch(1)."""
        before, after = (_shown(data) for data in (self.old, self.new))
        lines = difflib.unified_diff(before, after, f"a{name}", f"b{name}", lineterm="")
        return "\n".join(lines)


def edit_fstab(data: bytes, *, ephemeral_devices: Collection[str] = ()) -> FstabEdit:
    """Take the lines of instance-store volumes and of the EFI partition out of an fstab.

    `ephemeral_devices` are those of the image's own mapping ("sdb", "/dev/sdb"): their names with
    sd, xvd and hd are meant alike. Without any, they are EC2's own, sdb to sde. Comments, blank
    lines and whatever is no entry stay.
    """
    devices = _names(ephemeral_devices or DEFAULT_EPHEMERAL_DEVICES)
    reasons = {line.number: _reason(line, devices) for line in parse_fstab(data)}
    kept, removed = [], []
    for number, line in enumerate(io.BytesIO(data), start=1):
        if reason := reasons.get(number):
            removed.append(RemovedLine(number, line.rstrip(b"\r\n"), reason))
        else:
            kept.append(line)
    return FstabEdit(data, b"".join(kept), tuple(removed))


def _reason(line: FstabLine, devices: Collection[str]) -> str:
    if line.place == "/":
        return ""
    if line.source in devices:
        return "its device is an instance-store volume"
    if _EPHEMERAL_SOURCE.fullmatch(line.source) or _EPHEMERAL_PLACE.fullmatch(line.place):
        return "it is an instance-store volume"
    if _CLOUDCONFIG in line.options:
        return "cloud-init wrote it for the instance that was bundled"
    if line.is_efi:
        return "it is the EFI partition, which is not in the bundle"
    return ""


def _names(devices: Collection[str]) -> frozenset[str]:
    """Return every name that devices go by; a partition of one is another device."""
    return frozenset(name for device in devices for name in _names_of(device))


def _names_of(device: str) -> Iterator[str]:
    plain = device.removeprefix("/dev/")
    yield f"/dev/{plain}"
    match = _DEVICE.fullmatch(device)
    if match:
        for prefix in _PREFIXES:
            yield f"/dev/{prefix}{match[1]}"


def _shown(data: bytes) -> list[str]:
    """Return lines for display: nothing in them is a control character."""
    text = data.decode(errors="replace")
    return [
        "".join(c if c.isprintable() or c == "\t" else "\N{REPLACEMENT CHARACTER}" for c in line)
        for line in text.splitlines()
    ]
