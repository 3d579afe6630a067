"""What EC2 would refuse, found before it is asked; and the gate that only a verdict opens."""

import re
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from imgforge.aki import identify
from imgforge.catalog.image import EbsDevice, RootDeviceType
from imgforge.catalog.refusal import RefusedError
from imgforge.catalog.registration import Gate, ImageRegistration
from imgforge.catalog.rule_table import Finding, Severity
from imgforge.catalog.volume_rules import check_limits
from imgforge.errors import BadInputError, ImageRejectedError
from imgforge.image_choice import Architecture, BootMode, VirtualizationType, VolumeType
from imgforge.made_tags import no_request_carries

# For their names alone: whoever lists images need not load what boots and judges.
if TYPE_CHECKING:
    from imgforge.acceptance import Verdict
    from imgforge.disk import Disk

_NAME = re.compile(r"[A-Za-z0-9()\[\] ./\-'@_]{3,128}")
_PV_DEVICE = re.compile(r"/dev/(sd|hd)[a-z](1[0-5]|[1-9])?")
_HVM_DEVICE = re.compile(r"/dev/(sd[a-z]|xvd[a-d][a-z]|xvd[e-z])")
_HVM_ROOTS = ("/dev/sda1", "/dev/xvda")
_PV_ROOT = "/dev/sda1"
_EPHEMERAL = re.compile(r"ephemeral(\d|1\d|2[0-3])")
_RAMDISK_ID = re.compile(r"ari-([0-9a-f]{8}|[0-9a-f]{17})")
_KERNEL_ID = re.compile(r"aki-([0-9a-f]{8}|[0-9a-f]{17})")
_MAX_TAGS = 50
_UEFI = (BootMode.UEFI, BootMode.UEFI_PREFERRED)
NONE_PENDING: Mapping[str, str] = MappingProxyType({})


def size_gib(size_bytes: int) -> int:
    """Return the smallest volume, in GiB, that holds so many bytes."""
    return max(1, -(-size_bytes // 2**30))


def check_registration(
    registration: ImageRegistration,
    *,
    disk: "Disk | None",
    snapshots: Mapping[str, int],
    pending: Mapping[str, str] = NONE_PENDING,
    region: str | None = None,
) -> tuple[Finding, ...]:
    """Return every rule that the registration breaks (EC2 API, RegisterImage).

    `snapshots` are those that exist here, with their size in GiB; `pending` has the state of those
    that are not completed. Without a `disk` the root's volume is made from one of them. `region` is
    where a kernel has to be, if that is known.
    """
    return (
        *check_texts(registration.name, registration.description),
        *_check_tags(registration.tags),
        *_check_virtualization(registration, disk),
        *_check_kernel(registration, region),
        *_check_devices(registration),
        *_check_volumes(registration, disk, snapshots),
        *_check_states(registration, pending),
    )


def advise_registration(registration: ImageRegistration) -> Iterator[Finding]:
    """Yield what EC2 takes, and what is no good all the same."""
    kind = registration.virtualization_type
    if kind is VirtualizationType.PARAVIRTUAL and not registration.kernel_id:
        yield Finding("kernel-missing", "none", "each launch has to name one (an AKI)")
    arm = registration.architecture is Architecture.ARM64
    if arm and registration.boot_mode is BootMode.LEGACY_BIOS:
        needed = "uefi, or none: Graviton's instances start by UEFI"
        yield Finding("boot-mode-architecture", "legacy-bios with arm64", needed)


def check_texts(name: str, description: str) -> Iterator[Finding]:
    """Yield what an image's name and description cannot be."""
    if not _NAME.fullmatch(name):
        yield Finding(
            "name", repr(name), "3 to 128 of A-Z a-z 0-9 ( ) [ ] space . / - ' @ _ are allowed"
        )
    if len(description) > 255:
        yield Finding("description", f"{len(description)} characters", "at most 255 are allowed")
    if wrong := no_request_carries(description):
        yield Finding("description", repr(wrong), "characters that a request can carry")


def _check_tags(tags: Mapping[str, str]) -> Iterator[Finding]:
    if len(tags) > _MAX_TAGS:
        yield Finding("tags", str(len(tags)), f"at most {_MAX_TAGS} are allowed")
    for key, value in tags.items():
        if not 1 <= len(key) <= 128 or key.lower().startswith("aws:"):
            yield Finding("tags", f"key {key!r}", "1 to 128 characters, not starting with aws:")
        if len(value) > 256:
            yield Finding("tags", f"{len(value)} characters under {key!r}", "at most 256")
        if wrong := no_request_carries(key + value):
            yield Finding("tags", f"{wrong!r} in {key!r}", "characters that a request can carry")


def _check_virtualization(
    registration: ImageRegistration, disk: "Disk | None"
) -> Iterator[Finding]:
    kind = registration.virtualization_type
    if disk and disk.layout and VirtualizationType.of_layout(disk.layout) is not kind:
        needed = f"the disk's layout {disk.layout} needs another"
        yield Finding("virtualization-type", str(kind), needed)
    if registration.tpm_support and registration.boot_mode is not BootMode.UEFI:
        found = f"{registration.tpm_support} with boot mode {registration.boot_mode or 'none'}"
        yield Finding("tpm-support", found, "NitroTPM needs boot mode uefi")
    if registration.uefi_data and registration.boot_mode not in _UEFI:
        found = f"with boot mode {registration.boot_mode or 'none'}"
        yield Finding("uefi-data", found, "it needs boot mode uefi or uefi-preferred")
    if kind is VirtualizationType.HVM:
        return
    if registration.ena_support:
        yield Finding("ena-support", "true", "a paravirtual image cannot have it")
    if registration.sriov_net_support:
        found = registration.sriov_net_support
        yield Finding("sriov-net-support", found, "a paravirtual image cannot have it")
    if registration.boot_mode in _UEFI:
        yield Finding("boot-mode", str(registration.boot_mode), "paravirtual images know no UEFI")


def _check_kernel(registration: ImageRegistration, region: str | None) -> Iterator[Finding]:
    kernel_id, ramdisk_id = registration.kernel_id, registration.ramdisk_id
    if registration.virtualization_type is VirtualizationType.HVM:
        if kernel_id:
            yield Finding("kernel-id", kernel_id, "an hvm image has none")
        if ramdisk_id:
            yield Finding("ramdisk-id", ramdisk_id, "an hvm image has none")
        return
    if ramdisk_id and not _RAMDISK_ID.fullmatch(ramdisk_id):
        yield Finding("ramdisk-id", repr(ramdisk_id), "ari- and 8 or 17 hexadecimal digits")
    if kernel_id and not _KERNEL_ID.fullmatch(kernel_id):
        yield Finding("kernel-id", repr(kernel_id), "aki- and 8 or 17 hexadecimal digits")
    elif kernel_id:
        yield from _check_aki(registration, kernel_id, region)


def _check_aki(
    registration: ImageRegistration, kernel_id: str, region: str | None
) -> Iterator[Finding]:
    aki = identify(kernel_id)
    if region is not None and (aki is None or aki.region != region):
        needed = "the region's list has it (imgforge aki find)"
        if aki is not None:
            needed = f"that one is of {aki.region}"
        yield Finding("kernel-region", f"{kernel_id} in {region}", needed)
    if aki is None:
        return
    if registration.ramdisk_id:
        found = registration.ramdisk_id
        yield Finding("ramdisk-id", found, f"PV-GRUB ({kernel_id}) takes none")
    bits = aki.pv_grub.architecture
    if registration.architecture.value != bits.value:
        needed = f"{kernel_id} starts {bits} kernels only ({bits.bits}-bit)"
        yield Finding("kernel-bits", str(registration.architecture), needed)


def _check_devices(registration: ImageRegistration) -> Iterator[Finding]:
    root = registration.root_device_name
    hvm = registration.virtualization_type is VirtualizationType.HVM
    roots = _HVM_ROOTS if hvm else (_PV_ROOT,)
    if root not in roots:
        yield Finding("root-device-name", repr(root), f"{' or '.join(roots)} is needed")
    names = [device.device_name for device in registration.block_devices]
    if root not in names and registration.root_device_type is RootDeviceType.EBS:
        yield Finding("root-device-name", f"{root} outside the mapping", "the mapping names it")
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield Finding("device-name", f"{name} twice", "each device is named once")
    pattern = _HVM_DEVICE if hvm else _PV_DEVICE
    for device in registration.block_devices:
        name = device.device_name
        if not pattern.fullmatch(name) and name != root:
            allowed = "/dev/sd[a-z], /dev/xvd[a-d][a-z], /dev/xvd[e-z]"
            if not hvm:
                allowed = "/dev/sd[a-z] and /dev/hd[a-z], each with 1 to 15 behind it or not"
            kind = registration.virtualization_type
            yield Finding("device-name", repr(name), f"{allowed} are allowed ({kind})")
        given = [device.ebs is not None, device.virtual_name is not None, device.no_device]
        if given.count(True) != 1:
            found = f"{given.count(True)} of them for {name}"
            yield Finding("device", found, "exactly one of ebs, virtual name and no device")
        if device.virtual_name and not _EPHEMERAL.fullmatch(device.virtual_name):
            yield Finding("virtual-name", repr(device.virtual_name), "ephemeral0 to ephemeral23")


def _check_volumes(
    registration: ImageRegistration, disk: "Disk | None", snapshots: Mapping[str, int]
) -> Iterator[Finding]:
    for device in registration.block_devices:
        name, ebs = device.device_name, device.ebs
        is_root = name == registration.root_device_name
        if is_root and registration.root_device_type is RootDeviceType.INSTANCE_STORE:
            yield Finding("root-device", f"{name} mapped", "the root is the bundle's")
        elif not is_root:
            if ebs is not None:
                yield from _check_extra_volume(name, ebs, snapshots)
        elif ebs is None:
            yield Finding("root-device", f"{name} without ebs", "the root is an EBS volume")
        elif disk is None:
            yield from _check_root_snapshot(name, ebs, snapshots)
        else:
            yield from _check_root_volume(name, ebs, size_gib(disk.size_bytes))


def _check_states(registration: ImageRegistration, pending: Mapping[str, str]) -> Iterator[Finding]:
    for device in registration.block_devices:
        snapshot_id = device.ebs.snapshot_id if device.ebs else None
        if snapshot_id is not None and snapshot_id in pending:
            found = f"{snapshot_id} is {pending[snapshot_id]}"
            yield Finding("snapshot-state", found, "a snapshot that is completed")


def _check_root_volume(name: str, ebs: EbsDevice, least_gib: int) -> Iterator[Finding]:
    if ebs.snapshot_id is not None:
        yield Finding("snapshot", f"{ebs.snapshot_id} for {name}", "the disk becomes its snapshot")
    yield from _check_root_type(name, ebs)
    yield from _check_from_snapshot(name, ebs, least_gib)


def _check_root_snapshot(
    name: str, ebs: EbsDevice, snapshots: Mapping[str, int]
) -> Iterator[Finding]:
    yield from _check_root_type(name, ebs)
    if ebs.snapshot_id is None:
        yield Finding("root-device", f"{name} without a snapshot", "the root is made from one")
    else:
        yield from _check_extra_volume(name, ebs, snapshots)


def _check_root_type(name: str, ebs: EbsDevice) -> Iterator[Finding]:
    if ebs.volume_type in {VolumeType.ST1, VolumeType.SC1}:
        yield Finding("volume-type", f"{ebs.volume_type} for {name}", "it cannot be booted from")


def _check_extra_volume(
    name: str, ebs: EbsDevice, snapshots: Mapping[str, int]
) -> Iterator[Finding]:
    if ebs.snapshot_id is None:
        if ebs.volume_size_gib is None:
            yield Finding("volume-size", f"none for {name}", "a blank volume needs its size")
        else:
            yield from check_limits(name, ebs, ebs.volume_size_gib)
    elif ebs.snapshot_id not in snapshots:
        yield Finding("snapshot", f"{ebs.snapshot_id} for {name}", "no such snapshot is here")
    else:
        yield from _check_from_snapshot(name, ebs, snapshots[ebs.snapshot_id])


def _check_from_snapshot(name: str, ebs: EbsDevice, least_gib: int) -> Iterator[Finding]:
    if ebs.encrypted is not None:
        found = f"encrypted = {str(ebs.encrypted).lower()} for {name}"
        yield Finding("encrypted", found, "a volume made from a snapshot is as the snapshot is")
    if ebs.kms_key_id is not None:
        found = f"one for {name}"
        yield Finding("kms-key-id", found, "a volume made from a snapshot has the snapshot's")
    chosen_gib = least_gib if ebs.volume_size_gib is None else ebs.volume_size_gib
    if chosen_gib < least_gib:
        found = f"{chosen_gib} GiB for {name}"
        yield Finding("volume-size", found, f"its snapshot has {least_gib} GiB")
    yield from check_limits(name, ebs, chosen_gib)


def refuse_before(what: str, findings: Iterable[Finding], *, hint: str = "") -> None:
    """Raise BadInputError before EC2 is asked, if there are findings that it refuses.

    `what` says what cannot be done, as "Image 'x' cannot be copied".
    """
    refused = [f"  {one}." for one in findings if one.severity is Severity.REFUSED]
    if refused:
        raise BadInputError("\n".join([f"{what}:", *refused]), hint=hint)


def refuse_as_ec2(findings: Iterable[Finding]) -> None:
    """Raise RefusedError with EC2's code of the first finding, and all of them told."""
    refused = list(findings)
    if refused:
        raise RefusedError(refused[0].code, "; ".join(map(str, refused)))


def check_gate(disk: "Disk", *, verdict: "Verdict | None", gate: Gate) -> bool:
    """Tell whether an accepted verdict names this disk.

    Raises, unless the gate is left open, BadInputError where there is no verdict of this disk and
    ImageRejectedError where it is a rejection.
    """
    problem = _find_problem(disk, verdict)
    if problem is None:
        return True
    if gate is Gate.UNVERIFIED:
        return False
    hint = (
        f"imgforge test {disk.path} makes a verdict. --unverified registers the disk all the "
        "same, and the image keeps saying so."
    )
    message = f"Disk {disk.path}: is not registered: {problem}."
    if verdict is not None and not verdict.accepted:
        raise ImageRejectedError(message, hint=hint)
    raise BadInputError(message, hint=hint)


def _find_problem(disk: "Disk", verdict: "Verdict | None") -> str | None:
    if verdict is None:
        return "no verdict is given"
    tested = verdict.disk
    if not verdict.accepted:
        return f"its verdict is a rejection: {verdict.reason.rstrip('.')}"
    if not verdict.checks or verdict.failed_stage or verdict.sign:
        return "its verdict contradicts itself: accepted, but not by its checks, stages or sign"
    if failed := [check.id for check in verdict.checks if not check.passed]:
        return f"its verdict contradicts itself: accepted, though {failed[0]} does not hold"
    if tested.sha256_before != tested.sha256_after:
        return "the disk changed while it was tested"
    if tested.sha256_after != disk.sha256:
        return (
            f"the verdict is of another disk, SHA-256 {tested.sha256_after}; this one has "
            f"{disk.sha256}"
        )
    if disk.layout and tested.layout and disk.layout is not tested.layout:
        return f"it was tested as {tested.layout}, and is {disk.layout}"
    return None
