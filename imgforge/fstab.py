"""The lines of an image's /etc/fstab, and which of them mounts an EFI partition.

fstab(5): source, mount point, type, options, dump, pass.
"""

import re
from dataclasses import dataclass

_EFI_PLACES = frozenset({"/boot/efi", "/efi", "/boot/EFI", "/esp"})
_EFI_KINDS = frozenset({"vfat", "msdos", "auto"})
_EFI_SOURCES = re.compile(
    r"(?:LABEL|PARTLABEL)=\"?(?:UEFI|EFI|ESP|EFI[\\0-9 ]*System.*)\"?\Z", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class FstabLine:
    """A line that mounts something: its number from 1, and its fields; bytes as os.fsdecode has."""

    number: int
    source: str
    place: str
    kind: str
    options: tuple[str, ...] = ()

    @property
    def is_efi(self) -> bool:
        """Whether it mounts an EFI partition, which no image of one partition has."""
        if self.kind not in _EFI_KINDS:
            return False
        is_place = self.place.rstrip("/") in _EFI_PLACES
        return is_place or _EFI_SOURCES.match(self.source) is not None


def parse_fstab(data: bytes) -> list[FstabLine]:
    """Return the lines of an fstab that are no comments; what is no line of one is passed over."""
    found = []
    for number, raw in enumerate(data.split(b"\n"), start=1):
        fields = raw.decode("utf-8", errors="surrogateescape").split()
        if len(fields) >= 3 and not fields[0].startswith("#"):
            source, place, kind = fields[:3]
            options = tuple(fields[3].split(",")) if len(fields) > 3 else ()
            found.append(FstabLine(number, source, place, kind, options))
    return found
