"""A connection to whoever answers, for the time of a command."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import boto3
import botocore.session
from botocore.config import Config

from imgforge import host
from imgforge.ec2.block_wire import BlockWire
from imgforge.ec2.blocks import Blocks
from imgforge.ec2.clients import Clients
from imgforge.ec2.compute import Compute
from imgforge.ec2.endpoint import (
    FIRST_REGION,
    CloudWish,
    Credentials,
    Endpoint,
    EndpointKind,
    alike_regions,
    choose_endpoint,
)
from imgforge.ec2.problem import explained
from imgforge.ec2.serving import ReadBundle, WholeWish, serving_all
from imgforge.ec2.storage import Storage
from imgforge.errors import BadInputError
from imgforge.partition import partition_of
from imgforge.progress import report

_CONNECT_LIMIT_S = 10
_SILENCE_LIMIT_S = 60
_ATTEMPTS = 5
_CONNECTIONS = 16


@dataclass(frozen=True, slots=True)
class OwnEc2:
    """What the embedded endpoint needs for more than S3: the catalog, and how bundles are read.

    What is made there is pending for `pending_s`.
    """

    catalog: Path
    read_bundle: ReadBundle
    pending_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Cloud:
    """Who answers, and in which region; its services' clients are made when they are needed."""

    endpoint: Endpoint
    region: str
    clients: Clients

    @property
    def storage(self) -> Storage:
        """S3."""
        client = self.clients.client("s3", self.region)
        return Storage(client, region=self.region, attempts=self.clients.attempts)

    @property
    def compute(self) -> Compute:
        """EC2."""
        return Compute(self.region, self.clients.client("ec2", self.region))

    @property
    def blocks(self) -> Blocks:
        """EBS direct."""
        client = self.clients.client("ebs", self.region, own=Config(max_pool_connections=64))
        return Blocks(client, BlockWire(client, self.clients.credentials))

    def in_region(self, region: str) -> "Cloud":
        """Return the same cloud in another region."""
        return replace(self, region=region)


@contextmanager
def open_cloud(
    wish: CloudWish,
    *,
    folder: Path,
    own: OwnEc2 | None = None,
    attempts: int = _ATTEMPTS,
) -> Iterator[Cloud]:
    """Give the cloud that a command means; `folder` is where the embedded endpoint keeps objects.

    The embedded one runs in this process while the block does, for nobody else: S3 alone, or with
    `own` EC2 and EBS direct, too. A request that fails for a reason that passes is sent `attempts`
    times, with growing pauses.
    Raises BadInputError, CloudError where there are no credentials, HostError.
    """
    endpoint = choose_endpoint(wish, configured=host.configured_aws())
    config = Config(
        connect_timeout=_CONNECT_LIMIT_S,
        read_timeout=_SILENCE_LIMIT_S,
        retries={"mode": "standard", "total_max_attempts": attempts},
        max_pool_connections=_CONNECTIONS,
        # Uploads bring digests of their own, which S3 compares; other endpoints know no others.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    first = "s3" if own is None else "ec2"
    if endpoint.kind is EndpointKind.EMBEDDED:
        region = _own_region(wish)
        if own is not None:
            _require_known(region)
        place = folder if own is None else own.catalog
        report(f"{first}: imgforge's own, region {region}, in {place} ({endpoint.why})")
        with _embedded(region, folder, own=own, config=config, attempts=attempts) as found:
            url, clients = found
            yield Cloud(replace(endpoint, url=url), region, clients)
        return
    session = _session(wish)
    region = session.region_name or FIRST_REGION
    clients = Clients(session, url=endpoint.url, config=config, attempts=attempts)
    found_url = clients.client(first, region).meta.endpoint_url
    if endpoint.kind is EndpointKind.AWS and "amazonaws.com" not in found_url:
        endpoint = Endpoint(EndpointKind.URL, found_url, endpoint.why)
    report(f"{first}: {endpoint.url or 'AWS'}, region {region} ({endpoint.why})")
    yield Cloud(endpoint, region, clients)


def region_of(wish: CloudWish) -> str:
    """Return the region that a command means; nobody is asked. Raises as `open_cloud`."""
    if choose_endpoint(wish, configured=host.configured_aws()).kind is EndpointKind.EMBEDDED:
        return _own_region(wish)
    return _session(wish).region_name or FIRST_REGION


def _own_region(wish: CloudWish) -> str:
    return wish.region or host.aws_region() or FIRST_REGION


def _session(wish: CloudWish) -> boto3.session.Session:
    with explained("Endpoint"):
        return boto3.session.Session(
            profile_name=wish.profile or None,
            # Of AWS's SDKs boto3 alone does not read AWS_REGION.
            region_name=wish.region or host.aws_region() or None,
            **_keys(wish.credentials),
        )


def _require_known(region: str) -> None:
    """Raise BadInputError for a region that the embedded endpoint would refuse."""
    from imgforge.ec2.local.operations import regions

    if region not in regions():
        near = [one for one in regions() if partition_of(one) == partition_of(region)]
        raise BadInputError(
            f"Region {region!r}: there is none of this name.", hint=alike_regions(region, near)
        )


@contextmanager
def _embedded(
    region: str, folder: Path, *, own: OwnEc2 | None, config: Config, attempts: int
) -> Iterator[tuple[str, Clients]]:
    # Whoever does not know this key is kept out: other users reach the port, too.
    keys = Credentials(secrets.token_hex(16), secrets.token_hex(16))
    with _served(folder, own, frozenset({keys.access_key})) as url:
        session = boto3.session.Session(
            botocore_session=_session_of_nobody(), region_name=region, **_keys(keys)
        )
        # No proxy is between us and ourselves.
        alone = config.merge(Config(proxies={}, s3={"addressing_style": "path"}))
        yield url, Clients(session, url=url, config=alone, attempts=attempts)


@contextmanager
def _served(folder: Path, own: OwnEc2 | None, access_keys: frozenset[str]) -> Iterator[str]:
    if own is not None:
        whole = WholeWish(
            catalog=own.catalog,
            storage=folder,
            read_bundle=own.read_bundle,
            pending_s=own.pending_s,
            access_keys=access_keys,
        )
        with serving_all(whole) as url:
            yield url
        return
    from imgforge.ec2.local.app import App
    from imgforge.ec2.local.s3 import S3
    from imgforge.ec2.local.server import serving

    with serving(App({"s3": S3(folder)}, folder=folder, access_keys=access_keys)) as url:
        yield url


def _session_of_nobody() -> botocore.session.Session:
    """Return a session that no variable and no file of the user's has a say in."""
    from imgforge.ec2.local.operations import model_loader

    nothing = (None, None, "/dev/null", None)
    session = botocore.session.Session(
        session_vars={
            "profile": (None, None, None, None),
            "config_file": nothing,
            "credentials_file": nothing,
        }
    )
    session.register_component("data_loader", model_loader())
    return session


def _keys(credentials: Credentials | None) -> dict[str, Any]:
    if credentials is None:
        return {}
    return {
        "aws_access_key_id": credentials.access_key,
        "aws_secret_access_key": credentials.secret_key,
        "aws_session_token": credentials.token or None,
    }
