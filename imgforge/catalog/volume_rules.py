"""What a volume of each type can have: its size, IOPS and throughput.

EC2 API, data type EbsBlockDevice, for the ranges. EBS User Guide, "General Purpose SSD volumes"
and "Provisioned IOPS SSD volumes", for the ratios: at most 50 IOPS for a GiB of io1, 1000 of io2
and 500 of gp3, which has 3000 IOPS and 125 MiB/s at any size; 0.25 MiB/s for each IOPS of gp3.
"""

from collections.abc import Iterator, Mapping

from imgforge.catalog.image import EbsDevice
from imgforge.catalog.rule_table import Finding
from imgforge.image_choice import VolumeType

_SIZES_GIB: Mapping[VolumeType, tuple[int, int]] = {
    VolumeType.GP2: (1, 16_384),
    VolumeType.GP3: (1, 65_536),
    VolumeType.IO1: (4, 16_384),
    VolumeType.IO2: (4, 65_536),
    VolumeType.ST1: (125, 16_384),
    VolumeType.SC1: (125, 16_384),
    VolumeType.STANDARD: (1, 1_024),
}
_IOPS: Mapping[VolumeType, tuple[int, int]] = {
    VolumeType.GP3: (3_000, 80_000),
    VolumeType.IO1: (100, 64_000),
    VolumeType.IO2: (100, 256_000),
}
_IOPS_PER_GIB: Mapping[VolumeType, int] = {
    VolumeType.GP3: 500,
    VolumeType.IO1: 50,
    VolumeType.IO2: 1_000,
}
_THROUGHPUT = (125, 2_000)
_IOPS_PER_MIB_S = 4
USUAL_IOPS = 3_000
"""What a gp3 volume has where nothing is asked, and what a volume that becomes io1 or io2 gets."""
USUAL_THROUGHPUT = 125
"""What a gp3 volume has where nothing is asked, in MiB/s."""


def check_limits(name: str, ebs: EbsDevice, chosen_gib: int) -> Iterator[Finding]:
    """Yield what a volume of this type cannot have; `name` is the device's, for people."""
    kind = ebs.volume_type
    least, most = _SIZES_GIB[kind]
    if not least <= chosen_gib <= most:
        needed = f"a {kind} volume has {least} to {most} GiB"
        yield Finding("volume-size", f"{chosen_gib} GiB for {name}", needed)
    if ebs.iops is not None:
        yield from _check_iops(name, kind, iops=ebs.iops, chosen_gib=chosen_gib)
    elif kind in {VolumeType.IO1, VolumeType.IO2}:
        yield Finding("iops", f"none for {name}", f"a {kind} volume needs them")
    if ebs.throughput is not None:
        yield from _check_throughput(name, kind, ebs.throughput, iops=ebs.iops)


def _check_iops(name: str, kind: VolumeType, *, iops: int, chosen_gib: int) -> Iterator[Finding]:
    if kind not in _IOPS:
        yield Finding("iops", f"{iops} for {name}", f"a {kind} volume has none")
        return
    least, most = _IOPS[kind]
    if not least <= iops <= most:
        yield Finding("iops", f"{iops} for {name}", f"a {kind} volume has {least} to {most}")
        return
    per_gib = _IOPS_PER_GIB[kind]
    at_any_size = USUAL_IOPS if kind is VolumeType.GP3 else 0
    if iops > max(at_any_size, per_gib * chosen_gib):
        found = f"{iops} for {chosen_gib} GiB of {name}"
        needed = f"a {kind} volume has at most {per_gib} for each GiB"
        yield Finding("iops-ratio", found, f"{needed}: {-(-iops // per_gib)} GiB have so many")


def _check_throughput(
    name: str, kind: VolumeType, throughput: int, *, iops: int | None
) -> Iterator[Finding]:
    if kind is not VolumeType.GP3:
        yield Finding("throughput", f"{throughput} for {name}", f"a {kind} volume has none")
        return
    least, most = _THROUGHPUT
    if not least <= throughput <= most:
        needed = f"a gp3 volume has {least} to {most} MiB/s"
        yield Finding("throughput", f"{throughput} for {name}", needed)
        return
    has_iops = USUAL_IOPS if iops is None else iops
    if throughput * _IOPS_PER_MIB_S > max(has_iops, least * _IOPS_PER_MIB_S):
        found = f"{throughput} MiB/s with {has_iops} IOPS for {name}"
        needed = f"0.25 MiB/s for each IOPS at most: {throughput * _IOPS_PER_MIB_S} IOPS have it"
        yield Finding("throughput-ratio", found, needed)


def smallest_gib(ebs: EbsDevice) -> int:
    """Return how large the smallest volume of this type is that has the IOPS asked of it."""
    least = _SIZES_GIB[ebs.volume_type][0]
    per_gib = _IOPS_PER_GIB.get(ebs.volume_type)
    return least if per_gib is None else max(least, -(-(ebs.iops or 0) // per_gib))
