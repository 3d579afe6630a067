"""etc/fstab of an image: what it says of the root, and lines that no image of one partition keeps.

fstab(5): source, mount point, type, options, dump, pass.
"""

import re
from dataclasses import dataclass

from imgforge.errors import BadInputError

LARGEST_FSTAB_BYTES = 2**20
_UNFIT = re.compile(rb"[\0]")
_EFI_PLACES = frozenset({"/boot/efi", "/efi", "/boot/EFI", "/esp"})
_EFI_SOURCES = re.compile(
    r"(?:LABEL|PARTLABEL)=\"?(?:UEFI|EFI|ESP|EFI[\\0-9 ]*System.*)\"?\Z", re.I
)


@dataclass(frozen=True, slots=True)
class FstabLine:
    """A line that mounts something."""

    number: int
    source: str
    place: str
    kind: str


def parse_fstab(data: bytes) -> list[FstabLine]:
    """Return the lines of an fstab that are no comments; what is no line of one is passed over."""
    found = []
    for number, raw in enumerate(data.split(b"\n"), start=1):
        fields = raw.decode("utf-8", errors="surrogateescape").split()
        if len(fields) >= 3 and not fields[0].startswith("#"):
            found.append(FstabLine(number, fields[0], fields[1], fields[2]))
    return found


def root_line(data: bytes) -> FstabLine | None:
    """Return the line that mounts /."""
    return next((line for line in parse_fstab(data) if line.place == "/"), None)


def without_efi(data: bytes) -> tuple[bytes, tuple[str, ...]]:
    """Return fstab with the lines of EFI partitions as comments, and where those were mounted.

    The image has no such partition, and would wait for it as it boots (AWS, "Creating an AMI from
    an Instance Store-Backed Ubuntu Instance").
    """
    unfit = {line.number: line.place for line in parse_fstab(data) if _is_efi(line)}
    lines = data.split(b"\n")
    for number in unfit:
        lines[number - 1] = b"#" + lines[number - 1]
    return b"\n".join(lines), tuple(unfit.values())


def _is_efi(line: FstabLine) -> bool:
    if line.kind not in {"vfat", "msdos", "auto"}:
        return False
    return line.place in _EFI_PLACES or _EFI_SOURCES.match(line.source) is not None


def other_devices(data: bytes) -> tuple[str, ...]:
    """Return where fstab mounts further devices without letting a boot go on that lacks them."""
    found = []
    for raw, line in _with_options(data):
        fatal = "nofail" not in raw and "noauto" not in raw and "nobootwait" not in raw
        device = line.source.startswith("/dev/") or "=" in line.source
        if line.place.startswith("/") and line.place != "/" and device and fatal:
            found.append(line.place)
    return tuple(found)


def _with_options(data: bytes) -> list[tuple[list[str], FstabLine]]:
    lines = data.split(b"\n")
    found = []
    for line in parse_fstab(data):
        fields = lines[line.number - 1].decode("utf-8", errors="surrogateescape").split()
        found.append((fields[3].split(",") if len(fields) > 3 else [], line))
    return found


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
