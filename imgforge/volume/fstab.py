"""etc/fstab of an image: its root, and lines that no image of one partition keeps."""

import re

from imgforge.errors import BadInputError
from imgforge.fstab import FstabLine, parse_fstab

LARGEST_FSTAB_BYTES = 2**20
_UNFIT = re.compile(rb"[\0]")
_MAY_BE_ABSENT = frozenset({"nofail", "noauto", "nobootwait"})


def root_line(data: bytes) -> FstabLine | None:
    """Return the line that mounts /."""
    return next((line for line in parse_fstab(data) if line.place == "/"), None)


def without_efi(data: bytes) -> tuple[bytes, tuple[str, ...]]:
    """Return fstab with the lines of EFI partitions as comments, and where those were mounted.

    The image has no such partition, and would wait for it as it boots (AWS, "Creating an AMI from
    an Instance Store-Backed Ubuntu Instance").
    """
    unfit = {line.number: line.place for line in parse_fstab(data) if line.is_efi}
    lines = data.split(b"\n")
    for number in unfit:
        lines[number - 1] = b"#" + lines[number - 1]
    return b"\n".join(lines), tuple(unfit.values())


def other_devices(data: bytes) -> tuple[str, ...]:
    """Return where fstab mounts further devices without letting a boot go on that lacks them."""
    found = []
    for line in parse_fstab(data):
        fatal = _MAY_BE_ABSENT.isdisjoint(line.options)
        device = line.source.startswith("/dev/") or "=" in line.source
        if line.place.startswith("/") and line.place != "/" and device and fatal:
            found.append(line.place)
    return tuple(found)


def generate_fstab(*, root: str, kind: str, ephemeral: str | None) -> bytes:
    """Return an fstab for EC2: the root, and instance store 0 where it is mapped, at /mnt."""
    rows = [(root, "/", kind, "defaults", "1 1")]
    if ephemeral:
        rows.append((ephemeral, "/mnt", "auto", "defaults,nofail,comment=cloudconfig", "0 2"))
    rows += [
        ("none", "/dev/pts", "devpts", "gid=5,mode=620", "0 0"),
        ("none", "/dev/shm", "tmpfs", "defaults", "0 0"),  # noqa: S108 (the image's)
        ("none", "/proc", "proc", "defaults", "0 0"),
        ("none", "/sys", "sysfs", "defaults", "0 0"),
    ]
    return "".join("\t".join(row) + "\n" for row in rows).encode()


def check_fstab(data: bytes, *, origin: str) -> None:
    """Raise BadInputError for what is no fstab of a machine."""
    if len(data) > LARGEST_FSTAB_BYTES or _UNFIT.search(data):
        raise BadInputError(f"{origin}: is no fstab: it has NULs, or more than a mebibyte.")
    if root_line(data) is None:
        raise BadInputError(f"{origin}: no line of it mounts /.")
