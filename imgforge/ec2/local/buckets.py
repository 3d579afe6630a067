"""Buckets and their objects, as folders: BUCKET/bucket.json, objects/ and uploads/.

What was acknowledged is on the disk; several processes may work here at once.
"""

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from imgforge.bucket_name import bucket_name_problem
from imgforge.ec2.local.shelf import Shelf
from imgforge.ec2.local.wire import RefusalError
from imgforge.files import appearing, locked_folder, scratch_folder, sync_folder

_UPLOAD_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket; `ownership` is one of S3's, such as BucketOwnerEnforced, which knows no ACLs."""

    name: str
    region: str
    created_s: int
    ownership: str


class Buckets:
    """All buckets of a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "buckets"
        self._incoming = folder / "incoming"
        for one in (self._folder, self._incoming):
            one.mkdir(parents=True, exist_ok=True)

    def all(self) -> list[Bucket]:
        """Return all buckets, by name."""
        names = sorted(path.name for path in self._folder.iterdir() if path.is_dir())
        return [bucket for name in names if (bucket := self.find(name)) is not None]

    def find(self, name: str) -> Bucket | None:
        """Return a bucket."""
        if bucket_name_problem(name):
            return None
        try:
            text = (self._folder / name / "bucket.json").read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError):
            return None
        return Bucket(**json.loads(text))

    def create(self, bucket: Bucket) -> Bucket | None:
        """Make a bucket, or return the one that has its name."""
        with locked_folder(self._folder):
            if (old := self.find(bucket.name)) is not None:
                return old
            for name in ("objects", "uploads"):
                (self._folder / bucket.name / name).mkdir(parents=True, exist_ok=True)
            self._write(bucket)
            sync_folder(self._folder)
        return None

    def replace(self, bucket: Bucket) -> None:
        """Change what a bucket is."""
        with locked_folder(self._folder):
            if self.find(bucket.name) is not None:
                self._write(bucket)

    def delete(self, name: str) -> None:
        """Take an empty bucket away. Raises RefusalError (BucketNotEmpty)."""
        folder = self._folder / name
        # Whoever puts an object waits for its folder, and then finds no bucket.
        with locked_folder(self._folder), locked_folder(folder / "objects"):
            if self.objects(name).records():
                words = "The bucket you tried to delete is not empty"
                raise RefusalError("BucketNotEmpty", words, status=409)
            (folder / "bucket.json").unlink(missing_ok=True)
            sync_folder(folder)
            shutil.rmtree(folder)
            sync_folder(self._folder)

    def objects(self, name: str) -> Shelf:
        """Return the objects of a bucket."""
        return Shelf(self._folder / name / "objects")

    def new_upload(self, name: str, upload_id: str) -> Shelf:
        """Make the place of a multipart upload's parts."""
        folder = self._folder / name / "uploads" / upload_id
        folder.mkdir()
        return Shelf(folder)

    def upload(self, name: str, upload_id: str) -> Shelf:
        """Return the parts of a multipart upload. Raises RefusalError (NoSuchUpload)."""
        folder = self._folder / name / "uploads" / upload_id
        if not _UPLOAD_ID.fullmatch(upload_id) or not folder.is_dir():
            words = "The specified multipart upload does not exist."
            raise RefusalError("NoSuchUpload", words, status=404)
        return Shelf(folder)

    def uploads(self, name: str) -> list[str]:
        """Return the ids of all multipart uploads of a bucket."""
        return sorted(path.name for path in (self._folder / name / "uploads").iterdir())

    def end_upload(self, name: str, upload_id: str) -> None:
        """Take an upload away with its parts."""
        shutil.rmtree(self.upload(name, upload_id).folder, ignore_errors=True)

    @contextmanager
    def incoming(self) -> Iterator[Path]:
        """Give the path of a new file that a shelf takes, or that goes away."""
        with scratch_folder(self._incoming) as folder:
            yield folder / "new"

    def _write(self, bucket: Bucket) -> None:
        with appearing(self._folder / bucket.name / "bucket.json") as new:
            new.write_text(json.dumps(asdict(bucket)), encoding="utf-8")
            os.chmod(new, 0o644)  # noqa: PTH101
