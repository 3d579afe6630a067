"""All services behind one port: EC2, EBS direct and S3, for whoever reaches it."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from imgforge.catalog import Account
from imgforge.ec2.local.app import App
from imgforge.ec2.local.buckets import Buckets
from imgforge.ec2.local.bundles import Bundles, ReadBundle
from imgforge.ec2.local.ec2 import Desk, Ebs, Ec2
from imgforge.ec2.local.fault import Fault, Faults
from imgforge.ec2.local.operations import regions
from imgforge.ec2.local.s3 import S3
from imgforge.ec2.local.server import serving


@contextmanager
def serving_all(
    catalog: Path,
    *,
    storage: Path,
    port: int = 0,
    pending_s: float,
    read_bundle: ReadBundle,
    faults: Sequence[Fault] = (),
) -> Iterator[str]:
    """Answer on a port of 127.0.0.1 while the block runs; give the URL.

    Images, snapshots and volumes are of the folder `catalog`, S3's objects of `storage`. What is
    made stays pending for `pending_s`; `read_bundle` reads what is registered from S3. Raises
    HostError where the port or a folder cannot be had.
    """
    is_ending = threading.Event()
    with Account(catalog, regions=regions(), pending_s=pending_s) as account:
        bundles = Bundles(Buckets(storage), read_bundle)
        desk = Desk(account, Faults(faults), bundles, is_ending)
        app = App({"ec2": Ec2(desk), "ebs": Ebs(desk), "s3": S3(storage)})
        with serving(app, port=port) as url:
            try:
                yield url
            finally:
                is_ending.set()  # who waits for a fault's end waits no longer
