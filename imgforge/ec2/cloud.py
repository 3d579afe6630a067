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
from imgforge.ec2.endpoint import (
    FIRST_REGION,
    CloudWish,
    Credentials,
    Endpoint,
    EndpointKind,
    choose_endpoint,
)
from imgforge.ec2.problem import explained
from imgforge.ec2.storage import Storage
from imgforge.progress import report

_CONNECT_LIMIT_S = 10
_SILENCE_LIMIT_S = 60
_ATTEMPTS = 5
_CONNECTIONS = 16


@dataclass(frozen=True, slots=True)
class Cloud:
    """Who answers, in which region, and its S3."""

    endpoint: Endpoint
    region: str
    storage: Storage


@contextmanager
def open_cloud(
    wish: CloudWish, *, folder: Path, attempts: int = _ATTEMPTS, silence_s: float = _SILENCE_LIMIT_S
) -> Iterator[Cloud]:
    """Give the cloud that a command means; `folder` is where the embedded endpoint keeps things.

    The embedded one runs in this process while the block does, for nobody else. A request that
    fails for a reason that passes is sent `attempts` times, with growing pauses.
    Raises BadInputError, CloudError where there are no credentials, HostError.
    """
    endpoint = choose_endpoint(wish, configured=host.configured_aws())
    config = Config(
        connect_timeout=_CONNECT_LIMIT_S,
        read_timeout=silence_s,
        retries={"mode": "standard", "total_max_attempts": attempts},
        max_pool_connections=_CONNECTIONS,
        # Uploads bring digests of their own, which S3 compares; other endpoints know no others.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    if endpoint.kind is EndpointKind.EMBEDDED:
        with _embedded(wish, endpoint, folder, config) as cloud:
            yield cloud
        return
    with explained("Endpoint"):
        session = boto3.session.Session(
            profile_name=wish.profile or None,
            region_name=wish.region or None,
            **_keys(wish.credentials),
        )
        region = session.region_name or FIRST_REGION
        client = session.client(
            "s3", region_name=region, endpoint_url=endpoint.url or None, config=config
        )
    found = client.meta.endpoint_url
    if endpoint.kind is EndpointKind.AWS and "amazonaws.com" not in found:
        endpoint = Endpoint(EndpointKind.URL, found, endpoint.why)
    report(f"s3: {endpoint.url or 'AWS'}, region {region} ({endpoint.why})")
    yield Cloud(endpoint, region, Storage(client, region=region, attempts=attempts))


@contextmanager
def _embedded(wish: CloudWish, endpoint: Endpoint, folder: Path, config: Config) -> Iterator[Cloud]:
    from imgforge.ec2.local.app import App
    from imgforge.ec2.local.s3 import S3
    from imgforge.ec2.local.server import serving

    region = wish.region or host.aws_region() or FIRST_REGION
    # Whoever does not know this key is kept out: other users reach the port, too.
    keys = Credentials(secrets.token_hex(16), secrets.token_hex(16))
    app = App({"s3": S3(folder)}, access_keys=frozenset({keys.access_key}))
    report(f"s3: imgforge's own, region {region}, in {folder} ({endpoint.why})")
    with serving(app) as url:
        session = boto3.session.Session(
            botocore_session=_session_of_nobody(), region_name=region, **_keys(keys)
        )
        # No proxy is between us and ourselves.
        alone = config.merge(Config(proxies={}, s3={"addressing_style": "path"}))
        with explained("Endpoint"):
            client = session.client("s3", endpoint_url=url, config=alone)
        yield Cloud(
            replace(endpoint, url=url),
            region,
            Storage(client, region=region, attempts=config.retries["total_max_attempts"]),
        )


def _session_of_nobody() -> botocore.session.Session:
    """Return a session that no variable and no file of the user's has a say in."""
    nothing = (None, None, "/dev/null", None)
    return botocore.session.Session(
        session_vars={
            "profile": (None, None, None, None),
            "config_file": nothing,
            "credentials_file": nothing,
        }
    )


def _keys(credentials: Credentials | None) -> dict[str, Any]:
    if credentials is None:
        return {}
    return {
        "aws_access_key_id": credentials.access_key,
        "aws_secret_access_key": credentials.secret_key,
        "aws_session_token": credentials.token or None,
    }
