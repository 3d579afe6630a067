"""EC2 in one region, as the commands ask it: images, snapshots, their attributes and tags."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from botocore import xform_name

from imgforge.ec2.answer_form import find_deformity
from imgforge.ec2.image import Image, Snapshot, Told, is_id, plain, tag_list
from imgforge.ec2.paging import Patience
from imgforge.ec2.problem import explained, no_answer
from imgforge.ec2.waiting import Wait, wait_for

_IMAGE_LIMIT_S = 3600.0
_KNOWN_LIMIT_S = 60.0
_SNAPSHOT_LIMIT_S = 6 * 3600.0
Filters = Mapping[str, Sequence[str]]
"""EC2's filters: each name with the values that match, `*` and `?` for any."""


@dataclass(frozen=True, slots=True)
class Compute:
    """EC2 in a region. What it refuses is a CloudError with EC2's code; may be used by threads."""

    region: str
    client: Any = field(repr=False)

    def ask(self, what: str, action: str, parameters: Mapping[str, Any]) -> Told:
        """Return the answer to an action of EC2's, such as DeregisterImage; `what` is its object.

        Raises CloudError, HostError, BadInputError for parameters that EC2's model does not know.
        """
        with explained(what, service="EC2"):
            # botocore's own rule of naming methods: DescribeImages is describe_images.
            told: Told = getattr(self.client, xform_name(action))(**parameters)
        shape = self.client.meta.service_model.operation_model(action).output_shape
        if shape is not None and (wrong := find_deformity(told, shape)):
            raise no_answer(what, f"a {wrong} that is none", service="EC2")
        return told

    def pages(
        self, what: str, action: str, parameters: Mapping[str, Any], *, of: str
    ) -> Iterator[Told]:
        """Yield all that a listing action tells under the name `of`, page by page."""
        asked = dict(parameters)
        patience = Patience(f"{what}: the rest of the list", service="EC2")
        while True:
            told = self.ask(what, action, asked)
            listed = told.get(of) or ()
            yield from listed
            patience.spend(is_empty=not listed)
            token = told.get("NextToken")
            if not token:
                return
            if token == asked.get("NextToken"):
                break
            asked["NextToken"] = token
        raise no_answer(what, "a list without an end", service="EC2")

    # Images.

    def images(
        self,
        *,
        ids: Sequence[str] = (),
        owners: Sequence[str] = (),
        executable_by: Sequence[str] = (),
        filters: Filters | None = None,
        with_hidden: bool = False,
    ) -> list[Image]:
        """Return the images that are asked for, the oldest first.

        `with_hidden` lists what is deprecated or disabled, too.
        Raises CloudError (InvalidAMIID.NotFound) for an id that is none here.
        """
        asked: dict[str, Any] = {
            "ImageIds": list(ids),
            "Owners": list(owners),
            "ExecutableUsers": list(executable_by),
            "Filters": filter_list(filters),
            "IncludeDeprecated": with_hidden,
            "IncludeDisabled": with_hidden,
        }
        given = {name: value for name, value in asked.items() if value}
        if not ids:  # EC2 takes a page's size or ids, not both
            given["MaxResults"] = 1000
        what = f"Image {', '.join(ids)}" if ids else "Images"
        told = self.pages(what, "DescribeImages", given, of="Images")
        return sorted(map(Image.of, told), key=lambda one: one.text("CreationDate"))

    def image(self, image_id: str) -> Image:
        """Return an image. Raises CloudError (InvalidAMIID.NotFound, .Malformed)."""
        found = self.images(ids=[image_id])
        if len(found) != 1:
            raise no_answer(f"Image {image_id}", f"{len(found)} images", service="EC2")
        return found[0]

    def own_image_named(self, name: str) -> Image | None:
        """Return the caller's image of this name; there is one at most."""
        # Wildcards and the backslash are no letters of names.
        found = self.images(owners=["self"], filters={"name": [name]})
        return next((one for one in found if one.name == name), None)

    def register_image(self, name: str, request: Mapping[str, Any]) -> str:
        """Register an image; `request` is RegisterImage's, without the name. Returns its id.

        Raises CloudError (InvalidAMIName.Duplicate …).
        """
        told = self.ask(f"Image {name!r}", "RegisterImage", {"Name": name, **request})
        return _told_id(f"Image {name!r}", told, "ImageId")

    def copy_image(self, image_id: str, request: Mapping[str, Any]) -> str:
        """Copy an image into this region; `request` has SourceRegion, Name and what else."""
        what = f"Copy of {image_id}"
        told = self.ask(what, "CopyImage", {"SourceImageId": image_id, **request})
        return _told_id(what, told, "ImageId")

    def deregister_image(self, image_id: str) -> None:
        """Deregister an image; its snapshots stay."""
        self.ask(f"Image {image_id}", "DeregisterImage", {"ImageId": image_id})

    def image_attribute(self, image_id: str, attribute: str) -> Told:
        """Return an attribute of an image, such as launchPermission."""
        asked = {"ImageId": image_id, "Attribute": attribute}
        told: Told = plain(self.ask(f"Image {image_id}", "DescribeImageAttribute", asked))
        return told

    def modify_image(self, image_id: str, change: Mapping[str, Any]) -> None:
        """Change an attribute of an image, as ModifyImageAttribute takes it."""
        asked = {"ImageId": image_id, **change}
        self.ask(f"Image {image_id}", "ModifyImageAttribute", asked)

    def wait_for_image(self, image_id: str, *, limit_s: float = _IMAGE_LIMIT_S) -> Image:
        """Wait until an image is available, and return it. Raises CloudError, HostError."""
        return wait_for(
            Wait(f"Image {image_id}", "available", limit_s),
            lambda: self.image(image_id),
            state_of=lambda image: image.state,
            pending={"pending", "transient"},
        )

    def wait_until_image_known(self, image_id: str) -> Image:
        """Wait until EC2 knows an image that it has just made, in whatever state; return it."""
        return wait_for(
            Wait(f"Image {image_id}", "known", _KNOWN_LIMIT_S),
            lambda: self.image(image_id),
            state_of=lambda _: "known",
            pending=set(),
        )

    # Snapshots.

    def snapshots(
        self,
        *,
        ids: Sequence[str] = (),
        owners: Sequence[str] = (),
        filters: Filters | None = None,
    ) -> list[Snapshot]:
        """Return the snapshots that are asked for, the oldest first.

        Raises CloudError (InvalidSnapshot.NotFound) for an id that is none here.
        """
        asked: dict[str, Any] = {
            "SnapshotIds": list(ids),
            "OwnerIds": list(owners),
            "Filters": filter_list(filters),
        }
        given = {name: value for name, value in asked.items() if value}
        if not ids:
            given["MaxResults"] = 1000
        what = f"Snapshot {', '.join(ids)}" if ids else "Snapshots"
        told = self.pages(what, "DescribeSnapshots", given, of="Snapshots")
        return sorted(map(Snapshot.of, told), key=lambda one: one.text("StartTime"))

    def snapshot(self, snapshot_id: str) -> Snapshot:
        """Return a snapshot. Raises CloudError (InvalidSnapshot.NotFound …)."""
        found = self.snapshots(ids=[snapshot_id])
        if len(found) != 1:
            raise no_answer(f"Snapshot {snapshot_id}", f"{len(found)} snapshots", service="EC2")
        return found[0]

    def copy_snapshot(self, snapshot_id: str, request: Mapping[str, Any]) -> str:
        """Copy a snapshot into this region; `request` has SourceRegion and what else."""
        what = f"Copy of {snapshot_id}"
        told = self.ask(what, "CopySnapshot", {"SourceSnapshotId": snapshot_id, **request})
        return _told_id(what, told, "SnapshotId")

    def delete_snapshot(self, snapshot_id: str) -> None:
        """Delete a snapshot. Raises CloudError (InvalidSnapshot.InUse …)."""
        self.ask(f"Snapshot {snapshot_id}", "DeleteSnapshot", {"SnapshotId": snapshot_id})

    def wait_for_snapshot(
        self, snapshot_id: str, *, limit_s: float = _SNAPSHOT_LIMIT_S
    ) -> Snapshot:
        """Wait until a snapshot is completed, and return it. Raises CloudError, HostError."""
        return wait_for(
            Wait(f"Snapshot {snapshot_id}", "completed", limit_s),
            lambda: self.snapshot(snapshot_id),
            state_of=lambda snapshot: snapshot.state,
            pending={"pending"},
        )

    def wait_until_snapshot_known(self, snapshot_id: str) -> Snapshot:
        """Wait until EC2 knows a snapshot that it has just made, in whatever state; return it."""
        return wait_for(
            Wait(f"Snapshot {snapshot_id}", "known", _KNOWN_LIMIT_S),
            lambda: self.snapshot(snapshot_id),
            state_of=lambda _: "known",
            pending=set(),
        )

    # What both have.

    def tag(self, ids: Sequence[str], tags: Mapping[str, str]) -> None:
        """Give resources tags; one of a key that is there takes its place."""
        asked = {"Resources": list(ids), "Tags": tag_list(tags)}
        self.ask(f"Tags of {', '.join(ids)}", "CreateTags", asked)

    def untag(self, ids: Sequence[str], keys: Sequence[str]) -> None:
        """Take tags from resources, whatever their values are."""
        asked = {"Resources": list(ids), "Tags": [{"Key": key} for key in keys]}
        self.ask(f"Tags of {', '.join(ids)}", "DeleteTags", asked)

    def regions(self) -> list[str]:
        """Return the regions that the account may use."""
        told = self.ask("Regions", "DescribeRegions", {})
        return sorted(str(one.get("RegionName", "")) for one in told.get("Regions") or ())


def filter_list(filters: Filters | None) -> list[dict[str, Any]]:
    """Return filters as EC2 takes them."""
    return [{"Name": name, "Values": list(values)} for name, values in (filters or {}).items()]


def tag_specifications(**tags: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the tags of what a request makes, by resource type, as EC2 takes them."""
    return [
        {"ResourceType": kind, "Tags": tag_list(given)} for kind, given in tags.items() if given
    ]


def _told_id(what: str, told: Told, name: str) -> str:
    found = told.get(name)
    if not is_id(found):
        raise no_answer(what, "no id", service="EC2")
    return str(found)
