"""Amazon's PV-GRUB kernel images (AKIs), as the guide to Linux AMIs lists them.

Source: "User Provided Kernels", sections "Amazon PV-GRUB Kernel Image IDs" and "Updating
PV-GRUB". The list names the current ones only: PV-GRUB 1.05 with hd0.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from imgforge.errors import BadInputError

SECTION = "User Provided Kernels: Amazon PV-GRUB Kernel Image IDs"
UPDATING_SECTION = "User Provided Kernels: Updating PV-GRUB"


class AkiArchitecture(StrEnum):
    """The kernels that a PV-GRUB starts: 32-bit ones or 64-bit ones, never both."""

    I386 = "i386"
    X86_64 = "x86_64"

    @property
    def bits(self) -> int:
        """The width of the kernels it starts."""
        return 64 if self is AkiArchitecture.X86_64 else 32


class AkiPlace(StrEnum):
    """Where a PV-GRUB takes the file system to be: the whole disk, or the first partition."""

    HD0 = "hd0"
    HD00 = "hd00"


@dataclass(frozen=True, slots=True, order=True)
class PvGrub:
    """A release of PV-GRUB, as an AKI's name tells it; `version` is (1, 5) of "1.05"."""

    place: AkiPlace
    version: tuple[int, int]
    architecture: AkiArchitecture

    @property
    def release(self) -> str:
        """The version as Amazon writes it."""
        return f"{self.version[0]}.{self.version[1]:02d}"

    @property
    def name(self) -> str:
        """The AKI's name."""
        return f"pv-grub-{self.place}_{self.release}-{self.architecture}.gz"

    @property
    def looks_everywhere(self) -> bool:
        """Whether it looks in all nine places; 1.03 and earlier look in one of the first two."""
        return self.version > (1, 3)

    @property
    def knows_gpt(self) -> bool:
        """Whether it reads GPT; 1.03 and earlier read MBR only."""
        return self.version > (1, 3)


@dataclass(frozen=True, slots=True)
class Aki:
    """A kernel image of Amazon's: its id, which is its region's alone, and what it is."""

    aki_id: str
    region: str
    pv_grub: PvGrub


NEWEST_VERSION = (1, 5)
"""The PV-GRUB that all listed AKIs are."""
_NAME = re.compile(r"pv-grub-(hd00?)_(\d{1,3})\.(\d{2})-(i386|x86_64)\.gz")
_ID = re.compile(r"aki-[0-9a-f]{8}(?:[0-9a-f]{9})?")
# Region, then the ids of pv-grub-hd0_1.05-i386.gz and pv-grub-hd0_1.05-x86_64.gz.
_LISTED = """
ap-northeast-1 aki-f975a998 aki-7077ab11
ap-southeast-1 aki-17a40074 aki-73a50110
ap-southeast-2 aki-ba5665d9 aki-66506305
eu-central-1   aki-1419e57b aki-931fe3fc
eu-west-1      aki-1c9fd86f aki-dc9ed9af
sa-east-1      aki-7cd34110 aki-912fbcfd
us-east-1      aki-04206613 aki-5c21674b
us-gov-west-1  aki-5ee9573f aki-9ee55bff
us-west-1      aki-43cf8123 aki-59cc8239
us-west-2      aki-7a69931a aki-70cb0e10
"""


def parse_name(name: str) -> PvGrub | None:
    """Return what an AKI's name says of it; None where it is no PV-GRUB's ("pv-grub-…")."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    version = (int(match[2]), int(match[3]))
    return PvGrub(AkiPlace(match[1]), version, AkiArchitecture(match[4]))


def _listed() -> tuple[Aki, ...]:
    found = []
    for line in _LISTED.split("\n"):
        if line:
            region, *ids = line.split()
            found += [
                Aki(aki_id, region, PvGrub(AkiPlace.HD0, NEWEST_VERSION, architecture))
                for aki_id, architecture in zip(ids, AkiArchitecture, strict=True)
            ]
    return tuple(found)


AKIS = _listed()
REGIONS = tuple(dict.fromkeys(aki.region for aki in AKIS))


def find_akis(
    *,
    region: str | None = None,
    architecture: AkiArchitecture | None = None,
    place: AkiPlace | None = None,
) -> tuple[Aki, ...]:
    """Return the guide's AKIs of this region, architecture and place; None is any.

    Raises BadInputError for a region that the guide does not list.
    """
    if region is not None and region not in REGIONS:
        raise BadInputError(
            f"Region {region}: the guide lists no PV-GRUB there; it lists {', '.join(REGIONS)}.",
            hint="Paravirtual instances run in those regions only; elsewhere use an hvm layout.",
        )
    return tuple(
        aki
        for aki in AKIS
        if (region is None or aki.region == region)
        and (architecture is None or aki.pv_grub.architecture is architecture)
        and (place is None or aki.pv_grub.place is place)
    )


def identify(aki_id: str) -> Aki | None:
    """Return what the guide says of an AKI's id; None where it does not list it.

    Raises BadInputError for what is no AKI's id.
    """
    if _ID.fullmatch(aki_id) is None:
        raise BadInputError(
            f"Kernel id {aki_id!r}: not an AKI's; those are aki- and 8 or 17 hexadecimal digits."
        )
    return next((aki for aki in AKIS if aki.aki_id == aki_id), None)


def listed_pv_grub(kernel_id: str | None) -> PvGrub | None:
    """Return the PV-GRUB that an image's kernel id names; None where the guide lists none."""
    if kernel_id is None or _ID.fullmatch(kernel_id) is None:
        return None
    aki = identify(kernel_id)
    return aki.pv_grub if aki else None


def equal_aki(aki_id: str, *, region: str) -> Aki:
    """Return the AKI that is in `region` what this one is in its own.

    Raises BadInputError for what is no AKI's id, and where the guide does not list the id, the
    region, or an equal there.
    """
    aki = identify(aki_id)
    if aki is None:
        raise BadInputError(
            f"Kernel {aki_id}: the guide does not list it, so what equals it in {region} cannot be "
            "told here.",
            hint=f"imgforge aki find --region {region} lists the kernels there.",
        )
    for other in find_akis(region=region, architecture=aki.pv_grub.architecture):
        if other.pv_grub == aki.pv_grub:
            return other
    raise BadInputError(
        f"Kernel {aki_id}: is {aki.pv_grub.name}, and the guide lists none of that name in "
        f"{region}."
    )


def read_pv_grub(text: str) -> PvGrub:
    """Return the PV-GRUB that a person names by an AKI's id or name.

    Raises BadInputError where the guide does not list the id, or the name is no PV-GRUB's.
    """
    if text.startswith("aki-"):
        aki = identify(text)
        if aki is not None:
            return aki.pv_grub
        raise BadInputError(
            f"Kernel {text}: the guide does not list it, so what it is cannot be told here.",
            hint=f"Ask EC2 for its name, and give that: aws ec2 describe-images --image-ids {text}",
        )
    pv_grub = parse_name(text)
    if pv_grub is None:
        raise BadInputError(
            f"Kernel {text!r}: neither an AKI's id nor a PV-GRUB's name, as "
            "pv-grub-hd0_1.05-x86_64.gz is."
        )
    return pv_grub


class AkiState(StrEnum):
    """How a PV-GRUB stands against the guide's list."""

    NEWEST = "newest"
    OUTDATED = "outdated"
    NOT_LISTED = "not-listed"


@dataclass(frozen=True, slots=True)
class AkiAdvice:
    """What "Updating PV-GRUB" says of an AKI: how it stands, and what takes its place.

    `successor` is the newest of the same kind, `alternative` an hd0 AKI where none of the same
    kind is listed.
    """

    pv_grub: PvGrub | None
    state: AkiState
    successor: Aki | None
    alternative: Aki | None = None


def advise(pv_grub: PvGrub | None, *, region: str | None) -> AkiAdvice:
    """Compare a PV-GRUB, None for one that is not known, with the guide's list of `region`.

    Raises BadInputError for a region that the guide does not list.
    """
    if pv_grub is None or region is None:
        newest = max(aki.pv_grub.version for aki in AKIS)
        if pv_grub is None:
            return AkiAdvice(None, AkiState.NOT_LISTED, None)
        return AkiAdvice(pv_grub, _state(pv_grub, newest), None)
    same = find_akis(region=region, architecture=pv_grub.architecture, place=pv_grub.place)
    successor = max(same, key=lambda aki: aki.pv_grub.version, default=None)
    if successor is None:
        others = find_akis(region=region, architecture=pv_grub.architecture, place=AkiPlace.HD0)
        alternative = max(others, key=lambda aki: aki.pv_grub.version, default=None)
        newest = alternative.pv_grub.version if alternative else pv_grub.version
        state = AkiState.NOT_LISTED if pv_grub.version >= newest else AkiState.OUTDATED
        return AkiAdvice(pv_grub, state, None, alternative)
    state = _state(pv_grub, successor.pv_grub.version)
    return AkiAdvice(pv_grub, state, None if state is AkiState.NOT_LISTED else successor)


def _state(pv_grub: PvGrub, newest: tuple[int, int]) -> AkiState:
    """Return how a version stands; one beyond the newest is none that Amazon lists."""
    if pv_grub.version > newest:
        return AkiState.NOT_LISTED
    return AkiState.NEWEST if pv_grub.version == newest else AkiState.OUTDATED


def update_commands(instance_id: str, aki: Aki) -> tuple[tuple[str, ...], ...]:
    """Return the commands by which the guide updates an instance's PV-GRUB, as argument lists."""
    where = ("--region", aki.region)
    which = ("--instance-id", instance_id)
    whole = ("--instance-ids", instance_id)
    return (
        ("aws", "ec2", "stop-instances", *whole, *where),
        ("aws", "ec2", "wait", "instance-stopped", *whole, *where),
        ("aws", "ec2", "modify-instance-attribute", *which, "--kernel", aki.aki_id, *where),
        ("aws", "ec2", "start-instances", *whole, *where),
    )
