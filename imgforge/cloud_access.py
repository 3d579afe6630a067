"""The way to EC2 for every command: AWS, an endpoint in its place, or the local catalog's own."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from imgforge import host
from imgforge.ec2 import Cloud, CloudWish, OwnEc2, open_cloud

if TYPE_CHECKING:
    from imgforge.catalog import BundleFacts

_ATTEMPTS = 5
_HERE = CloudWish()


@contextmanager
def reached_ec2(wish: CloudWish = _HERE, *, attempts: int = _ATTEMPTS) -> Iterator[Cloud]:
    """Give the cloud that a command means, with EC2, EBS direct and S3.

    Where nothing is configured it is the embedded endpoint, over the user's catalog, in this
    process while the block runs. Raises BadInputError, CloudError, HostError.
    """
    own = OwnEc2(catalog=host.catalog_dir(), read_bundle=_read_bundle)
    with open_cloud(wish, folder=host.s3_dir(), own=own, attempts=attempts) as cloud:
        yield cloud


def _read_bundle(*asked: Any) -> "BundleFacts":
    """Read a bundle as `read_stored_bundle` does, which few commands need to load."""
    from imgforge.stored_bundle import read_stored_bundle

    return read_stored_bundle(*asked)
