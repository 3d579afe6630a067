"""How a disk is to be uploaded, and what came of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from imgforge.errors import BadInputError

_VERSION = "1"
_PATIENCE_S = 120.0


class Holes(StrEnum):
    """What becomes of the disk's holes: sent as zeros, or left out of an unencrypted snapshot."""

    SEND = "send"
    SKIP = "skip"


class Verifying(StrEnum):
    """Whether the snapshot is read back when it is completed."""

    READ_BACK = "read-back"
    NONE = "none"


class Again(StrEnum):
    """What becomes of an upload that was done before: the snapshot is told, or a new one made."""

    SAME = "same"
    NEW = "new"


@dataclass(frozen=True, slots=True)
class SnapshotWish:
    """How a disk is uploaded. Raises BadInputError for wishes that exclude each other."""

    description: str = ""
    parent_id: str = ""
    holes: Holes = Holes.SEND
    verifying: Verifying = Verifying.NONE
    again: Again = Again.SAME
    is_encrypted: bool = False
    kms_key_arn: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    patience_s: float = field(default_factory=lambda: _PATIENCE_S)
    """How long a block is tried while nothing else goes well either."""

    def __post_init__(self) -> None:
        """Refuse what EC2 refuses, and what would make a wrong snapshot."""
        if self.parent_id and (self.is_encrypted or self.kms_key_arn):
            raise BadInputError(
                "Snapshot: --parent and --encrypt exclude each other: a child is encrypted as its "
                "parent is (EBS direct API, StartSnapshot).",
                hint="Leave one of them out; a copy can be encrypted afterwards.",
            )
        if self.kms_key_arn and not self.is_encrypted:
            raise BadInputError("Snapshot: --kms-key needs --encrypt.")
        if self.is_encrypted and self.holes is Holes.SKIP:
            raise no_holes()

    def values(self) -> dict[str, Any]:
        """Return what makes two uploads of a disk different ones."""
        return {
            "version": _VERSION,
            "description": self.description,
            "parent": self.parent_id,
            "holes": self.holes.value,
            "encrypted": self.is_encrypted,
            "key": self.kms_key_arn,
            "tags": dict(sorted(self.tags.items())),
        }


@dataclass(frozen=True, slots=True)
class UploadedSnapshot:
    """A completed snapshot, and what it took; `parent_source` says where a parent was known from.

    `blocks_sent` went over the network now, `blocks_kept` in an earlier run, `blocks_inherited`
    are the parent's, and `blocks_left_out` are holes.
    """

    snapshot_id: str
    region: str
    volume_size_gib: int
    is_encrypted: bool
    blocks_sent: int
    blocks_kept: int
    blocks_inherited: int
    blocks_left_out: int
    parent_source: str
    is_verified: bool


def no_holes() -> BadInputError:
    """Return what --skip-holes of an encrypted snapshot is told as."""
    return BadInputError(
        "Snapshot: --skip-holes is for snapshots that are not encrypted: blocks that are absent "
        "from an encrypted one do not read as zeros.",
        hint="Leave --skip-holes out: all blocks are sent then.",
    )
