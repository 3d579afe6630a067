"""A bundle comes from S3: its manifest is checked first, and each part before it has its name."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa

from imgforge import host
from imgforge.bundle import (
    LARGEST_MANIFEST_BYTES,
    MANIFEST_SUFFIX,
    BundledImage,
    BundleError,
    Existing,
    ManifestFile,
    Part,
    Passing,
    read_manifest,
    require_signature,
)
from imgforge.ec2 import Cloud
from imgforge.errors import BadInputError, HostError
from imgforge.files import scratch_folder, sync_folder, told_writing
from imgforge.progress import report
from imgforge.transfer.parallel import Stop, in_parallel
from imgforge.transfer.part_file import part_content
from imgforge.transfer.place import BundlePlace

_ATTEMPTS = 3
_FULL_HINT = "Free some, or name a place elsewhere; what is here stays, and is not fetched again."


@dataclass(frozen=True, slots=True)
class Downloaded:
    """A bundle that is here, whole: how many parts were fetched, and how many were here."""

    manifest_path: Path
    file: ManifestFile
    fetched: int
    kept: int


def download_bundle(
    cloud: Cloud,
    place: BundlePlace,
    name: str = "",
    *,
    destination: Path,
    existing: Existing = Existing.REFUSE,
    signer: rsa.RSAPublicKey | None = None,
) -> Downloaded:
    """Download the bundle of the manifest `name` into the folder `destination`.

    Without a name it is the only manifest there. With `signer` its signature is checked before
    any part is fetched. A part gets its name once its SHA-1 is the manifest's; parts that are
    here and right are kept, others are refused or replaced. The manifest appears last.
    Raises BundleError, BadInputError, CloudError, HostError.
    """
    if destination.exists() and not destination.is_dir():
        raise BadInputError(f"Folder {destination}: is no folder.")
    name = name or find_manifest(cloud, place)
    if not name.endswith(MANIFEST_SUFFIX) or "/" in name or len(name) > 255:
        raise BadInputError(f"Manifest {name!r}: its name must end in {MANIFEST_SUFFIX}.")
    report(f"download: {place}/{name}")
    content = fetch_manifest(cloud, place, name)
    try:
        file = read_manifest(content)
    except BundleError as error:
        words = str(error).removeprefix("Manifest:").strip()
        raise BundleError(error.check, f"Manifest {place}/{name}: {words}") from None
    if signer is not None:
        require_signature(file, signer)
    with told_writing(destination, "the bundle", hint=_FULL_HINT), _folder(destination):
        getter = _Getter(cloud, place, destination=destination, existing=existing)
        return getter.get(file, name, content)


@contextmanager
def _folder(destination: Path) -> Iterator[None]:
    """Make a folder; after an error those that were made, and have nothing in them, are gone."""
    made = [folder for folder in (destination, *destination.parents) if not folder.exists()]
    destination.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        with suppress(OSError):
            for folder in made:
                folder.rmdir()
        raise


def find_manifest(cloud: Cloud, place: BundlePlace) -> str:
    """Return the name of the only manifest there. Raises BadInputError, CloudError."""
    prefix = place.key("")
    keys = (one.key for one in cloud.storage.list_objects(place.bucket, prefix))
    names = [key[len(prefix) :] for key in keys if key.endswith(MANIFEST_SUFFIX)]
    names = sorted(name for name in names if "/" not in name)
    if len(names) == 1:
        return names[0]
    found = f"{', '.join(names[:5])} are there" if names else "no manifest is there"
    raise BadInputError(
        f"Bundle {place}: {found}; name one.",
        hint=f"Such as {place}/image{MANIFEST_SUFFIX}.",
    )


def fetch_manifest(cloud: Cloud, place: BundlePlace, name: str) -> bytes:
    """Return a manifest that stands there. Raises CloudError (NoSuchKey …), HostError."""
    pieces: list[bytes] = []
    cloud.storage.fetch(
        place.bucket, place.key(name), pieces.append, most_bytes=LARGEST_MANIFEST_BYTES
    )
    return b"".join(pieces)


class _Getter:
    """One download."""

    def __init__(
        self, cloud: Cloud, place: BundlePlace, *, destination: Path, existing: Existing
    ) -> None:
        self._storage = cloud.storage
        self._place = place
        self._destination = destination
        self._existing = existing
        self._stop = Stop()

    def get(self, file: ManifestFile, name: str, content: bytes) -> Downloaded:
        """Fetch what is missing."""
        image = file.manifest.image
        manifest_path = self._destination / name
        manifest_is_here = self._check_manifest(manifest_path, content)
        here = self._find_parts(image)
        missing = [part for part in image.parts if part.filename not in here]
        self._check_space(image.bundled_size_bytes - sum(here.values()))
        if missing and manifest_is_here:
            manifest_path.unlink()  # it says that all is here
        done_bytes = sum(here.values())
        passing = Passing("download", image.bundled_size_bytes)
        passing.add(done_bytes)
        report(f"download: {len(missing)} of {len(image.parts)} parts from {self._place}")
        with scratch_folder(self._destination) as aside:
            work = [(part, aside, image.bundled_size_bytes) for part in missing]
            for size_bytes in in_parallel(self._fetch_part, work, stop=self._stop):
                done_bytes += size_bytes
                passing.add(size_bytes)
            if done_bytes != image.bundled_size_bytes:
                raise BundleError(
                    "parts-size",
                    f"Bundle {self._place}: its parts have {done_bytes} bytes, the manifest says "
                    f"{image.bundled_size_bytes}.",
                )
            if missing or not manifest_is_here:
                self._place_file(aside / "manifest", manifest_path, content)
        return Downloaded(manifest_path, file, len(missing), len(here))

    def _check_manifest(self, path: Path, content: bytes) -> bool:
        """Tell whether this manifest is here. Raises BadInputError where another is, and stays."""
        if not os.path.lexists(path):
            return False
        is_same = path.is_file() and path.read_bytes() == content
        if not is_same and self._existing is Existing.REFUSE:
            raise _taken(path)
        if path.is_dir():
            raise BadInputError(f"File {path}: a folder stands there.")
        return is_same

    def _find_parts(self, image: BundledImage) -> dict[str, int]:
        """Return the sizes of the parts that are here and right, by name."""
        there = [part for part in image.parts if os.path.lexists(self._destination / part.filename)]
        here: dict[str, int] = {}
        for part, size_bytes in in_parallel(self._look_at, there, stop=self._stop):
            if size_bytes is not None:
                here[part.filename] = size_bytes
        return here

    def _look_at(self, part: Part) -> tuple[Part, int | None]:
        path = self._destination / part.filename
        if path.is_dir():
            raise BadInputError(f"File {path}: a folder stands there.")
        try:
            content = part_content(path, self._stop)
        except BundleError:
            content = None
        if content is not None and content.sha1.hex() == part.sha1:
            return part, content.size_bytes
        if self._existing is Existing.REFUSE:
            raise _taken(path)
        return part, None

    def _check_space(self, needed_bytes: int) -> None:
        free_bytes = host.free_disk_bytes(self._destination)
        if needed_bytes > free_bytes:
            raise HostError(
                f"Folder {self._destination}: {needed_bytes} bytes are still to come, and its file "
                f"system has room for {free_bytes}.",
                hint="Free some, or name a place elsewhere.",
            )

    def _fetch_part(self, work: tuple[Part, Path, int]) -> int:
        part, aside, most_bytes = work
        new = aside / part.filename
        found = ""
        for _ in range(_ATTEMPTS):
            before = found
            size_bytes, found = self._fetch(part, new, most_bytes)
            if found == part.sha1:
                new.rename(self._destination / part.filename)
                return size_bytes
            if found == before:  # twice the same: it was not damaged on its way
                break
        raise BundleError(
            "part-digest",
            f"Part {self._place}/{part.filename}: has the SHA-1 {found}, the manifest says "
            f"{part.sha1}: it was changed or damaged there.",
            hint="Upload the bundle again; what is there and right is not sent again.",
        )

    def _fetch(self, part: Part, new: Path, most_bytes: int) -> tuple[int, str]:
        digest = hashlib.sha1(usedforsecurity=False)
        with new.open("wb") as file:

            def write(chunk: bytes) -> None:
                self._stop.check()
                digest.update(chunk)
                file.write(chunk)

            size_bytes = self._storage.fetch(
                self._place.bucket, self._place.key(part.filename), write, most_bytes=most_bytes
            )
            file.flush()
            os.fsync(file.fileno())
        return size_bytes, digest.hexdigest()

    def _place_file(self, new: Path, path: Path, content: bytes) -> None:
        sync_folder(self._destination)
        with new.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        new.rename(path)
        sync_folder(self._destination)


def _taken(path: Path) -> BadInputError:
    return BadInputError(
        f"File {path}: already exists, and is not what is to be downloaded.",
        hint="Name another folder, or use --force to replace it.",
    )
