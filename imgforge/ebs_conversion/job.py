"""A conversion under way: what is wished for, where it is kept, and what was made so far."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from imgforge.bundle import ManifestFile, load_manifest
from imgforge.disk import Disk
from imgforge.ebs_conversion.values import Blank, Digests, Downloaded, Identified, Unbundled, Value
from imgforge.ebs_conversion.wish import ConversionWish

BUNDLE_FOLDER = "bundle"
DISK_FILE = "disk.raw"
BLANK_FILE = "volume.unfinished"
"""The volume until its fstab is right: nothing that looks finished is not."""
VOLUME_FILE = "volume.raw"
TEST_FOLDER = "volume.test"
VERDICT = f"{TEST_FOLDER}/verdict.json"
_V = TypeVar("_V", bound=Value)


@dataclass(frozen=True, slots=True)
class Job:
    """A wish, the folder, and the value of each step that is done."""

    wish: ConversionWish
    folder: Path
    values: Mapping[type[Value], Value]

    def value(self, kind: type[_V]) -> _V:
        """Return what an earlier step made; it is there, by the order of the steps."""
        found = self.values[kind]
        if not isinstance(found, kind):
            raise TypeError(f"{found!r} is no {kind.__name__}")
        return found

    def known(self, kind: type[_V]) -> _V | None:
        """Return what a step made, or None where it is not done."""
        return self.value(kind) if kind in self.values else None

    @property
    def manifest_path(self) -> Path:
        """Where the manifest is once it is here."""
        return Path(self.value(Downloaded).manifest)

    def manifest(self) -> ManifestFile:
        """Read the manifest. Raises BadInputError."""
        return load_manifest(self.manifest_path)

    def disk(self) -> Disk:
        """Return the disk as it was in the bundle."""
        sha256 = self.value(Digests).disk_sha256
        layout = self.value(Identified).layout
        return Disk(self.folder / DISK_FILE, sha256, self.value(Unbundled).size_bytes, layout)

    def volume(self) -> Disk:
        """Return the volume."""
        sha256 = self.value(Digests).volume_sha256
        layout = self.value(Identified).layout
        size_bytes = self.value(Blank).size_gib * 2**30
        return Disk(self.folder / VOLUME_FILE, sha256, size_bytes, layout)
