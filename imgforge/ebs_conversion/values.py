"""What each step of a conversion hands to the next, as conversion.json keeps it."""

from pydantic import BaseModel, ConfigDict, Field

from imgforge.catalog import Architecture
from imgforge.layout import Layout

_SHA256 = r"^[0-9a-f]{64}$"


class Value(BaseModel):
    """What a step made."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)


class Downloaded(Value):
    """The bundle is here: its manifest, the parts beside it."""

    manifest: str
    manifest_sha256: str = Field(pattern=_SHA256)


class Unbundled(Value):
    """The bundle's image is a disk; `sha1` is that of the tar stream, the manifest's digest."""

    size_bytes: int
    sha1: str


class Identified(Value):
    """What the original image is, and the converted one will be."""

    layout: Layout
    architecture: Architecture
    kernel_id: str | None
    ramdisk_id: str | None


class Blank(Value):
    """A blank volume."""

    size_gib: int


class Copied(Value):
    """The disk is on the volume; holes were not copied."""

    data_bytes: int


class Probed(Value):
    """The partitions that the volume has, in words; they are the disk's."""

    partitions: tuple[str, ...]


class FstabChange(Value):
    """What one fstab lost: the file as GRUB names it, the unified diff, each line's reason."""

    file: str
    diff: str
    reasons: tuple[str, ...]


class FstabEdited(Value):
    """What the fstabs of the volume lost; nothing where there was nothing to lose."""

    changes: tuple[FstabChange, ...]


class Digests(Value):
    """The SHA-256 of the disk as it was in the bundle, and of the volume."""

    disk_sha256: str = Field(pattern=_SHA256)
    volume_sha256: str = Field(pattern=_SHA256)


class Judged(Value):
    """A verdict: of which disk, its file, seen from the folder, and the SHA-256 of that."""

    disk_sha256: str
    verdict: str
    verdict_sha256: str = Field(pattern=_SHA256)
    accepted: bool
    reason: str


class SourceJudged(Value):
    """The verdict on the disk as it was in the bundle; None where nobody asked for one."""

    judged: Judged | None


class VolumeJudged(Value):
    """The accepted verdict on the volume."""

    judged: Judged


class SnapshotTaken(Value):
    """The volume's snapshot."""

    snapshot_id: str


class Registered(Value):
    """The image."""

    image_id: str
