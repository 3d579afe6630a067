"""All services behind one port: EC2, EBS direct, S3, KMS, IAM and STS, for whoever reaches it."""

import functools
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from imgforge.catalog import Account, ImportTasks
from imgforge.ec2.local.app import App
from imgforge.ec2.local.buckets import Buckets
from imgforge.ec2.local.bundles import Bundles
from imgforge.ec2.local.ec2 import Desk, Ebs, Ec2, refuse_in_ebs, refuse_in_ec2
from imgforge.ec2.local.fault import Faults
from imgforge.ec2.local.imports import Imports
from imgforge.ec2.local.moto_service import Moto, MotoService, refuse_in_iam, refuse_in_kms
from imgforge.ec2.local.operations import regions
from imgforge.ec2.local.s3 import S3
from imgforge.ec2.local.server import serving
from imgforge.ec2.local.sweeper import Sweeper
from imgforge.ec2.serving import WholeWish


@contextmanager
def serve_whole(wish: WholeWish) -> Iterator[str]:
    """Answer while the block runs, as `serving_all` says."""
    is_ending = threading.Event()
    moto = Moto(wish.catalog / "moto")
    with Account(
        wish.catalog, regions=regions(), pending_s=wish.pending_s, find_key=moto.find_key
    ) as account:
        buckets = Buckets(wish.storage)
        bundles = Bundles(buckets, wish.read_bundle, moto.certificates)
        imports = Imports(ImportTasks(wish.catalog, pending_s=wish.pending_s), buckets, is_ending)
        imports.resume()
        sweeper = Sweeper(account, is_ending)
        desk = Desk(account, Faults(wish.faults), bundles, imports, sweeper, is_ending)
        lent = {name: MotoService(desk, moto, name) for name in ("kms", "iam", "sts")}
        app = App(
            {
                "ec2": Ec2(desk),
                "ebs": Ebs(desk),
                "s3": S3(wish.storage, around=functools.partial(desk.faults_of, "s3")),
                "rbin": Ebs(desk, "rbin"),
                **lent,
            },
            folder=wish.catalog,
            access_keys=wish.access_keys,
            refusals={
                "ec2": refuse_in_ec2,
                "ebs": refuse_in_ebs,
                "rbin": refuse_in_ebs,
                "kms": refuse_in_kms,
                "iam": refuse_in_iam,
                "sts": refuse_in_iam,
            },
        )
        with serving(app, port=wish.port) as url:
            try:
                yield url
            finally:
                is_ending.set()  # who waits for a fault's end waits no longer
                sweeper.end()
