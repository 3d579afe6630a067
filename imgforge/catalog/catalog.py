"""The local catalog: a folder with a database of records and the blobs they point to."""

import re
import secrets
import sqlite3
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from imgforge.acceptance import Verdict
from imgforge.catalog import blobs, records
from imgforge.catalog.contents import Content, Contents
from imgforge.catalog.image import (
    LOCAL_OWNER_ID,
    BlockDeviceMapping,
    Image,
    ImageState,
    Snapshot,
)
from imgforge.catalog.registration import Gate, ImageRegistration, NameConflict
from imgforge.catalog.rules import check_gate, check_registration, refuse, size_gib
from imgforge.catalog.schema import open_database, told, transaction
from imgforge.catalog.sweep_lock import referring
from imgforge.disk import Disk
from imgforge.errors import BadInputError, HostError
from imgforge.files import appearing, locked_folder
from imgforge.progress import report

_IMAGE_ID = re.compile(r"ami-([0-9a-f]{8}|[0-9a-f]{17})")


class Catalog:
    """Images and snapshots kept in `folder`, which is made where it is missing.

    A context manager; safe under several processes at once, and under a kill at any moment: what
    was registered has its blob, and what was not leaves no record.
    """

    def __init__(self, folder: Path, *, owner_id: str = LOCAL_OWNER_ID) -> None:
        self.folder = folder
        self._owner_id = owner_id
        self._database = folder / "catalog.sqlite3"
        self._opened: sqlite3.Connection | None = None

    def __enter__(self) -> Self:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with locked_folder(self.folder):
                self._opened = open_database(self._database)
        except OSError as error:
            raise HostError(
                f"Catalog {self.folder}: cannot be opened: {error.strerror}.",
                hint="XDG_DATA_HOME says where the catalog's folder stands.",
            ) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def register_image(
        self,
        registration: ImageRegistration,
        *,
        disk: Disk,
        verdict: Verdict | None,
        gate: Gate = Gate.VERDICT,
        conflict: NameConflict = NameConflict.REFUSE,
        snapshot_id: str | None = None,
    ) -> Image:
        """Register `disk` as an image, with a snapshot of its content: a new one, or the one named.

        The same registration of the same disk gives the image that is there; an accepted verdict
        is put to it where it had none. Raises BadInputError for broken rules, a verdict that is
        not of this disk or a name that is taken, ImageRejectedError for a rejection, HostError
        where the folder or the database fails.
        """
        verified = check_gate(disk, verdict=verdict, gate=gate)
        with told(self._database), referring(self.folder):
            known = self._sizes_of(registration.block_devices)
            refuse(registration.name, check_registration(registration, disk=disk, snapshots=known))
            if snapshot_id is not None:
                self._require_snapshot_of(disk, snapshot_id)
            # Before a large copy; the transaction below looks again.
            self._find_same(registration, disk=disk, conflict=conflict)
            blobs.store_blob(self.folder, disk)
            verdict_json = verdict.model_dump_json(by_alias=True) if verdict else None
            with transaction(self._connection):
                image = self._find_same(registration, disk=disk, conflict=conflict)
                if image is None:
                    image = self._insert(
                        registration, disk=disk, verdict_json=verdict_json, snapshot_id=snapshot_id
                    )
                if verified and not image.verified and verdict_json:
                    records.set_verdict(self._connection, image.image_id, verdict_json)
                image = self.image(image.image_id)
        for warning in image.warnings:
            report(f"{image.image_id}: {warning}")
        return image

    def create_snapshot(self, disk: Disk, *, description: str) -> Snapshot:
        """Keep `disk` as a snapshot; the same content and description give the one that is there.

        Raises BadInputError where the disk is not what its digest says, HostError.
        """
        with told(self._database), referring(self.folder):
            blobs.store_blob(self.folder, disk)
            with transaction(self._connection):
                found = records.find_snapshot_of(
                    self._connection, blob_sha256=disk.sha256, description=description
                )
                return found or self._insert_snapshot(disk, description=description, now=_now())

    def images(self, states: Iterable[ImageState] = (ImageState.AVAILABLE,)) -> list[Image]:
        """Return the images in these states, the oldest first."""
        with told(self._database):
            return records.list_images(self._connection, states)

    def image(self, image_id: str) -> Image:
        """Return an image, deregistered or not; raise BadInputError where there is none."""
        if not _IMAGE_ID.fullmatch(image_id):
            raise BadInputError(
                f"Image {image_id!r}: is no image id; ami- and 17 hexadecimal digits are needed."
            )
        with told(self._database):
            image = records.find_image(self._connection, image_id)
        if image is None:
            raise BadInputError(
                f"Image {image_id}: is not in the catalog {self.folder}.",
                hint="imgforge images lists what is.",
            )
        return image

    def snapshot(self, snapshot_id: str) -> Snapshot:
        """Return a snapshot; raise BadInputError where there is none."""
        with told(self._database):
            snapshot = records.find_snapshot(self._connection, snapshot_id)
        if snapshot is None:
            raise BadInputError(f"Snapshot {snapshot_id!r}: is not in the catalog {self.folder}.")
        return snapshot

    def blob_path(self, snapshot: Snapshot) -> Path:
        """Return the raw disk of a snapshot: a read-only file; raise HostError if it is gone.

        One that was written block by block is put together when it is first asked for.
        """
        if not snapshot.blob_sha256:
            return self._assembled(snapshot)
        path = blobs.blob_path(self.folder, snapshot.blob_sha256)
        if not path.is_file() or path.stat().st_size != snapshot.blob_size_bytes:
            raise HostError(
                f"Snapshot {snapshot.snapshot_id}: its data, {path}, is gone or cut short.",
                hint="Registering the same disk again puts it back.",
            )
        return path

    def disk_of(self, image: Image) -> Disk:
        """Return the disk an image was registered from: its root snapshot's blob."""
        snapshot = self.snapshot(image.root_snapshot_id)
        path = self.blob_path(snapshot)
        return Disk(
            path=path,
            sha256=snapshot.blob_sha256 or blobs.file_sha256(path),
            size_bytes=path.stat().st_size,
            layout=image.layout,
            recipe_sha256=image.recipe_sha256,
            lock_sha256=image.lock_sha256,
        )

    def _assembled(self, snapshot: Snapshot) -> Path:
        with told(self._database):
            content_id = records.find_content_id(self._connection, snapshot.snapshot_id)
        path = self.folder / "contents" / f"{content_id}.{snapshot.volume_size_gib}.raw"
        if not path.exists():
            report(f"catalog: putting {snapshot.snapshot_id} together")
            with appearing(path) as new:
                Contents(self.folder).write_disk(
                    Content(content_id), new, size_bytes=snapshot.volume_size_gib * 2**30
                )
                new.chmod(0o444)
        return path

    @property
    def _connection(self) -> sqlite3.Connection:
        if self._opened is None:
            raise ValueError("the catalog is not open: use it in a with statement")
        return self._opened

    def _sizes_of(self, devices: Iterable[BlockDeviceMapping]) -> dict[str, int]:
        named = [device.ebs.snapshot_id for device in devices if device.ebs is not None]
        found = [records.find_snapshot(self._connection, name) for name in named if name]
        return {snapshot.snapshot_id: snapshot.volume_size_gib for snapshot in found if snapshot}

    def _find_same(
        self, registration: ImageRegistration, *, disk: Disk, conflict: NameConflict
    ) -> Image | None:
        """Return the image of an equal registration; refuse another's name if so told."""
        found = records.find_by_name(
            self._connection, owner_id=self._owner_id, name=registration.name
        )
        if found is None:
            return None
        image, digest = found
        if digest == registration.digest(disk.sha256):
            return image
        if conflict is NameConflict.REFUSE:
            other = "another disk" if image.disk_sha256 != disk.sha256 else "other attributes"
            raise BadInputError(
                f"Image {registration.name!r}: the name belongs to {image.image_id}, which has "
                f"{other} (EC2 says InvalidAMIName.Duplicate).",
                hint="Take another name, such as one with a version, or --replace, which "
                f"deregisters {image.image_id}.",
            )
        return None

    def _insert(
        self,
        registration: ImageRegistration,
        *,
        disk: Disk,
        verdict_json: str | None,
        snapshot_id: str | None,
    ) -> Image:
        now = _now()
        image_id = f"ami-{secrets.token_hex(9)[:17]}"
        self._supersede(registration.name, image_id, now)
        snapshot = self.snapshot(snapshot_id) if snapshot_id else None
        if snapshot is None:
            words = f"Created by imgforge for {image_id}"
            snapshot = self._insert_snapshot(disk, description=words, now=now)
        image = Image(
            image_id=image_id,
            owner_id=self._owner_id,
            name=registration.name,
            description=registration.description,
            architecture=registration.architecture,
            virtualization_type=registration.virtualization_type,
            boot_mode=registration.boot_mode,
            root_device_name=registration.root_device_name,
            kernel_id=registration.kernel_id,
            ena_support=registration.ena_support,
            public=False,
            state=ImageState.AVAILABLE,
            creation_date=now,
            layout=disk.layout,
            disk_sha256=disk.sha256,
            recipe_sha256=disk.recipe_sha256,
            lock_sha256=disk.lock_sha256,
            verified=False,
            verdict_json=verdict_json,
            deregistration_date=None,
            superseded_by=None,
            block_devices=_fill(registration, snapshot, self._sizes_of(registration.block_devices)),
            tags=registration.tags,
        )
        digest = registration.digest(disk.sha256)
        records.insert_image(self._connection, image, registration_sha256=digest)
        return image

    def _insert_snapshot(self, disk: Disk, *, description: str, now: str) -> Snapshot:
        snapshot = Snapshot(
            snapshot_id=f"snap-{secrets.token_hex(9)[:17]}",
            owner_id=self._owner_id,
            volume_size_gib=size_gib(disk.size_bytes),
            state="completed",
            start_time=now,
            description=description,
            encrypted=False,
            blob_sha256=disk.sha256,
            blob_size_bytes=disk.size_bytes,
        )
        records.insert_snapshot(self._connection, snapshot)
        return snapshot

    def _require_snapshot_of(self, disk: Disk, snapshot_id: str) -> None:
        if self.snapshot(snapshot_id).blob_sha256 != disk.sha256:
            raise BadInputError(f"Snapshot {snapshot_id}: is not of the disk {disk.path}.")

    def _supersede(self, name: str, image_id: str, now: str) -> None:
        found = records.find_by_name(self._connection, owner_id=self._owner_id, name=name)
        if found is not None:
            old = found[0].image_id
            records.deregister(self._connection, old, date=now, superseded_by=image_id)
            report(f"catalog: {image_id} takes the name of {old}, which is deregistered")


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def _fill(
    registration: ImageRegistration, root: Snapshot, sizes_gib: dict[str, int]
) -> tuple[BlockDeviceMapping, ...]:
    """Return the mapping with the root's snapshot and with each volume's size."""
    filled = []
    for device in registration.block_devices:
        ebs = device.ebs
        if ebs is not None:
            if device.device_name == registration.root_device_name:
                ebs = replace(ebs, snapshot_id=root.snapshot_id)
            known_gib = {**sizes_gib, root.snapshot_id: root.volume_size_gib}
            least_gib = known_gib.get(ebs.snapshot_id or "")
            ebs = replace(ebs, volume_size_gib=ebs.volume_size_gib or least_gib)
        filled.append(replace(device, ebs=ebs))
    return tuple(filled)
