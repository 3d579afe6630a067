"""Where a bundle stands in S3: a bucket, and what its files' keys begin with."""

from dataclasses import dataclass

from imgforge.bucket_name import bucket_name_problem, key_problem
from imgforge.bundle import MANIFEST_SUFFIX
from imgforge.errors import BadInputError

_SCHEME = "s3://"
_LONGEST_FILE_NAME = 106


@dataclass(frozen=True, slots=True)
class BundlePlace:
    """A bucket and a prefix, such as my-bucket and bundles/web; the prefix may be empty."""

    bucket: str
    prefix: str = ""

    @classmethod
    def parse(cls, text: str) -> "BundlePlace":
        """Read BUCKET, BUCKET/PREFIX or s3://BUCKET/PREFIX. Raises BadInputError."""
        bucket, _, prefix = text.removeprefix(_SCHEME).partition("/")
        if problem := bucket_name_problem(bucket):
            raise BadInputError(
                f"Bucket {bucket!r}: {problem}.",
                hint="Give it as BUCKET/FOLDER or s3://BUCKET/FOLDER.",
            )
        prefix = prefix.strip("/")
        if not all(c.isprintable() for c in prefix) or "//" in prefix:
            raise BadInputError(f"Folder {prefix!r} in {bucket}: has an empty or unprintable name.")
        if {".", ".."} & set(prefix.split("/")):
            raise BadInputError(f"Folder {prefix!r} in {bucket}: has . or .. in it.")
        if problem := key_problem(prefix + "/" + "n" * _LONGEST_FILE_NAME):
            raise BadInputError(f"Folder {prefix[:60]!r}… in {bucket}: a key in it {problem}.")
        return cls(bucket, prefix)

    def key(self, name: str) -> str:
        """Return the key of a file of the bundle."""
        return f"{self.prefix}/{name}" if self.prefix else name

    def __str__(self) -> str:
        return f"{_SCHEME}{self.bucket}/{self.prefix}".rstrip("/")


def split_manifest_url(text: str) -> tuple[BundlePlace, str]:
    """Return the place of s3://BUCKET/FOLDER/NAME.manifest.xml, and the manifest's name.

    The name is "" where the text names a folder. Raises BadInputError.
    """
    folder, slash, name = text.removeprefix(_SCHEME).rpartition("/")
    if slash and name.endswith(MANIFEST_SUFFIX):
        return BundlePlace.parse(folder), name
    return BundlePlace.parse(text), ""
