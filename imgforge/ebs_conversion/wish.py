"""What a conversion is asked for."""

import hashlib
import json
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from imgforge.bundle import MANIFEST_SUFFIX
from imgforge.catalog import NameConflict
from imgforge.conversion_step import StepName
from imgforge.ec2 import CloudWish
from imgforge.errors import BadInputError
from imgforge.recipe import ExpectPart
from imgforge.start import Surroundings
from imgforge.suite import NO_TESTS, SuiteWish
from imgforge.transfer import split_manifest_url

URL_START = "s3://"
_MOST_GIB = 65_536


class Repeat(StrEnum):
    """Whether the last step wanted is done again where it was done already."""

    NEVER = "never"
    LAST_STEP = "last-step"


@dataclass(frozen=True, slots=True)
class EbsOptions:
    """The volume and the image: `size_gib` is the image's own, rounded up, where it is None.

    `name` is that of the bundle's image where it is "".
    """

    size_gib: int | None = None
    name: str = ""
    conflict: NameConflict = NameConflict.REFUSE
    skips_holes: bool = False


@dataclass(frozen=True, slots=True)
class ConversionWish:
    """A bundle to convert: `source` is a manifest's path, or s3://BUCKET/PREFIX/NAME.manifest.xml.

    `cloud` says who has the latter. Both tests expect `expect`. `source_verdict` is a verdict of
    the disk in the bundle; `tests_source` has one made.
    """

    source: str
    key: Path | None = None
    out: Path | None = None
    ebs: EbsOptions = field(default_factory=EbsOptions)
    expect: ExpectPart = field(default_factory=ExpectPart)
    cloud: CloudWish = field(default_factory=CloudWish)
    surroundings: Surroundings = field(default_factory=Surroundings)
    suite: SuiteWish = NO_TESTS
    source_verdict: Path | None = None
    tests_source: bool = False
    last_step: StepName = StepName.REGISTER
    repeat: Repeat = Repeat.NEVER

    def __post_init__(self) -> None:
        if not self.source.endswith(MANIFEST_SUFFIX):
            raise BadInputError(
                f"Bundle {self.source}: is no bundle's manifest; its name ends with "
                f"{MANIFEST_SUFFIX}.",
                hint="Give NAME.manifest.xml, or s3://BUCKET/PREFIX/NAME.manifest.xml.",
            )
        if self.is_remote:
            split_manifest_url(self.source)
        size_gib = self.ebs.size_gib
        if size_gib is not None and not 1 <= size_gib <= _MOST_GIB:
            raise BadInputError(
                f"Volume: {size_gib} GiB; an EBS volume has 1 to {_MOST_GIB} (EC2 API, VolumeSize)."
            )
        if self.source_verdict is not None and self.tests_source:
            raise BadInputError(
                "Conversion: give the source's verdict, or have one made; not both."
            )

    @property
    def is_remote(self) -> bool:
        """Whether the bundle is to be fetched from S3."""
        return self.source.startswith(URL_START)

    @property
    def folder(self) -> Path:
        """Where the conversion is kept: NAME.ebs beside the manifest, or here for a URL."""
        if self.out is not None:
            return self.out
        name = self.source.rpartition("/")[2].removesuffix(MANIFEST_SUFFIX)
        parent = Path() if self.is_remote else Path(self.source).parent
        return parent / f"{name}.ebs"

    @property
    def expect_sha256(self) -> str:
        """The digest of what both tests expect."""
        canonical = json.dumps(self.expect.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()
