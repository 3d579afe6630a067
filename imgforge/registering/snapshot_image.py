"""A snapshot becomes an image."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from imgforge.acceptance import Verdict
from imgforge.catalog import (
    BlockDeviceMapping,
    EbsDevice,
    Finding,
    Gate,
    ImageRegistration,
    NameConflict,
    VirtualizationType,
    check_gate,
    check_registration,
)
from imgforge.disk import Disk
from imgforge.ec2 import Cloud, Image, Snapshot
from imgforge.errors import BadInputError
from imgforge.image_disk import read_back
from imgforge.layout import Layout
from imgforge.made_tags import LAYOUT, SHA256, SIZE_BYTES
from imgforge.recipe import ImagePart
from imgforge.registering.asking import Asked, find_same, gate_tags, register, staying
from imgforge.registering.check import refuse_or_warn
from imgforge.registering.snapshot import finished
from imgforge.registering.turn import turn

_KNOWN = (SHA256, SIZE_BYTES, LAYOUT)


@dataclass(frozen=True, slots=True)
class SnapshotImageWish:
    """A snapshot to register, as the root of an image.

    `parameters` are RegisterImage's; what they leave out is as the layout has it that the
    snapshot's tags know.
    """

    snapshot_id: str
    name: str
    verdict: Verdict | None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    conflict: NameConflict = NameConflict.REFUSE


def register_snapshot(cloud: Cloud, wish: SnapshotImageWish) -> Image:
    """Register a snapshot, and return the image when it is available.

    A verdict must name the disk that the snapshot holds: that is read back, since whoever may write
    tags could have its tag say what they like. The same registration gives the image that is there.
    Raises BadInputError, ImageRejectedError, CloudError, HostError.
    """
    snapshot = cloud.compute.wait_for_snapshot(wish.snapshot_id)
    asked_for = _registration(wish, snapshot)
    work = asked_for.digest(wish.snapshot_id)[:32]
    found = _check(cloud, asked_for, snapshot)
    refuse_or_warn(asked_for.name, found, verdict=wish.verdict)
    known = {name: snapshot.tags[name] for name in _KNOWN if name in snapshot.tags}
    known |= _pass_gate(cloud, snapshot, wish.verdict)
    tags = {**asked_for.tags, **known, **gate_tags(wish.verdict)}
    asked = Asked(asked_for.name, work, tags, wish.conflict)
    with turn(work, what=f"Image {asked_for.name!r}"):
        image = find_same(cloud, asked)
        if image is None:
            request = asked_for.request(root_snapshot_id=wish.snapshot_id)
            image = register(cloud, asked, request)
        with staying(image.image_id):
            finished(cloud, snapshot)
        return image


def _registration(wish: SnapshotImageWish, snapshot: Snapshot) -> ImageRegistration:
    layout = snapshot.tags.get(LAYOUT, "")
    given = wish.parameters
    if layout not in {*Layout}:
        for name, option in (
            ("VirtualizationType", "--virtualization-type"),
            ("Architecture", "--architecture"),
        ):
            if name not in given:
                raise BadInputError(
                    f"Snapshot {wish.snapshot_id}: nothing tells the image's {name}.",
                    hint=f"Give it with {option}; EC2's own defaults are i386 and paravirtual.",
                )
        is_hvm = given["VirtualizationType"] == VirtualizationType.HVM
        layout = Layout.HVM_MBR if is_hvm else Layout.PV
    image = ImagePart.model_construct(name=wish.name)
    registration = ImageRegistration.of_recipe(image, layout=Layout(layout))
    root = given.get("RootDeviceName", registration.root_device_name)
    if "BlockDeviceMappings" not in given:
        devices = (BlockDeviceMapping(root, ebs=EbsDevice()),)
        registration = replace(registration, block_devices=devices)
    return registration.asked(given)


def _pass_gate(cloud: Cloud, snapshot: Snapshot, verdict: Verdict | None) -> dict[str, str]:
    """Hold the snapshot against its verdict; return the tag of the SHA-256 that was seen."""
    if verdict is None:
        return {}
    said = snapshot.tags.get(SHA256, "")
    if said:  # what says of itself that it is another disk need not be read
        _check_gate(snapshot, said, verdict)
    found = read_back(cloud, snapshot)
    _check_gate(snapshot, found, verdict)
    return {SHA256: found}


def _check_gate(snapshot: Snapshot, sha256: str, verdict: Verdict) -> None:
    disk = Disk(Path(snapshot.snapshot_id), sha256, snapshot.volume_size_gib * 2**30)
    check_gate(disk, verdict=verdict, gate=Gate.VERDICT)


def _with_root(asked_for: ImageRegistration, snapshot_id: str) -> ImageRegistration:
    """Return a registration whose root is made from a snapshot."""
    root = asked_for.root_device_name
    devices = [
        replace(device, ebs=replace(device.ebs, snapshot_id=snapshot_id))
        if device.device_name == root and device.ebs is not None
        else device
        for device in asked_for.block_devices
    ]
    return replace(asked_for, block_devices=tuple(devices))


def _check(cloud: Cloud, asked_for: ImageRegistration, root: Snapshot) -> tuple[Finding, ...]:
    """Return every rule that is broken, by the registration or a snapshot that it names."""
    devices = [device.ebs for device in asked_for.block_devices if device.ebs is not None]
    others = [ebs.snapshot_id for ebs in devices if ebs.snapshot_id]
    snapshots = [*(cloud.compute.snapshots(ids=others) if others else []), root]
    return check_registration(
        _with_root(asked_for, root.snapshot_id),
        disk=None,
        snapshots={one.snapshot_id: one.volume_size_gib for one in snapshots},
        pending={one.snapshot_id: one.state for one in snapshots if one.state != "completed"},
        region=cloud.region,
    )
