"""/etc/fstab: the lines that an image loses with its instance-store volumes.

Sources: fstab(5); the guide to Linux AMIs, "Converting your Instance Store-Backed AMI to an Amazon
EBS-Backed AMI" and, for the EFI line, "Creating an AMI from an Instance Store-Backed Ubuntu
Instance"; cloud-init's cc_mounts, which tags each line that it writes, drops them all at the first
boot of an instance, and writes them anew.
"""

import difflib
import io
import os
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

FSTAB = "/etc/fstab"
# Where an instance's volumes are, in a manifest that maps none ("Instance Store Device Names").
DEFAULT_EPHEMERAL_DEVICES = ("sdb", "sdc", "sdd", "sde")
_CLOUDCONFIG = b"comment=cloudconfig"
_EPHEMERAL_SPEC = re.compile(rb"(?:(?:LABEL=)?\"?ephemeral\d+\"?)", re.IGNORECASE)
_EPHEMERAL_MOUNT = re.compile(rb"/(?:media|mnt)/ephemeral\d*/?")
_EFI_MOUNT = re.compile(rb"/boot/efi/?")
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
    kept, removed = [], []
    for number, line in enumerate(io.BytesIO(data), start=1):
        reason = _reason(line.split(), devices)
        if reason:
            removed.append(RemovedLine(number, line.rstrip(b"\r\n"), reason))
        else:
            kept.append(line)
    return FstabEdit(data, b"".join(kept), tuple(removed))


def _reason(fields: list[bytes], devices: Collection[bytes]) -> str:
    if len(fields) < 2 or fields[0].startswith(b"#") or fields[1] == b"/":
        return ""
    spec, mount = fields[:2]
    options = fields[3].split(b",") if len(fields) > 3 else []
    if spec in devices:
        return "its device is an instance-store volume"
    if _EPHEMERAL_SPEC.fullmatch(spec) or _EPHEMERAL_MOUNT.fullmatch(mount):
        return "it is an instance-store volume"
    if _CLOUDCONFIG in options:
        return "cloud-init wrote it for the instance that was bundled"
    if _EFI_MOUNT.fullmatch(mount):
        return "it is the EFI partition, which is not in the bundle"
    return ""


def _names(devices: Collection[str]) -> frozenset[bytes]:
    """Return every name that devices go by; a partition of one is another device."""
    return frozenset(os.fsencode(name) for device in devices for name in _names_of(device))


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
