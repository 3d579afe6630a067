"""Images and snapshots, as a person reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console

from imgforge.cli.ami_results import in_words
from imgforge.cli.tables import human_size, print_fields, print_rows
from imgforge.cli.terminal import say

if TYPE_CHECKING:
    from imgforge.catalog import Permission
    from imgforge.ec2 import Image, Snapshot
    from imgforge.image_lookup import ImageView

_DATE_CHARACTERS = 10


def show_images(console: Console, found: Sequence[Image], *, nothing: str) -> None:
    """Show images, a line each."""
    if not found:
        say(console, nothing)
        return
    rows = [
        (
            one.image_id,
            one.name,
            one.text("VirtualizationType") or one.text("ImageType"),
            one.state,
            one.text("CreationDate")[:_DATE_CHARACTERS],
            _verdict(one),
        )
        for one in found
    ]
    print_rows(console, ("image", "name", "type", "state", "created", "verdict"), rows)


def show_image(
    console: Console, view: ImageView, shared: Mapping[str, Sequence[Permission]]
) -> None:
    """Show all of an image: what EC2 says of it, what belongs to it, and who has its snapshots."""
    image = view.image
    told = image.told
    owner = " ".join(filter(None, (image.owner_id, image.text("ImageOwnerAlias"))))
    support = [
        word
        for name, word in (
            ("EnaSupport", "ENA"),
            ("SriovNetSupport", "SR-IOV"),
            ("TpmSupport", "NitroTPM"),
            ("ImdsSupport", "IMDSv2 alone"),
        )
        if told.get(name)
    ]
    print_fields(
        console,
        [
            ("image", image.image_id),
            ("name", image.name),
            ("description", image.text("Description")),
            ("state", _state(image)),
            ("owner", owner + ("" if view.is_own else ", not yours")),
            ("region", view.region),
            ("type", f"{image.text('VirtualizationType')} {image.text('Architecture')}"),
            ("boot mode", image.text("BootMode")),
            ("kernel", image.text("KernelId")),
            ("ramdisk", image.text("RamdiskId")),
            ("platform", image.text("PlatformDetails")),
            ("supports", ", ".join(support)),
            ("created", image.text("CreationDate")),
            ("deprecated", image.text("DeprecationTime")),
            ("protected", _protection(image)),
            ("source", _source(image)),
            ("location", "" if image.is_ebs else image.text("ImageLocation")),
            (
                "products",
                ", ".join(one.get("ProductCodeId", "") for one in told.get("ProductCodes", ())),
            ),
            ("shared with", _permissions(view.permissions)),
            ("snapshots with", "; ".join(f"{in_words(shared[one])} ({one})" for one in shared)),
            ("verdict", view.verdict or "none: its tags tell of none"),
            ("sha256", view.sha256),
        ],
    )
    if rows := _devices(view):
        console.print()
        print_rows(console, ("device", "root", "volume", "size", "of", "encrypted"), rows)
    if image.tags:
        console.print()
        print_rows(console, ("tag", "value"), sorted(image.tags.items()))


def show_snapshots(console: Console, found: Sequence[Snapshot]) -> None:
    """Show snapshots, a line each."""
    if not found:
        console.print("no snapshots", markup=False)
        return
    rows = [
        (
            one.snapshot_id,
            f"{one.volume_size_gib} GiB",
            one.state,
            one.text("StartTime")[:_DATE_CHARACTERS],
            one.tags.get("Name") or one.text("Description"),
        )
        for one in found
    ]
    print_rows(console, ("snapshot", "size", "state", "created", "what"), rows)


def show_snapshot(
    console: Console,
    snapshot: Snapshot,
    permissions: Sequence[Permission] | None,
    users: Sequence[str],
) -> None:
    """Show all of a snapshot."""
    encrypted = f"by {snapshot.text('KmsKeyId') or 'a key'}" if snapshot.is_encrypted else "no"
    print_fields(
        console,
        [
            ("snapshot", snapshot.snapshot_id),
            ("description", snapshot.text("Description")),
            ("state", f"{snapshot.state} {snapshot.text('Progress')}".strip()),
            ("size", f"{snapshot.volume_size_gib} GiB"),
            ("encrypted", encrypted),
            ("owner", snapshot.owner_id),
            ("volume", snapshot.text("VolumeId")),
            ("created", snapshot.text("StartTime")),
            ("shared with", _permissions(permissions)),
            ("images", ", ".join(users) or "none has it"),
        ],
    )
    if snapshot.tags:
        console.print()
        print_rows(console, ("tag", "value"), sorted(snapshot.tags.items()))


def _permissions(permissions: Sequence[Permission] | None) -> str:
    return "" if permissions is None else in_words(permissions)


def _devices(view: ImageView) -> list[tuple[str, ...]]:
    sizes = {one.snapshot_id: one for one in view.snapshots}
    rows: list[tuple[str, ...]] = []
    devices: Sequence[dict[str, Any]] = view.image.told.get("BlockDeviceMappings", ())
    for device in devices:
        name = str(device.get("DeviceName", ""))
        ebs = device.get("Ebs")
        root = "root" if name == view.image.text("RootDeviceName") else ""
        if ebs is None:
            rows.append((name, root, str(device.get("VirtualName", "none")), "", "", ""))
            continue
        snapshot_id = str(ebs.get("SnapshotId", ""))
        snapshot = sizes.get(snapshot_id)
        size = ebs.get("VolumeSize") or (snapshot.volume_size_gib if snapshot else 0)
        of = f"{snapshot_id} ({snapshot.volume_size_gib} GiB)" if snapshot else snapshot_id
        encrypted = "yes" if ebs.get("Encrypted") else "no"
        kind = str(ebs.get("VolumeType", ""))
        rows.append((name, root, kind, human_size(size * 2**30), of or "blank", encrypted))
    return rows


def _verdict(image: Image) -> str:
    from imgforge.made_tags import VERDICT

    return image.tags.get(VERDICT, "-")


def _state(image: Image) -> str:
    reason = image.told.get("StateReason", {}).get("Message", "")
    return f"{image.state}: {reason}" if reason else image.state


def _protection(image: Image) -> str:
    found = image.text("DeregistrationProtection")
    return "" if found == "disabled" else found


def _source(image: Image) -> str:
    place = image.text("SourceImageRegion")
    return " in ".join(filter(None, (image.text("SourceImageId"), place)))
