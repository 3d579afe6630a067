"""What a test asks its machine to be, decided from its marks without touching anything."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from imgforge.accelerator import Accelerator
from imgforge.disk import Disk
from imgforge.machine import INSTANCE_TYPES, T2_MICRO, DiskBus, InstanceType
from imgforge.metadata import Fault, HttpTokens
from imgforge.recipe import ExpectPart


class Start(StrEnum):
    """How a test gets its machine: forked from a frozen one, booted, or only powered on."""

    FORK = "fork"
    COLD = "cold"
    POWER_ON = "power-on"


@dataclass(frozen=True, slots=True)
class Image:
    """What is tested: a disk, how QEMU calls its format, what is expected of its boot.

    `ami_id` is the catalog's; "" where the image is none of it.
    """

    disk: Disk
    expect: ExpectPart
    format: str = "raw"
    ami_id: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """A machine to be: sizes are in GiB, of blank volumes and of the root volume.

    `root_gib` None keeps the disk's own size.
    """

    image: Image
    accelerator: Accelerator
    profile: InstanceType = T2_MICRO
    user_data: bytes | None = None
    http_tokens: HttpTokens = HttpTokens.OPTIONAL
    volumes_gib: tuple[int, ...] = ()
    root_gib: int | None = None
    network: bool = False
    start: Start = Start.FORK
    is_new_instance: bool = False
    faults: tuple[Fault, ...] = ()
    region: str = "us-east-1"

    @property
    def why_cold(self) -> str:
        """Why this machine cannot be forked; "" where it can."""
        if self.start is not Start.FORK:
            return "the test asks for it"
        if self.profile.disk_bus is DiskBus.NVME:
            return f"{self.profile.name} has NVMe disks, whose state QEMU cannot carry over"
        return ""


@dataclass(frozen=True, slots=True)
class Mark:
    """A mark of a test: its name, positional and named arguments."""

    name: str
    args: tuple[object, ...] = ()
    kwargs: Mapping[str, object] = field(default_factory=dict)


MARKS = {
    "instance_type": "instance_type(name): the machine's hardware, such as t2.micro or m3.medium",
    "user_data": "user_data(text or bytes): what the instance is launched with",
    "root_volume": "root_volume(gib): a root volume larger than the image",
    "volumes": "volumes(gib, ...): further blank EBS volumes",
    "metadata_options": "metadata_options(http_tokens='required'|'optional')",
    "faults": "faults(path, status=500, delay_s=0, times=None): the metadata service misbehaves",
    "cold_boot": "cold_boot: booted for this test, not forked from a frozen machine",
    "power_on": "power_on: given to the test at power-on, before it has booted",
    "new_instance": "new_instance: with an instance id of its own",
}
"""The plugin's marks, as `pytest --markers` shows them."""


class MarkError(ValueError):
    """A mark is not what it must be; says which, what was found and what is allowed."""


def apply_marks(plan: Plan, marks: list[Mark]) -> Plan:
    """Return `plan` changed by marks, the outermost (module, class) first. Raises MarkError."""
    for mark in marks:
        plan = _apply(plan, mark)
    if plan.faults and plan.start is Start.FORK:
        plan = replace(plan, start=Start.COLD)
    return plan


def _apply(plan: Plan, mark: Mark) -> Plan:
    changed = _change_hardware(plan, mark) or _change_launch(plan, mark)
    if changed is None:
        raise MarkError(f"Mark {mark.name}{_call(mark)} is none of: {_allowed(mark.name)}.")
    return changed


def _change_hardware(plan: Plan, mark: Mark) -> Plan | None:
    match mark:
        case Mark("instance_type", (str(name),)) if name in INSTANCE_TYPES:
            return replace(plan, profile=INSTANCE_TYPES[name])
        case Mark("root_volume", (int(gib),)) if 0 < gib <= 65536:
            return replace(plan, root_gib=gib)
        case Mark("volumes", sizes) if sizes and all(_is_size(size) for size in sizes):
            return replace(plan, volumes_gib=tuple(size for size in sizes if isinstance(size, int)))
    return None


def _change_launch(plan: Plan, mark: Mark) -> Plan | None:
    match mark:
        case Mark("user_data", (str(text),)):
            return replace(plan, user_data=text.encode())
        case Mark("user_data", (bytes(data),)):
            return replace(plan, user_data=data)
        case Mark("metadata_options", (), {"http_tokens": ("required" | "optional") as tokens}):
            return replace(plan, http_tokens=HttpTokens(tokens))
        case Mark("faults", (str(path),)):
            return replace(plan, faults=(*plan.faults, _fault(path, mark.kwargs)))
        case Mark("cold_boot", ()):
            return replace(plan, start=Start.COLD)
        case Mark("power_on", ()):
            return replace(plan, start=Start.POWER_ON)
        case Mark("new_instance", ()):
            return replace(plan, is_new_instance=True)
    return None


def _is_size(size: object) -> bool:
    return isinstance(size, int) and not isinstance(size, bool) and 0 < size <= 65536


def _fault(path: str, kwargs: Mapping[str, object]) -> Fault:
    try:
        return Fault(path, **kwargs)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise MarkError(f"Mark faults({path!r}): {error}.") from None


def _call(mark: Mark) -> str:
    words = [repr(arg) for arg in mark.args]
    words += [f"{name}={value!r}" for name, value in mark.kwargs.items()]
    return f"({', '.join(words)})"


def _allowed(name: str) -> str:
    types = f", with one of {', '.join(INSTANCE_TYPES)}" if name == "instance_type" else ""
    return MARKS[name].partition(":")[0] + types
