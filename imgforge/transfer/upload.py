"""A bundle goes to S3: its parts in parallel, each proved by its SHA-1, and its manifest last."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from imgforge.bundle import (
    BundleError,
    Manifest,
    ManifestFile,
    Passing,
    is_part_of,
    read_manifest_file,
)
from imgforge.ec2 import CannedAcl, Cloud, Content, StoredObject, digests_of
from imgforge.errors import BadInputError, CloudError, HostError
from imgforge.progress import report, warn
from imgforge.transfer.parallel import Stop, in_parallel
from imgforge.transfer.part_file import Body, part_content
from imgforge.transfer.place import BundlePlace

_MOST_OBJECT_BYTES = 5 * 2**30
_DAMAGED = {"BadDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch"}


class ManifestWish(StrEnum):
    """Whether the manifest goes with the parts."""

    LAST = "last"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class UploadWish:
    """How a bundle is uploaded; parts before `first_part` have to be there already."""

    acl: CannedAcl = CannedAcl.AWS_EXEC_READ
    manifest: ManifestWish = ManifestWish.LAST
    first_part: int = 0
    region: str = ""
    """Where the bucket is made if it is missing; else the region that is asked."""


@dataclass(frozen=True, slots=True)
class Uploaded:
    """What was done: how many parts were sent, and how many were there already."""

    place: BundlePlace
    manifest_key: str
    sent: int
    kept: int
    bytes_sent: int


@dataclass(frozen=True, slots=True)
class _Sent:
    is_new: bool
    size_bytes: int


def upload_bundle(
    cloud: Cloud,
    manifest_path: Path,
    place: BundlePlace,
    *,
    folder: Path,
    wish: UploadWish = UploadWish(),
) -> Uploaded:
    """Upload the bundle of a manifest, whose parts are in `folder`.

    Each part is compared with the manifest's SHA-1 before it is sent, and by S3 when it is there.
    Parts that are there already, of an upload that was killed, are not sent again. The manifest
    appears last: where it is, all is. Raises BundleError, BadInputError, CloudError, HostError.
    """
    file, content = read_manifest_file(manifest_path)
    if wish.first_part > len(file.manifest.image.parts):
        raise BadInputError(
            f"Part {wish.first_part}: the bundle has {len(file.manifest.image.parts)}, from 0 on."
        )
    _check_files(folder, file.manifest)
    _prepare_bucket(cloud, place, region=wish.region or cloud.region)
    sender = _Sender(cloud, place, folder=folder, wish=wish)
    return sender.send(file, manifest_path.name, content)


def _check_files(folder: Path, manifest: Manifest) -> None:
    """Raise BundleError for a part that is missing, and for sizes that cannot be right."""
    sum_bytes = 0
    for part in manifest.image.parts:
        try:
            size_bytes = (folder / part.filename).stat().st_size
        except OSError as error:
            why = f"cannot be read in {folder}: {error.strerror}"
            raise BundleError("part-missing", f"Part {part.filename}: {why}.") from None
        if size_bytes > _MOST_OBJECT_BYTES:
            raise BundleError(
                "part-file", f"Part {part.filename}: has {size_bytes} bytes; S3 takes 5 GiB."
            )
        sum_bytes += size_bytes
    if sum_bytes != manifest.image.bundled_size_bytes:
        raise BundleError(
            "parts-size",
            f"Bundle: its parts have {sum_bytes} bytes, the manifest says "
            f"{manifest.image.bundled_size_bytes}.",
        )


def _prepare_bucket(cloud: Cloud, place: BundlePlace, *, region: str) -> None:
    """Make the bucket where it is missing. Raises CloudError where it is in another region."""
    there = cloud.storage.find_bucket(place.bucket)
    if there is None:
        report(f"upload: making the bucket {place.bucket} in {region}")
        cloud.storage.make_bucket(place.bucket, region=region)
    elif there != region:
        raise CloudError(
            f"Bucket {place.bucket}: is in {there}; this upload goes to {region}. EC2 registers an "
            "image in the region of its bucket alone.",
            code="WrongRegion",
            hint=f"Give --region {there} to register it there, or name another bucket.",
        )


class _Sender:
    """One upload."""

    def __init__(self, cloud: Cloud, place: BundlePlace, *, folder: Path, wish: UploadWish) -> None:
        self._storage = cloud.storage
        self._place = place
        self._folder = folder
        self._wish = wish
        self._stop = Stop()
        self._there: dict[str, StoredObject] | None = None

    def send(self, file: ManifestFile, name: str, content: bytes) -> Uploaded:
        """Send parts, then the manifest."""
        image = file.manifest.image
        self._there = self._list()
        key = self._place.key(name)
        whole = digests_of(iter([content]))
        has_manifest = self._wish.manifest is ManifestWish.LAST
        if has_manifest and self._is_another(key, whole):
            # Or a bundle half of this and half of that would look whole.
            warn(f"{self._place}: another bundle is there as {name}; it is replaced")
            self._storage.delete_objects(self._place.bucket, [key])
        report(f"upload: {len(image.parts)} parts to {self._place}")
        sent = kept = sent_bytes = 0
        passing = Passing("upload", image.bundled_size_bytes)
        parts = [(part.filename, part.sha1, index) for index, part in enumerate(image.parts)]
        for one in in_parallel(self._send_part, parts, stop=self._stop):
            sent, kept = sent + one.is_new, kept + (not one.is_new)
            sent_bytes += one.size_bytes if one.is_new else 0
            passing.add(one.size_bytes)
        if has_manifest:
            self._put(key, lambda: io.BytesIO(content), whole, content_type="text/xml")
            self._tell_left(image.name, {part.filename for part in image.parts})
        return Uploaded(self._place, key, sent, kept, sent_bytes)

    def _list(self) -> dict[str, StoredObject] | None:
        """Return what is there by key; None where these credentials may not look."""
        prefix = self._place.key("")
        try:
            found = self._storage.list_objects(self._place.bucket, prefix)
            return {one.key: one for one in found}
        except CloudError as error:
            if error.code not in {"AccessDenied", "403"}:
                raise
            return None

    def _is_another(self, key: str, content: Content) -> bool:
        if self._there is not None and key not in self._there:
            return False
        if self._there is None:
            return False  # it cannot be told from nothing
        return not self._is_there(key, content)

    def _is_there(self, key: str, content: Content) -> bool:
        if self._there is not None:
            one = self._there.get(key)
            if one is None or one.size_bytes != content.size_bytes:
                return False
            if one.etag == content.md5.hex():
                return True
        return self._storage.holds(self._place.bucket, key, content)

    def _send_part(self, part: tuple[str, str, int]) -> _Sent:
        name, sha1, index = part
        path = self._folder / name
        key = self._place.key(name)
        content = part_content(path, self._stop)
        if content.sha1.hex() != sha1:
            raise BundleError(
                "part-digest",
                f"Part {name}: has the SHA-1 {content.sha1.hex()}, the manifest says {sha1}: it "
                "was changed or damaged, and is not uploaded.",
                hint="Bundle the image again, or copy this part again.",
            )
        if self._is_there(key, content):
            # It may be there with another ACL, of an earlier upload.
            self._storage.set_acl(self._place.bucket, key, self._wish.acl)
            return _Sent(is_new=False, size_bytes=content.size_bytes)
        if index < self._wish.first_part:
            raise BadInputError(
                f"Part {name}: is not in {self._place} as it is here; --part "
                f"{self._wish.first_part} takes all before it for uploaded.",
                hint="Leave --part out: what is there is never sent again.",
            )
        try:
            self._put(key, lambda: path.open("rb"), content)
        except CloudError as error:
            if error.code in _DAMAGED and part_content(path, self._stop) != content:
                raise HostError(f"Part {path}: changed while it was uploaded.") from None
            raise
        return _Sent(is_new=True, size_bytes=content.size_bytes)

    def _put(
        self,
        key: str,
        open_body: "Callable[[], io.BufferedReader | io.BytesIO]",
        content: Content,
        *,
        content_type: str = "application/octet-stream",
    ) -> None:
        self._stop.check()
        with open_body() as file, Body(file, content.size_bytes, self._stop) as body:
            self._storage.put(
                self._place.bucket,
                key,
                body,
                content=content,
                acl=self._wish.acl,
                content_type=content_type,
            )

    def _tell_left(self, name: str, own: set[str]) -> None:
        names = (key.rpartition("/")[2] for key in self._there or ())
        left = sorted(one for one in names if is_part_of(one, name) and one not in own)
        if left:
            more = f" and {len(left) - 1} more" if len(left) > 1 else ""
            warn(f"{self._place}: the manifest does not name {left[0]}{more}, of another bundle")
