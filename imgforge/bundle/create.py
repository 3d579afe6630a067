"""An image becomes a bundle: tar, gzip, AES, parts and a signed manifest, in one pass."""

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from imgforge import host
from imgforge.bundle.compression import compress
from imgforge.bundle.keys import Certificate, SigningPair
from imgforge.bundle.machine_rules import check_machine
from imgforge.bundle.manifest import (
    LARGEST_IMAGE_BYTES,
    BundledImage,
    ImageType,
    MachineConfiguration,
    Manifest,
    ManifestVersion,
    Part,
)
from imgforge.bundle.manifest_reader import read_manifest
from imgforge.bundle.manifest_writer import own_bundler, write_manifest
from imgforge.bundle.names import (
    MANIFEST_SUFFIX,
    NAME_RULE,
    is_account,
    is_part_of,
    is_safe_name,
    part_name,
)
from imgforge.bundle.parts import encrypt, write_parts
from imgforge.bundle.passing import Passing
from imgforge.bundle.place import Existing, tidy_around
from imgforge.bundle.secret import Secret, make_secret, seal_secret, sign_manifest
from imgforge.bundle.tar_writer import TarPlan, plan_tar, write_tar
from imgforge.errors import BadInputError, HostError
from imgforge.files import appearing, locked_folder, move_together, scratch_folder, told_writing
from imgforge.progress import report, warn


@dataclass(frozen=True, slots=True)
class BundleWish:
    """What a bundle is to be called, and what EC2 is to know of it."""

    name: str
    account: str
    machine: MachineConfiguration
    ancestors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle on the disk: its manifest stands beside its parts."""

    manifest_path: Path
    manifest: Manifest

    @property
    def folder(self) -> Path:
        """Where its parts are."""
        return self.manifest_path.parent

    @property
    def part_paths(self) -> tuple[Path, ...]:
        """Its parts, in order."""
        return tuple(self.folder / part.filename for part in self.manifest.image.parts)


@dataclass(frozen=True, slots=True)
class Signers:
    """Who signs a bundle and may open it, and EC2's certificate, which may open it, too."""

    user: SigningPair
    ec2: Certificate


def create_bundle(
    image: Path,
    *,
    wish: BundleWish,
    signers: Signers,
    destination: Path,
    existing: Existing = Existing.REFUSE,
) -> Bundle:
    """Bundle the raw image `image` into the folder `destination`.

    A new folder appears as a whole. In one that is there all files appear or none, the manifest
    last; what a kill left of that is gone with the next command that writes there. The image is
    only read, its holes are not.
    Raises BadInputError for an image, a wish or a destination that cannot be what it is,
    HostError where the host fails or the image changes meanwhile.
    """
    check_wish(wish, destination=destination, existing=existing)
    if problem := signers.user.certificate.expiry_problem(datetime.now(UTC)):
        warn(problem)
    with _opened(image) as descriptor, told_writing(destination, "a bundle"):
        before = _identity(os.fstat(descriptor))
        with _room(destination, wish.name, existing) as folder:
            with told_writing(destination, "the parts of a bundle"):
                packed = _write_parts(descriptor, wish.name, folder)
            if _identity(os.fstat(descriptor)) != before:
                raise HostError(f"Image {image}: changed while it was bundled.")
            manifest = _describe(packed, wish, signers)
            with told_writing(destination, "the manifest of a bundle"):
                _write_manifest(manifest, folder)
    made = Bundle(destination / f"{wish.name}{MANIFEST_SUFFIX}", manifest)
    if not made.manifest_path.is_file():  # another process made the folder first
        raise BadInputError(f"Bundle {destination}: somebody else made this folder meanwhile.")
    return made


def check_wish(wish: BundleWish, *, destination: Path, existing: Existing) -> None:
    """Raise BadInputError for a wish or a destination that cannot be, before anything is read.

    What killed runs left at the destination is removed first.
    """
    if not is_safe_name(wish.name):
        raise BadInputError(f"Bundle: name {wish.name!r}; a name has {NAME_RULE}.")
    if not is_account(wish.account):
        raise BadInputError(f"Bundle: account {wish.account!r}; twelve digits are needed.")
    check_machine(wish.machine)
    if destination.exists() and not destination.is_dir():
        raise BadInputError(f"Bundle {destination}: is no folder.")
    tidy_around(destination)
    _check_free(destination, wish.name, existing)


@contextlib.contextmanager
def _opened(image: Path) -> Iterator[int]:
    try:
        descriptor = os.open(image, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise BadInputError(f"Image {image}: cannot be read: {error.strerror}.") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise BadInputError(f"Image {image}: is no regular file; a raw image is needed.")
        if not 0 < status.st_size <= LARGEST_IMAGE_BYTES:
            raise BadInputError(
                f"Image {image}: has {status.st_size} bytes; EC2 takes instance-store images of "
                "1 byte to 10 GiB."
            )
        yield descriptor
    finally:
        os.close(descriptor)


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return (status.st_size, status.st_mtime_ns, status.st_ctime_ns)


@contextlib.contextmanager
def _room(destination: Path, name: str, existing: Existing) -> Iterator[Path]:
    """Give the empty folder to write to; what it holds appears in `destination`, all or nothing."""
    if not destination.is_dir():
        with appearing(destination) as new:
            new.mkdir()
            yield new
        return
    with scratch_folder(destination) as aside:
        new = aside / "new"
        new.mkdir()
        yield new
        with locked_folder(destination):
            _check_free(destination, name, existing)
            move_together(
                new,
                destination,
                replaced=_files_of(destination, name),
                last=f"{name}{MANIFEST_SUFFIX}",
            )


def _check_free(destination: Path, name: str, existing: Existing) -> None:
    if existing is Existing.REFUSE and (there := _files_of(destination, name)):
        raise BadInputError(
            f"Bundle {destination}: already holds {there[0]}.",
            hint="Name another folder or another name, or use --force.",
        )


def _files_of(folder: Path, name: str) -> list[str]:
    """Return the files in a folder that a bundle of this name has, or that are taken for its."""
    manifest = f"{name}{MANIFEST_SUFFIX}"
    there = (path.name for path in folder.iterdir()) if folder.is_dir() else ()
    return sorted(one for one in there if one == manifest or is_part_of(one, name))


@dataclass(frozen=True, slots=True)
class _Packed:
    """An image in its parts: `sha1` is that of the tar stream."""

    secret: Secret
    sha1: str
    size_bytes: int
    bundled_size_bytes: int
    parts: tuple[Part, ...]


def _write_parts(descriptor: int, name: str, folder: Path) -> _Packed:
    """Write the parts under their own names into an empty folder."""
    secret = make_secret()
    plan = plan_tar(descriptor, name=name)
    digest = hashlib.sha1(usedforsecurity=False)
    stream = _told(write_tar(descriptor, plan), plan, digest)
    packed = compress(stream, workers=host.cpu_count())
    with contextlib.closing(packed):
        written = write_parts(encrypt(packed, secret), folder)
    names = [part_name(name, index=index, count=len(written)) for index in range(len(written))]
    for index, part in enumerate(names):  # their count is known only now
        (folder / str(index)).rename(folder / part)
    return _Packed(
        secret=secret,
        sha1=digest.hexdigest(),
        size_bytes=os.fstat(descriptor).st_size,
        bundled_size_bytes=sum(one.size_bytes for one in written),
        parts=tuple(Part(*one) for one in zip(names, (one.sha1 for one in written), strict=True)),
    )


def _describe(packed: _Packed, wish: BundleWish, signers: Signers) -> Manifest:
    manifest = Manifest(
        version=ManifestVersion.V2007_10_10,
        bundler=own_bundler(),
        machine=wish.machine,
        image=BundledImage(
            name=wish.name,
            account=wish.account,
            type=ImageType.MACHINE,
            sha1=packed.sha1,
            size_bytes=packed.size_bytes,
            bundled_size_bytes=packed.bundled_size_bytes,
            key=seal_secret(packed.secret, user=signers.user.certificate, ec2=signers.ec2),
            parts=packed.parts,
            ancestors=wish.ancestors,
        ),
    )
    return sign_manifest(manifest, signers.user.key)


def _write_manifest(manifest: Manifest, folder: Path) -> None:
    content = write_manifest(manifest)
    read_manifest(content)  # what we could not read ourselves is not handed out
    with (folder / f"{manifest.image.name}{MANIFEST_SUFFIX}").open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _told(chunks: Iterator[bytes], plan: TarPlan, digest: "hashlib._Hash") -> Iterator[bytes]:
    """Digest the stream as it passes, and tell how far it is."""
    report(f"bundle: {plan.size_bytes / 2**20:.0f} MiB of data")
    passing = Passing("bundle", plan.size_bytes)
    for chunk in chunks:
        digest.update(chunk)
        yield chunk
        passing.add(len(chunk))
